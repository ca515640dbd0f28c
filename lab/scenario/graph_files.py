"""Topologies from files: GraphML, GML and node-link JSON (networkx reads them) as an underlay's `hosts`, `edges` and
`topology`, and those of the catalogue of the package topohub.

Node attributes: `region`, `address`, coordinates. Edge attributes: those of a link (`delay`, `loss`, `rate` …), written
as in a scenario, the words that other programs have for them (`lab.scenario.graph_words`), lengths and weights; all
others (labels, ids) are left alone. Owns the translation, the names of nodes, and the notes on what was changed; what
is valid is the scenario model's. Reads files, starts nothing.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.named_file import read_named
from lab.scenario.base import listed
from lab.scenario.distances import delay_of_length, great_circle, length_of, position_of
from lab.scenario.graph_words import UnclearAttribute, link_of
from lab.scenario.names import unfit_for_host

SUFFIXES = (".graphml", ".gml", ".json")
SUBNET = "192.168.0.0/16"
_LARGEST = 64 << 20
_MOST = 100_000
"""Nodes, as many as a generator makes hosts."""
_MOST_EDGES = 500_000
_SHOWN = 4
"""Examples in a note."""


class GraphFileError(LabError):
    """The file cannot be read, or holds no graph of hosts."""


def read_graph(path: Path) -> Any:
    """The graph of a file; raises `GraphFileError`."""

    readers = {".graphml": _read_graphml, ".gml": _read_gml, ".json": _read_json}
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
    return _bounded(graph)


def _bounded(graph: Any) -> Any:
    if not 1 <= graph.number_of_nodes() <= _MOST:
        raise GraphFileError(f"a graph of 1 to {_MOST:,} nodes")
    if graph.number_of_edges() > _MOST_EDGES:
        raise GraphFileError(f"a graph of at most {_MOST_EDGES:,} edges")
    return graph


def _read_json(data: bytes) -> Any:
    """Node-link JSON, as networkx and topohub write it; edges may be called `links`."""
    import networkx

    plain = json.loads(data)
    if not isinstance(plain, dict) or not isinstance(plain.get("nodes"), list):
        raise GraphFileError("node-link JSON: an object with `nodes` and `edges` (or `links`)")
    return networkx.node_link_graph(plain, edges="edges" if "edges" in plain else "links")


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


def read_catalogue(name: str) -> Any:
    """A topology of the `topohub` package; raises `GraphFileError`."""
    expected = "a name of topohub as sndlib/germany50 or topozoo/Abilene"
    try:
        import topohub
    except ImportError:
        raise GraphFileError("the package topohub, which is missing: `pip install 'overlay-lab[topohub]'`") from None
    import networkx

    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){1,3}", name) or ".." in name:
        raise GraphFileError(expected)
    try:
        return _bounded(networkx.node_link_graph(topohub.get(name), edges="edges"))  # type: ignore[no-untyped-call]
    except KeyError:
        raise GraphFileError(f"{expected}, and it has none called so") from None


def underlay_of(graph: Any, units: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """`hosts` (one a node), `edges` (neighbours), `topology` and `networks` as they would stand in a scenario, and what
    was changed on the way; raises `GraphFileError`. `units`: see `link_of`."""
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
    cables, told = _cables(graph, names, units)
    notes += told
    order = {name: index for index, name in enumerate(hosts)}
    ends = ((cable["from"], cable["to"]) for cable in cables)
    edges = dict.fromkeys((min(pair, key=order.__getitem__), max(pair, key=order.__getitem__)) for pair in ends)
    found: dict[str, Any] = {"hosts": hosts, "edges": tuple(edges)}
    if cables:
        found["topology"] = {"nodes": tuple(hosts), "cables": tuple(cables)}
    if len(hosts) > 250:
        found["networks"] = {"lan": {"subnet": SUBNET}}
    return found, notes


def _cables(graph: Any, names: Mapping[Any, str], units: Mapping[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The cables of a graph as a scenario says them, and notes."""
    cables: list[dict[str, Any]] = []
    words: dict[str, str] = {}
    places = {node: position_of(data) for node, data in graph.nodes(data=True)}
    weights: dict[str, list[float | None]] = {key: [] for key in _WEIGHTS}
    unknown = 0
    for one, other, data in graph.edges(data=True):
        if one == other:
            continue
        try:
            link, told = link_of(data, units)
        except UnclearAttribute as error:
            raise GraphFileError(str(error)) from None
        if "delay" not in link:
            here, there = places[one], places[other]
            if (length := length_of(data)) is not None:
                link["delay"] = delay_of_length(length[0])
                told[length[1]] = f"the edges' `{length[1]}` is taken as kilometres of fibre, at two thirds of c"
            elif here is not None and there is not None:
                link["delay"] = delay_of_length(great_circle(here, there))
                told["position"] = "delays are those of the great circle between the nodes, at two thirds of c"
            else:
                unknown += 1
        words = told | words
        cables.append({"from": names[one], "to": names[other], "both": not graph.is_directed(), **link})
        for key in _WEIGHTS:
            weights[key].append(_weight(data.get(key)))
    notes = list(words.values())
    if unknown and unknown < len(cables):
        notes.append(f"{unknown} of {len(cables)} edges have neither delay, length nor ends with coordinates: no delay")
    for key, found in weights.items():
        if found and all(found):
            notes.append(f"the edges' `{key}` is the cost by which paths are chosen")
            cables = [{**cable, "weight": weight} for cable, weight in zip(cables, found, strict=True)]
            break
        if any(found):
            notes.append(f"the edges' `{key}` is ignored: some have none, so paths are chosen by their delays")
    return cables, notes


_WEIGHTS = ("weight", "metric", "cost")


def _weight(value: object) -> float | None:
    """A cost that an edge may have; None: it says none."""
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if 0 < found <= 1_000_000_000 else None


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
