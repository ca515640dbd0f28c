"""The routed topology of a simulated underlay: one queue for each direction of each cable, shared by all that cross it.

Owns which edges a packet from one host to another crosses now, what steps change of them, and the model of each. How
a packet goes from edge to edge in time is `lab.sim.network`'s.
"""

from lab.links import Link
from lab.links.changed_topology import ChangedTopology
from lab.links.model import DirectionModel
from lab.links.topology import EdgeChange, RoutedTopology
from overlay.env import Random

__all__ = ["EdgeModel", "RoutedPaths"]


class EdgeModel(DirectionModel):
    """One direction of a cable between two nodes."""

    __slots__ = ("bytes", "down", "dropped", "packets", "plain")

    def __init__(self, link: Link, rng: Random) -> None:
        super().__init__(link, rng)
        self.down = False
        self.packets = self.bytes = self.dropped = 0
        """What has come to it, and what of this went no further."""
        self.plain = not (set(link.asks()) - {"delay"})
        """Whatever passes takes the same time, and nothing waits."""

    def change(self, link: Link, now: int) -> None:
        """See `DirectionModel`. What waits from before keeps it from being plain."""
        super().change(link, now)
        self.plain = not (set(link.asks()) - {"delay"}) and self._queue.busy_until <= now

    def arrivals(self, now: int, size: int) -> list[int]:
        """When a packet that comes to it now is at its other end; a corrupt one is not."""
        self.packets += 1
        self.bytes += size
        copies = [copy.at for copy in self.packet(now, size) if not copy.corrupt] if not self.down else []
        self.dropped += not copies
        return copies


class RoutedPaths:
    """A topology whose cables can change."""

    def __init__(self, topology: RoutedTopology, rng: Random) -> None:
        self._changed = ChangedTopology(topology)
        self.edges = [EdgeModel(edge.link, rng) for edge in topology.edges]

    def change(self, key: int, change: EdgeChange | None, now: int) -> None:
        """Put a change over cables, or take that of this key away."""
        for number in self._changed.set(key, change):
            self.edges[number].change(self._changed.links[number], now)
        for number, edge in enumerate(self.edges):
            edge.down = number in self._changed.down

    def between(self, sender: str, receiver: str) -> tuple[EdgeModel, ...] | None:
        """What a packet from one host to another crosses now, in order; None: no way leads there."""
        path = self._changed.path(sender, receiver)
        return tuple(self.edges[number] for number in path) if path is not None else None
