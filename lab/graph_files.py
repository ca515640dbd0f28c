"""Topologies from files: GraphML and GML (networkx reads them) as the `hosts`, `edges` and `links` of an underlay.

Node attributes: `region`, `address`. Edge attributes: those of a link (`delay`, `loss`, `rate` …), written as in a
scenario; all others (weights, labels, coordinates) are left alone. Owns the translation and the names of hosts; what
is valid in them is the scenario model's. Reads files, starts nothing.
"""

import re
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.links import Link

SUFFIXES = (".graphml", ".gml")
LINK_KEYS = tuple(name for name in Link.__dataclass_fields__ if name != "burst")
SUBNET = "192.168.0.0/16"


class GraphFileError(LabError):
    """The file cannot be read, or holds no graph of hosts."""


def read_graph(path: Path) -> Any:
    """The graph of a file; raises `GraphFileError`."""
    import networkx

    readers = {".graphml": networkx.read_graphml, ".gml": lambda name: networkx.read_gml(name, label=None)}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise GraphFileError(f"a file named *{' or *'.join(SUFFIXES)}")
    try:
        graph = reader(str(path))
    except OSError as error:
        raise GraphFileError(f"a file that can be read ({error.strerror})") from None
    except Exception as error:
        # The library lets whatever its parsers raise through: XML errors, KeyError, ValueError, its own.
        reason = " ".join(str(error).split())[:120]
        raise GraphFileError(f"a graph ({type(error).__name__}: {reason})") from None
    if not graph.number_of_nodes():
        raise GraphFileError("a graph with nodes")
    return graph


def underlay_of(path: Path) -> dict[str, Any]:
    """`hosts`, `edges`, `links` and `networks` as they would stand in a scenario; raises `GraphFileError`."""
    graph = read_graph(path)
    names = _names(graph)
    hosts = {
        names[node]: {key: str(data[key]) for key in ("region", "address") if data.get(key)}
        for node, data in graph.nodes(data=True)
    }
    order = {name: index for index, name in enumerate(hosts)}
    edges: dict[tuple[str, str], None] = {}
    links: dict[str, dict[str, Any]] = {}
    arrow = "->" if graph.is_directed() else "<->"
    for one, other, data in graph.edges(data=True):
        if one == other:
            continue
        ends = names[one], names[other]
        edges[min(ends, key=order.__getitem__), max(ends, key=order.__getitem__)] = None
        if link := {key: data[key] for key in LINK_KEYS if key in data}:
            links.setdefault(f"{ends[0]} {arrow} {ends[1]}", link)
    found: dict[str, Any] = {"hosts": hosts, "edges": tuple(edges), "links": links}
    if len(hosts) > 250:
        found["networks"] = {"lan": {"subnet": SUBNET}}
    return found


def _names(graph: Any) -> dict[Any, str]:
    """Node to host name: its `name` or `label`, or its id; letters, digits and dots, each once."""
    names: dict[Any, str] = {}
    taken: dict[str, None] = {}
    for node, data in graph.nodes(data=True):
        said = str(data.get("name") or data.get("label") or node)
        name = re.sub(r"[^A-Za-z0-9.]+", "-", said)
        name = re.sub(r"\.{2,}", ".", re.sub(r"-*\.-*", ".", name)).strip("-.")[:50].strip("-.")
        # Bare numbers would be taken for addresses by every tool.
        if not name or name.isdecimal() or name == "all":
            name = f"host{name}"
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}-{number}"
        taken[unique] = None
        names[node] = unique
    return names
