"""A topology plus the changes that steps make to its cables during a run: current links, edges that are down, routes.

Pure. The simulator, the fabric of real hosts and the checkers each keep one. When several changes affect one cable, the
last one set wins, parameter by parameter.
"""

from dataclasses import replace
from typing import Any

from lab.links.topology import EdgeChange, PathFinder, RoutedTopology
from lab.links.values import Link

__all__ = ["ChangedTopology"]


class ChangedTopology:
    """Edges are identified by their index in the topology."""

    def __init__(self, topology: RoutedTopology) -> None:
        self.topology = topology
        self.links: list[Link] = [edge.link for edge in topology.edges]
        """The current link of each edge."""
        self.down: frozenset[int] = frozenset()
        """Edges that are down."""
        self.finder = PathFinder(topology.nodes, topology.edges)
        """The current routes."""
        self._around: frozenset[int] = frozenset()
        self._changes: dict[int, EdgeChange] = {}
        self._between: dict[tuple[str, str], list[int]] = {}
        for number, edge in enumerate(topology.edges):
            self._between.setdefault((edge.sender, edge.receiver), []).append(number)

    def set(self, key: int, change: EdgeChange | None) -> list[int]:
        """Apply a change to cables, or remove the change with this key. Returns the edges whose link changed."""
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
        """The edges that a packet from one host to another crosses now, in order; None: there is no route."""
        places = self.topology.places
        return self.finder.path(places[sender], places[receiver])
