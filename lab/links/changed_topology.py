"""A topology and what steps change of its cables while a lab runs: the link of each edge now, what is down, the routes.

Pure. The simulator, the fabric of real hosts and the checkers each keep one. Of several changes of one cable the one
that was set last wins, parameter by parameter.
"""

from dataclasses import replace
from typing import Any

from lab.links.topology import EdgeChange, PathFinder, RoutedTopology
from lab.links.values import Link

__all__ = ["ChangedTopology"]


class ChangedTopology:
    """Edges are told by their numbers in the topology."""

    def __init__(self, topology: RoutedTopology) -> None:
        self.topology = topology
        self.links: list[Link] = [edge.link for edge in topology.edges]
        """What each edge does to packets now."""
        self.down: frozenset[int] = frozenset()
        """Edges over which nothing passes."""
        self.finder = PathFinder(topology.nodes, topology.edges)
        """The routes of now."""
        self._around: frozenset[int] = frozenset()
        self._changes: dict[int, EdgeChange] = {}
        self._between: dict[tuple[str, str], list[int]] = {}
        for number, edge in enumerate(topology.edges):
            self._between.setdefault((edge.sender, edge.receiver), []).append(number)

    def set(self, key: int, change: EdgeChange | None) -> list[int]:
        """Put a change over cables, or take that of this key away. Returns the edges whose link is another now."""
        if change is not None:
            self._changes[key] = change
        else:
            self._changes.pop(key, None)
        down: set[int] = set()
        around: set[int] = set()
        values: dict[int, dict[str, Any]] = {}
        for each in self._changes.values():
            for pair in each.pairs:
                for number in self._between.get(pair, ()):
                    values.setdefault(number, {}).update(each.values)
                    if each.down:
                        down.add(number)
                    if each.down and each.reroute:
                        around.add(number)
        links = [
            replace(edge.link, **values[number]) if number in values else edge.link
            for number, edge in enumerate(self.topology.edges)
        ]
        changed = [number for number, link in enumerate(links) if link != self.links[number]]
        self.links, self.down = links, frozenset(down)
        if around != self._around:
            self._around = frozenset(around)
            self.finder = PathFinder(self.topology.nodes, self.topology.edges, around)
        return changed

    def path(self, sender: str, receiver: str) -> tuple[int, ...] | None:
        """The edges that a packet from one host to another crosses now, in order; None: no route leads there."""
        places = self.topology.places
        return self.finder.path(places[sender], places[receiver])
