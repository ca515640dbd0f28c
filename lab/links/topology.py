"""The routed topology of an underlay as data: nodes (routers), directed edges with their links, and where hosts attach.

Owns the choice of routes: shortest paths, as a link-state protocol finds them, from each node to each destination. The
cost of a path is the sum of its edges' weights. Ties go to the path with the fewest edges, then to the first next node
in order, then to the first of parallel edges. Pure; `lab.links.model` owns what an edge does to packets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from lab.links.values import Link

__all__ = ["EdgeChange", "PathFinder", "RoutedTopology", "TopologyEdge", "spread"]


@dataclass(frozen=True, slots=True)
class TopologyEdge:
    """One direction of a cable between two nodes."""

    sender: str
    receiver: str
    link: Link
    weight: int
    """The cost of the edge; without weights in the file its delay, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """A change that a step makes to all cables between two nodes, while it lasts."""

    pairs: tuple[tuple[str, str], ...]
    """(sender, receiver), names of nodes."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Names of `Link`'s fields -> new values."""
    down: bool = False
    """The cables are down."""
    reroute: bool = True
    """Routes avoid cables that are down; otherwise routes are static and lead into them."""


@dataclass(frozen=True, slots=True)
class RoutedTopology:
    """Nodes, edges and attachment points."""

    nodes: tuple[str, ...]
    edges: tuple[TopologyEdge, ...]
    places: Mapping[str, str]
    """Host -> the node that it is attached to."""

    def between(self, sender: str, receiver: str) -> tuple[int, ...]:
        """The indexes of the edges from one node to another: several if cables are parallel."""
        return tuple(
            number for number, edge in enumerate(self.edges) if (edge.sender, edge.receiver) == (sender, receiver)
        )


class PathFinder:
    """The routes of a topology without the edges that are down; computed for each destination on first use."""

    def __init__(self, nodes: Sequence[str], edges: Sequence[TopologyEdge], down: Iterable[int] = ()) -> None:
        self._edges = edges
        self._order = {node: number for number, node in enumerate(nodes)}
        self._into: dict[str, list[int]] = {node: [] for node in nodes}
        self._out: dict[str, list[int]] = {node: [] for node in nodes}
        gone = frozenset(down)
        for number, edge in enumerate(edges):
            if number not in gone:
                self._into[edge.receiver].append(number)
                self._out[edge.sender].append(number)
        self._next: dict[str, dict[str, int]] = {}

    def path(self, sender: str, receiver: str) -> tuple[int, ...] | None:
        """The indexes of the edges from one node to another; None: there is no path."""
        towards = self.towards(receiver)
        found: list[int] = []
        node = sender
        while node != receiver:
            number = towards.get(node)
            if number is None:
                return None
            found.append(number)
            node = self._edges[number].receiver
        return tuple(found)

    def towards(self, receiver: str) -> Mapping[str, int]:
        """Node -> the edge on which it forwards packets for `receiver`."""
        if receiver not in self._next:
            costs = self.costs(receiver)
            self._next[receiver] = {
                node: min(
                    (
                        (self._over(number, costs), self._order[self._edges[number].receiver], number)
                        for number in self._out[node]
                        if self._edges[number].receiver in costs
                    ),
                )[2]
                for node in costs
                if node != receiver
            }
        return self._next[receiver]

    def costs(self, receiver: str) -> Mapping[str, tuple[int, int]]:
        """Node -> (cost, edges) of its path to `receiver`, for all nodes that have one."""
        found: dict[str, tuple[int, int]] = {}
        heap = [((0, 0), self._order[receiver], receiver)]
        while heap:
            cost, _, node = heappop(heap)
            if node in found:
                continue
            found[node] = cost
            for number in self._into[node]:
                edge = self._edges[number]
                if edge.sender not in found:
                    heappush(heap, (self._over(number, found), self._order[edge.sender], edge.sender))
        return found

    def _over(self, number: int, costs: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
        edge = self._edges[number]
        cost, edges = costs[edge.receiver]
        return cost + edge.weight, edges + 1


_SEARCHED = 300


def spread(count: int, nodes: Sequence[str], edges: Sequence[TopologyEdge], taken: Iterable[str] = ()) -> list[str]:
    """Nodes for `count` hosts, far apart from each other and from nodes in `taken`.

    The first is the node with the smallest sum of distances to the others (with more than `_SEARCHED` nodes, the middle
    one in order). Each next one is the node farthest from its nearest host; ties go to the first. When all nodes have a
    host, it starts again. More than `_SEARCHED` hosts are distributed evenly over the order of the nodes.
    """
    if count > _SEARCHED and count < len(nodes):
        return [nodes[number * len(nodes) // count] for number in range(count)]
    if count + len(set(taken)) >= len(nodes) and not taken:
        whole, rest = divmod(count, len(nodes))
        return [*nodes] * whole + (spread(rest, nodes, edges) if rest else [])
    finder = PathFinder(nodes, edges)
    far = (1 << 62, 0)
    free = [node for node in nodes if node not in set(taken)] or list(nodes)
    nearest = dict.fromkeys(free, far)
    order = {node: number for number, node in enumerate(nodes)}
    chosen: list[str] = []

    def occupy(place: str) -> None:
        costs = finder.costs(place)
        for node in nearest:
            nearest[node] = min(nearest[node], costs.get(node, far))

    def _remote(node: str) -> int:
        costs = finder.costs(node)
        return sum(costs.get(one, far)[0] for one in free)

    for place in dict.fromkeys(taken):
        occupy(place)
    while len(chosen) < count:
        if not nearest:
            return chosen + spread(count - len(chosen), nodes, edges)
        if not chosen and not set(taken) and len(free) > _SEARCHED:
            place = free[len(free) // 2]
        elif chosen or set(taken):
            place = max(nearest, key=lambda node: (nearest[node], -order[node]))
        else:
            place = min(free, key=_remote)
        chosen.append(place)
        del nearest[place]
        occupy(place)
    return chosen
