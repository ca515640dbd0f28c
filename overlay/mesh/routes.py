"""Who is reachable over established links that both ends declare, and over which neighbour. Knows no connections.

Routes follow from the replicated topology alone, so that peers with equal topologies agree on them: breadth-first,
the names of each level in order. Who is reachable is asked after every change and so kept up by a spanning tree, of
which only what a change touches is looked at; the way to somebody is asked rarely and searched for then.
"""

from overlay.config import PeerName
from overlay.mesh.topology import Topology


class Routes:
    """Derived from `topology`; `refresh` brings it up to date, at the cost of what has changed."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._own = topology.own
        self._generation = -1
        self._hops_generation = -1
        self._broadcast_generation = -1
        self._broadcast: dict[PeerName, tuple[PeerName, ...]] = {}
        self._hops: dict[PeerName, PeerName] = {}
        self._children: dict[PeerName, dict[PeerName, None]] = {self._own: {}}
        self.tree: dict[PeerName, PeerName] = {self._own: self._own}
        """All reachable peers, each with the one that comes before it in some tree; this peer's own is itself."""
        self.reachable: tuple[PeerName, ...] = (self._own,)

    @property
    def stale(self) -> bool:
        """Whether links have changed since the last `refresh`."""
        return self._generation != self._topology.links_generation

    def refresh(self) -> bool:
        """Bring up to date if stale; whether the set of reachable peers is another one now."""
        if not self.stale:
            return False
        self._generation = self._topology.links_generation
        touched = self._topology.take_relinked()
        orphans = self._cut_off([peer for peer in touched if peer in self.tree])
        for peer in touched:
            if peer in self.tree:
                self._grow(peer)
            else:
                self._attach(peer)
        for orphan in orphans:
            self._attach(orphan)
        # Nobody leaves the tree but orphans: of equal size and with all of them back, it holds the same peers.
        before, size = self.reachable, len(self.reachable)
        if len(self.tree) != size or any(orphan not in self.tree for orphan in orphans):
            self.reachable = tuple(sorted(self.tree))
        return before != self.reachable

    @property
    def hops(self) -> dict[PeerName, PeerName]:
        """The next hop for each reachable peer, as of now; this peer's own is itself."""
        if self._hops_generation != self._topology.links_generation:
            self._hops_generation = self._topology.links_generation
            self._hops = self._search("")
        return self._hops

    def next_hop(self, destination: PeerName) -> PeerName | None:
        """The neighbour to which a unicast goes; None if the destination is out of reach."""
        return self.hops.get(destination)

    def broadcast_next_hops(self, source: PeerName) -> tuple[PeerName, ...]:
        """The neighbours to which this peer passes on a broadcast of `source`, sorted.

        They are the neighbours that the search from `source` has not reached when it comes to this peer: followed
        by every peer, each gets the broadcast exactly once. Empty if `source` does not reach this peer.
        """
        if self._broadcast_generation != self._topology.links_generation:
            self._broadcast_generation = self._topology.links_generation
            self._broadcast.clear()
        hops = self._broadcast.get(source)
        if hops is None:
            hops = self._broadcast[source] = self._search_broadcast(source)
        return hops

    def reaches_without_link(self, neighbour: PeerName) -> bool:
        """Whether `neighbour` would stay reachable if the link to it went."""
        return neighbour in self._search(neighbour)

    def check_invariants(self) -> None:
        """Assert that the tree is one, along declared links, and reaches whom a search from nothing reaches."""
        for peer, before in self.tree.items():
            assert peer in self._children.get(before, {}) or peer == self._own, (peer, before)
        assert sum(map(len, self._children.values())) == len(self.tree) - 1
        assert self.reachable == tuple(sorted(self.tree))
        if not self.stale:
            assert self.tree.keys() == self._search("").keys()

    # --- the tree ---------------------------------------------------------------------------------------------------

    def _linked(self, one: PeerName, other: PeerName) -> bool:
        records = self._topology.records
        if one not in records or other not in records:
            return False
        return other in records[one].linked and one in records[other].linked

    def _cut_off(self, touched: list[PeerName]) -> list[PeerName]:
        """Take out of the tree what hung on links that are gone; returns it, in order."""
        roots: dict[PeerName, None] = {}
        for peer in touched:
            before = self.tree[peer]
            if before != peer and not self._linked(before, peer):
                roots[peer] = None
            for child in self._children.get(peer, ()):
                if not self._linked(peer, child):
                    roots[child] = None
        orphans: dict[PeerName, None] = {}
        for root in roots:
            if root in orphans:
                continue
            todo = [root]
            while todo:
                peer = todo.pop()
                if peer not in orphans:
                    orphans[peer] = None
                    todo.extend(self._children.get(peer, ()))
        for peer in orphans:
            before = self.tree.pop(peer)
            siblings = self._children.get(before)
            if siblings is not None:
                siblings.pop(peer, None)
            self._children.pop(peer, None)
        return list(orphans)

    def _grow(self, start: PeerName) -> None:
        """Take in all that `start`, which is in the tree, leads to."""
        records, tree = self._topology.records, self.tree
        todo = [start] if start in records else []
        while todo:
            peer = todo.pop()
            for other in records[peer].linked:
                if other not in tree and other in records and peer in records[other].linked:
                    tree[other] = peer
                    self._children.setdefault(peer, {})[other] = None
                    todo.append(other)

    def _attach(self, peer: PeerName) -> None:
        """Hang a peer, and all it leads to, on a neighbour that is in the tree, if there is one."""
        records, tree = self._topology.records, self.tree
        if peer in tree or peer not in records:
            return
        for other in records[peer].linked:
            if other in tree and other in records and peer in records[other].linked:
                tree[peer] = other
                self._children.setdefault(other, {})[peer] = None
                self._grow(peer)
                return

    # --- searches ---------------------------------------------------------------------------------------------------

    def _search(self, shunned: PeerName) -> dict[PeerName, PeerName]:
        records = self._topology.records
        own = self._own
        hops = {own: own}
        level = [own]
        while level:
            found = []
            for peer in level:
                for other in records[peer].linked:
                    if other not in hops and other in records and peer in records[other].linked:
                        if peer == own:
                            if other == shunned:
                                continue
                            hops[other] = other
                        else:
                            hops[other] = hops[peer]
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
