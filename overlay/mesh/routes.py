"""Who is reachable over established links that both ends declare, and over which neighbour. Knows no connections.

Routes follow from the replicated topology alone, so that peers with equal topologies agree on them: breadth-first,
the names of each level in order.
"""

from overlay.config import PeerName
from overlay.mesh.topology import Topology


class Routes:
    """Derived from `topology`; `refresh` brings it up to date, at the cost of one search, if links have changed."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._own = topology.own
        self._generation = -1
        self._broadcast: dict[PeerName, tuple[PeerName, ...]] = {}
        self.hops: dict[PeerName, PeerName] = {self._own: self._own}
        """The next hop for each reachable peer; this peer's own is itself."""
        self.reachable: tuple[PeerName, ...] = (self._own,)

    @property
    def stale(self) -> bool:
        """Whether links have changed since the last `refresh`."""
        return self._generation != self._topology.links_generation

    def refresh(self) -> bool:
        """Recompute if stale; whether the set of reachable peers is another one now."""
        if not self.stale:
            return False
        self._generation = self._topology.links_generation
        self._broadcast.clear()
        self.hops = self._search("")
        before, self.reachable = self.reachable, tuple(sorted(self.hops))
        return before != self.reachable

    def next_hop(self, destination: PeerName) -> PeerName | None:
        """The neighbour to which a unicast goes; None if the destination is out of reach."""
        return self.hops.get(destination)

    def broadcast_next_hops(self, source: PeerName) -> tuple[PeerName, ...]:
        """The neighbours to which this peer passes on a broadcast of `source`, sorted.

        They are the neighbours that the search from `source` has not reached when it comes to this peer: followed
        by every peer, each gets the broadcast exactly once. Empty if `source` does not reach this peer.
        """
        hops = self._broadcast.get(source)
        if hops is None:
            hops = self._broadcast[source] = self._search_broadcast(source)
        return hops

    def reaches_without_link(self, neighbour: PeerName) -> bool:
        """Whether `neighbour` would stay reachable if the link to it went."""
        return neighbour in self._search(neighbour)

    def _search(self, shunned: PeerName) -> dict[PeerName, PeerName]:
        established = self._topology.established
        own = self._own
        hops = {own: own}
        level = [own]
        while level:
            found = []
            for peer in level:
                for other in established(peer):
                    if other not in hops and peer in established(other) and not (peer == own and other == shunned):
                        hops[other] = other if peer == own else hops[peer]
                        found.append(other)
            level = sorted(found)
        return hops

    def _search_broadcast(self, source: PeerName) -> tuple[PeerName, ...]:
        established = self._topology.established
        own = self._own
        seen = {source: None}
        level = [source]
        while level:
            found = []
            for peer in level:
                if peer == own:
                    return tuple(other for other in established(own) if other not in seen and own in established(other))
                for other in established(peer):
                    if other not in seen and peer in established(other):
                        seen[other] = None
                        found.append(other)
            level = sorted(found)
        return ()
