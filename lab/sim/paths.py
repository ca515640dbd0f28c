"""The routed topology of a simulated underlay: one queue per direction of each cable, shared by all its traffic.

Owns the edges that a packet from one host to another crosses now, the changes that steps make, and the model of each
edge. `lab.sim.network` moves packets from edge to edge in time.
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
        """Packets that entered the edge, and how many of them were dropped."""
        self.plain = not (set(link.asks()) - {"delay"})
        """Every packet takes the same time, and none waits."""

    def change(self, link: Link, now: int) -> None:
        """See `DirectionModel`. Packets that still wait keep it from being plain."""
        super().change(link, now)
        self.plain = not (set(link.asks()) - {"delay"}) and self._queue.busy_until <= now

    def arrivals(self, now: int, size: int) -> list[int]:
        """When a packet that enters now is at the other end; a corrupt packet does not arrive."""
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
        """Apply a change to cables, or remove the change with this key."""
        for number in self._changed.set(key, change):
            self.edges[number].change(self._changed.links[number], now)
        for number, edge in enumerate(self.edges):
            edge.down = number in self._changed.down

    def between(self, sender: str, receiver: str) -> tuple[EdgeModel, ...] | None:
        """The edges that a packet from one host to another crosses now, in order; None: there is no path."""
        path = self._changed.path(sender, receiver)
        return tuple(self.edges[number] for number in path) if path is not None else None
