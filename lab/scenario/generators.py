"""Who is whose neighbour: graphs of hosts by rule, from a seed. Pure.

A graph says which peers are told to connect to each other (`connect: all`), not where packets can go: all hosts share
the underlay. Owns the kinds, their parameters and what is wrong with them. Files are `lab.scenario.graph_files`'.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from lab.scenario.model import Generate
from lab.words import count
from overlay.env import Random

Edges = tuple[tuple[str, str], ...]
"""(who dials, who is dialled), each pair of neighbours once."""
_Pairs = list[tuple[int, int]]


class GraphKind(Struct, frozen=True):
    """One rule: its own parameters (with what they are when nobody says), and who makes the edges.

    `make` gets the generator and a source of randomness and returns pairs of indices; None: no graph, everybody hears
    of everybody by discovery."""

    make: Callable[[Generate, Random], _Pairs] | None
    parameters: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Parameters without a sensible default."""
    least: int = 1
    """Hosts at least."""


def _ring(spec: Generate, rng: Random) -> _Pairs:
    return [(index, (index + 1) % spec.hosts) for index in range(spec.hosts)]


def _line(spec: Generate, rng: Random) -> _Pairs:
    return [(index, index + 1) for index in range(spec.hosts - 1)]


def _star(spec: Generate, rng: Random) -> _Pairs:
    return [(0, index) for index in range(1, spec.hosts)]


def _tree(spec: Generate, rng: Random) -> _Pairs:
    return [((index - 1) // branching(spec), index) for index in range(1, spec.hosts)]


def _random_regular(spec: Generate, rng: Random) -> _Pairs:
    import networkx

    assert spec.degree is not None
    if spec.degree == 2:  # in one piece it is a ring, and drawing until it is would take for ever
        order = list(range(spec.hosts))
        rng.shuffle(order)
        return [(order[index - 1], order[index]) for index in range(spec.hosts)]
    while True:  # of degree 3 and more nearly all are in one piece
        graph = networkx.random_regular_graph(spec.degree, spec.hosts, seed=rng)
        if networkx.is_connected(graph):
            return _pairs(graph.edges)


def _small_world(spec: Generate, rng: Random) -> _Pairs:
    import networkx

    tries = 1000
    return _pairs(
        networkx.connected_watts_strogatz_graph(spec.hosts, _even(spec), rewire(spec), tries=tries, seed=rng).edges
    )


def _scale_free(spec: Generate, rng: Random) -> _Pairs:
    import networkx

    return _pairs(networkx.barabasi_albert_graph(spec.hosts, attach(spec), seed=rng).edges)


KINDS = {
    "full_mesh": GraphKind(None),
    "ring": GraphKind(_ring, least=3),
    "line": GraphKind(_line, least=2),
    "star": GraphKind(_star, least=2),
    "tree": GraphKind(_tree, ("branching",), least=2),
    "random_regular": GraphKind(_random_regular, ("degree",), ("degree",), least=4),
    "small_world": GraphKind(_small_world, ("degree", "rewire"), least=5),
    "scale_free": GraphKind(_scale_free, ("attach",), least=3),
}
"""Kinds of `underlay.generate`."""
PARAMETERS = ("degree", "branching", "rewire", "attach")
"""What belongs to some kind only."""


def branching(spec: Generate) -> int:
    """Children of each host of a tree: 2 unless said."""
    return spec.branching or 2


def rewire(spec: Generate) -> float:
    """Part of a small world's edges that lead anywhere: 10% unless said (Watts and Strogatz 1998)."""
    return 0.1 if spec.rewire is None else spec.rewire


def attach(spec: Generate) -> int:
    """Edges that each host of a scale-free graph brings: 2 unless said (Barabási and Albert 1999)."""
    return spec.attach or 2


def _even(spec: Generate) -> int:
    return spec.degree or 4


def faults(spec: Generate) -> Iterator[tuple[str, str, str]]:
    """(key, found, expected) of what is wrong between the parameters of a known kind."""
    kind, hosts = KINDS[spec.kind], spec.hosts
    for name in PARAMETERS:
        if getattr(spec, name) is not None and name not in kind.parameters:
            takes = ", ".join(kind.parameters) or "none of its own"
            yield name, f"`{name}` of a {spec.kind}", f"parameters of that kind ({takes})"
    for name in kind.needs:
        if getattr(spec, name) is None:
            yield "", f"no `{name}`", f"`{name}`: a {spec.kind} has no default"
    if hosts < kind.least:
        yield "hosts", count(hosts, "host"), f"at least {kind.least} for a {spec.kind}"
    if spec.kind == "random_regular" and (degree := spec.degree) is not None:
        if not 2 <= degree < hosts:
            yield "degree", f"{degree}", f"from 2 to {hosts - 1}, less than there are hosts"
        elif degree * hosts % 2:
            yield "degree", f"{degree} for {count(hosts, 'host')}", "an even product: every edge has two ends"
    if spec.kind == "small_world" and (_even(spec) % 2 or not 4 <= _even(spec) < hosts):
        yield "degree", f"{_even(spec)}", f"an even number from 4 to {hosts - 1}: half of them on each side"
    if spec.kind == "scale_free" and not 1 <= attach(spec) < hosts:
        yield "attach", f"{attach(spec)}", f"from 1 to {hosts - 1}"
    if spec.regions is not None and len(spec.regions) > hosts:
        yield "regions", f"{len(spec.regions)} regions", f"at most {hosts}, one host in each"


def edges(spec: Generate, names: Sequence[str], seed: int) -> Edges | None:
    """The graph of a faultless generator, the same for the same seed; None when there is none to keep (full_mesh)."""
    make = KINDS[spec.kind].make
    if make is None:
        return None
    found = make(spec, Random(f"{seed} topology"))
    return tuple((names[one], names[other]) for one, other in found)


def regions(spec: Generate, names: Sequence[str]) -> dict[str, str]:
    """Host to region: neighbouring hosts share one, and the regions are of equal size (but for one host)."""
    if spec.regions is None:
        return {}
    number, count = len(spec.regions), len(names)
    return {name: spec.regions[index * number // count] for index, name in enumerate(names)}


def max_degree(graph: Edges) -> int:
    """Neighbours of the host that has most."""
    counts: dict[str, int] = {}
    for edge in graph:
        for name in edge:
            counts[name] = counts.get(name, 0) + 1
    return max(counts.values(), default=0)


def _pairs(found: Iterator[tuple[int, int]]) -> _Pairs:
    """In an order that does not hang on how the library keeps them."""
    return sorted((min(pair), max(pair)) for pair in found)


def pieces(graph: Edges, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The parts of a graph that no edge joins, each in the order of the names."""
    root = {name: name for name in names}

    def top(name: str) -> str:
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for one, other in graph:
        if one in root and other in root:
            root[top(other)] = top(one)
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(top(name), []).append(name)
    return [tuple(piece) for piece in found.values()]
