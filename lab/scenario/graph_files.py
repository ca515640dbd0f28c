"""Topologies from files: GraphML and GML (networkx reads them) as the `hosts`, `edges` and `links` of an underlay.

Node attributes: `region`, `address`. Edge attributes: those of a link (`delay`, `loss`, `rate` …), written as in a
scenario, and the words that other programs have for them (`lab.scenario.graph_words`); all others (weights, labels,
coordinates) are left alone. Owns the translation, the names of hosts, and the notes on what was changed; what is valid
is the scenario model's. Reads files, starts nothing.
"""

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.named_file import read_named
from lab.scenario.base import listed
from lab.scenario.graph_words import link_of
from lab.scenario.names import unfit_for_host

SUFFIXES = (".graphml", ".gml")
SUBNET = "192.168.0.0/16"
_LARGEST = 64 << 20
_MOST = 100_000
"""Nodes, as many as a generator makes hosts."""
_SHOWN = 4
"""Examples in a note."""


class GraphFileError(LabError):
    """The file cannot be read, or holds no graph of hosts."""


def read_graph(path: Path) -> Any:
    """The graph of a file; raises `GraphFileError`."""

    readers = {".graphml": _read_graphml, ".gml": _read_gml}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise GraphFileError(f"a file named *{' or *'.join(SUFFIXES)}")
    try:
        if not path.is_file():
            raise GraphFileError("a file" if path.exists() else "a file that can be read (No such file or directory)")
        if path.stat().st_size > _LARGEST:
            raise GraphFileError(f"a file of at most {_LARGEST >> 20} MiB")
        graph = reader(read_named(path))
    except GraphFileError:
        raise
    except OSError as error:
        raise GraphFileError(f"a file that can be read ({error.strerror})") from None
    except Exception as error:
        # The library lets whatever its parsers raise through: XML errors, KeyError, ValueError, its own.
        reason = " ".join(str(error).split())[:120]
        raise GraphFileError(f"a graph ({type(error).__name__}: {reason})") from None
    if not 1 <= graph.number_of_nodes() <= _MOST:
        raise GraphFileError(f"a graph of 1 to {_MOST:,} nodes")
    return graph


def _read_graphml(data: bytes) -> Any:
    import networkx

    return networkx.read_graphml(io.BytesIO(data))


def _read_gml(data: bytes) -> Any:
    """A GML file as its authors mean it: in UTF-8 (or Latin-1), and with parallel edges though it does not say so."""
    import networkx

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # The format is ASCII, with character references; the library refuses everything else.
    text = text.encode("ascii", "xmlcharrefreplace").decode()
    opening = re.search(r"^[ \t]*graph\s*\[", text, re.MULTILINE)
    if opening and not re.search(r"^[ \t]*multigraph\s+[01]\b", text, re.MULTILINE):
        text = f"{text[: opening.end()]}\nmultigraph 1\n{text[opening.end() :]}"
    return networkx.parse_gml(text.splitlines(), label=None)


def underlay_of(path: Path) -> tuple[dict[str, Any], list[str]]:
    """`hosts`, `edges`, `links` and `networks` as they would stand in a scenario, and what was changed on the way;
    raises `GraphFileError`."""
    graph = read_graph(path)
    notes: list[str] = []
    labels = {node: str(data.get("name") or data.get("label") or node) for node, data in graph.nodes(data=True)}
    names = _names(labels, "host")
    if changed := {labels[node]: name for node, name in names.items() if _surprising(labels[node], name)}:
        notes.append(f"{_count(changed, 'node')} other names than their labels: {_examples(changed)}")
    said = {str(data["region"]): str(data["region"]) for _, data in graph.nodes(data=True) if data.get("region")}
    regions = _names(said, "region")
    if renamed := {region: name for region, name in regions.items() if region != name}:
        notes.append(f"{_count(renamed, 'region')} other names: {_examples(renamed)}")
    hosts: dict[str, dict[str, str]] = {}
    for node, data in graph.nodes(data=True):
        host = {"address": str(data["address"])} if data.get("address") else {}
        hosts[names[node]] = host | ({"region": regions[str(data["region"])]} if data.get("region") else {})
    order = {name: index for index, name in enumerate(hosts)}
    edges: dict[tuple[str, str], None] = {}
    links: dict[str, dict[str, Any]] = {}
    words: dict[str, str] = {}
    arrow = "->" if graph.is_directed() else "<->"
    for one, other, data in graph.edges(data=True):
        if one == other:
            continue
        ends = names[one], names[other]
        edges[min(ends, key=order.__getitem__), max(ends, key=order.__getitem__)] = None
        link, told = link_of(data)
        words = told | words
        if link:
            links.setdefault(f"{ends[0]} {arrow} {ends[1]}", link)
    notes += words.values()
    found: dict[str, Any] = {"hosts": hosts, "edges": tuple(edges), "links": links}
    if len(hosts) > 250:
        found["networks"] = {"lan": {"subnet": SUBNET}}
    return found, notes


def _count(items: Iterable[Any], noun: str) -> str:
    number = len(list(items))
    return f"one {noun} has" if number == 1 else f"{number} {noun}s have"


def _examples(changed: dict[str, str]) -> str:
    return listed((f"{label} is {name}" for label, name in changed.items()), _SHOWN)


def _plain(said: str) -> str:
    """A label as a name would have it if it only needs separators: what is no change worth a note."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", said) if said.isascii() else ""
    return re.sub(r"\.{2,}", ".", re.sub(r"-?\.-?", ".", name)).strip("-.")


def _surprising(label: str, name: str) -> bool:
    """Whether a reader of the file would look for this node under another name."""
    return name != _plain(label) and not label.isdecimal()


def _names(labels: dict[Any, str], noun: str) -> dict[Any, str]:
    """A name for each label: letters (of other scripts in Latin ones), digits and dots, each once."""
    names: dict[Any, str] = {}
    taken: dict[str, None] = {}
    for node, said in labels.items():
        name = _plain(_latin(said))[:50].strip("-.")
        # Bare numbers would be taken for addresses by every tool, `localhost` for the machine itself.
        if not name or unfit_for_host(name):
            name = f"{noun}{name}"
        unique, number = name, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{name}-{number}"
        taken[unique.lower()] = None
        names[node] = unique
    return names


def _latin(text: str) -> str:
    """The text in Latin letters, as far as it can be told: Zürich is Zurich, 東京 is DongJing."""
    if text.isascii():
        return text
    from anyascii import anyascii

    return str(anyascii(text))
