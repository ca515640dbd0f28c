"""The mesh as one peer knows it, as a Graphviz or Mermaid graph. Pure: a report in, text out.

Owns the escaping. Names and nicknames come from others and must not become syntax, so nodes are numbered and names
appear only in labels.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from overlay.clean import clean_tree

__all__ = ["FORMATS", "Edge", "Graph", "GraphNode", "graph"]

Report = Mapping[str, Any]
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,_/()-")
"""Characters without a meaning in a quoted Mermaid label. A colon has one next to some other characters."""
_STATES = {"own": "bold", "reachable": "solid", "unreachable": "dashed", "left": "dotted"}


class GraphNode(Struct, frozen=True):
    """A peer or a container."""

    id: str
    label: tuple[str, ...]
    """Lines of text."""
    kind: str
    """`own`, `reachable`, `unreachable` or `left` for a peer; `container`."""


class Edge(Struct, frozen=True):
    """A connection between two peers, or the link between a container and its peer."""

    source: str
    target: str
    label: str
    up: bool


class Graph(Struct, frozen=True):
    """Nodes and edges in a fixed order."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[Edge, ...]


def graph(report: Report, *, containers: bool = False) -> Graph:
    """The mesh in this peer's report. For its own connections it knows the path, for others only the state."""
    report = clean_tree(report)
    mesh = report["mesh"]
    ids = {peer["name"]: f"p{number}" for number, peer in enumerate(mesh["peers"])}
    nodes = [
        GraphNode(ids[peer["name"]], (peer["nickname"], peer["name"]), _kind(peer, mesh)) for peer in mesh["peers"]
    ]
    edges = list(_edges(report, ids))
    if containers:
        names = {(each["peer"], each["container"]): each["name"].rstrip(".") for each in report["dns"]["entries"]}
        for number, entry in enumerate(report["endpoints"]["entries"]):
            if entry["peer"] not in ids:
                continue
            shown = names.get((entry["peer"], entry["container"]), entry["container"][:12])
            nodes.append(GraphNode(f"c{number}", (shown, *entry["addresses"]), "container"))
            edges.append(Edge(ids[entry["peer"]], f"c{number}", "", entry["state"] in ("local", "forwarded")))
    return Graph(tuple(nodes), tuple(edges))


def _kind(peer: Mapping[str, Any], mesh: Mapping[str, Any]) -> str:
    if peer["name"] == mesh["name"]:
        return "own"
    return "reachable" if peer["reachable"] else "left" if peer["gone"] else "unreachable"


def _edges(report: Report, ids: Mapping[str, str]) -> Iterator[Edge]:
    """One edge for each pair in which either peer reports a connection; up if both report it as established."""
    mesh = report["mesh"]
    said: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for peer in mesh["peers"]:
        for link in peer["links"]:
            if link["peer"] in ids:
                low, high = sorted((peer["name"], link["peer"]))
                said.setdefault((low, high), []).append((peer["name"], link["established"]))
    states = {each["peer"]: each["state"] for each in mesh["connections"] if each["peer"]}
    own = mesh["name"]
    for low, high in [(min(own, peer), max(own, peer)) for peer in states if peer in ids and peer != own]:
        said.setdefault((low, high), [])
    for (low, high), words in sorted(said.items()):
        up = len({who for who, established in words if established}) == 2
        other = high if low == own else low if high == own else ""
        state = states.get(other, "") if other else ""
        label = "" if up else state if state and state != "established" else "pending"
        if state == "established":
            label = _path(report["paths"].get(other, {}))
        yield Edge(ids[low], ids[high], label, up or state == "established")


def _path(path: Mapping[str, Any]) -> str:
    return f"{path.get('path', 'fastdp')}{' encrypted' if path.get('encrypted') else ''}"


def _dot(drawn: Graph) -> str:
    lines = ["graph weave {", "  node [shape=box];"]
    for node in drawn.nodes:
        look = "shape=ellipse" if node.kind == "container" else f'style="{_STATES[node.kind]}"'
        label = r"\n".join(map(_dot_words, node.label))
        lines.append(f'  {node.id} [label="{label}", {look}];')
    for edge in drawn.edges:
        look = "solid" if edge.up else "dashed"
        label = f'label="{_dot_words(edge.label)}", ' if edge.label else ""
        lines.append(f'  {edge.source} -- {edge.target} [{label}style="{look}"];')
    return "\n".join([*lines, "}"])


def _dot_words(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(drawn: Graph) -> str:
    lines = ["graph LR"]
    for node in drawn.nodes:
        opening, closing = ("(", ")") if node.kind == "container" else ("[", "]")
        label = "<br/>".join(map(_mermaid_words, node.label))
        lines.append(f'  {node.id}{opening}"{label}"{closing}')
    for edge in drawn.edges:
        line = "---" if edge.up else "-.-"
        label = f'|"{_mermaid_words(edge.label)}"|' if edge.label else ""
        lines.append(f"  {edge.source} {line}{label} {edge.target}")
    for kind in ("own", "unreachable", "left"):
        members = ",".join(node.id for node in drawn.nodes if node.kind == kind)
        if members:
            style = "stroke-width:3px" if kind == "own" else "stroke-dasharray:4"
            lines += [f"  classDef {kind} {style}", f"  class {members} {kind}"]
    return "\n".join(lines)


def _mermaid_words(text: str) -> str:
    """Text with every special character as a Mermaid character code (`#35;`)."""
    return "".join(char if char in _PLAIN else f"#{ord(char)};" for char in text)


FORMATS: Mapping[str, Callable[[Graph], str]] = {"dot": _dot, "mermaid": _mermaid}
"""Writer for each format."""
