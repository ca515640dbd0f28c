"""Who is reachable over established links that both ends declare, and over which neighbour. Knows no connections.

Routes follow from the replicated topology alone, so that peers with equal topologies agree on them: breadth-first,
the names of each level in order. Who is reachable is asked after every change and so kept up by a spanning tree, of
which only what a change touches is looked at; the way to somebody is asked rarely and searched for then.
"""

from overlay.config import PeerName
from overlay.mesh.topology import Topology
from overlay.mesh.topology_entry import Relinked


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
        self._level: list[PeerName] = []
        """Those of `_hops` from which the search for the next ones goes on, once somebody asks for one further away."""
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
        tree = self.tree
        changes = self._topology.take_relinked()
        orphans = self._cut_off(changes)
        came: list[PeerName] = []
        for peer, _, gained in changes:
            if peer not in tree:
                self._attach(peer, came)
                continue
            for other in gained:  # most changes are links more between peers that are all reachable
                if other not in tree:
                    self._grow(peer, came)
                    break
        for orphan in orphans:
            self._attach(orphan, came)
        # Nobody leaves the tree but orphans, and nobody else comes who was not out of it.
        lost = {orphan for orphan in orphans if orphan not in tree}
        if orphans:
            apart = dict.fromkeys(orphans)
            came = [peer for peer in came if peer not in apart]
        if not came and not lost:
            return False
        kept = [peer for peer in self.reachable if peer not in lost] if lost else self.reachable
        self.reachable = tuple(sorted([*kept, *came]))
        return True

    @property
    def hops(self) -> dict[PeerName, PeerName]:
        """The next hop for each reachable peer, as of now; this peer's own is itself."""
        self._begin()
        while self._level:
            self._level = self._next_level(self._hops, self._level, "")
        return self._hops

    def next_hop(self, destination: PeerName) -> PeerName | None:
        """The neighbour to which a unicast goes; None if the destination is out of reach."""
        self._begin()
        while destination not in self._hops and self._level:
            self._level = self._next_level(self._hops, self._level, "")
        return self._hops.get(destination)

    def _begin(self) -> None:
        if self._hops_generation != self._topology.links_generation:
            self._hops_generation = self._topology.links_generation
            self._hops, self._level = {self._own: self._own}, [self._own]

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
        """Assert that the tree is one, along declared links, and reaches the peers that a search from nothing
        reaches."""
        for peer, before in self.tree.items():
            assert peer in self._children.get(before, {}) or peer == self._own, (peer, before)
        assert sum(map(len, self._children.values())) == len(self.tree) - 1
        assert self.reachable == tuple(sorted(self.tree))
        if not self.stale:
            assert self.tree.keys() == self._search("").keys()

    # --- the tree ---------------------------------------------------------------------------------------------------

    def _cut_off(self, changes: list[Relinked]) -> list[PeerName]:
        """Take out of the tree what hung on links that are gone; returns it, in order."""
        tree = self.tree
        roots: dict[PeerName, None] = {}
        for peer, lost, _ in changes:
            for other in lost:
                if other == peer or other in self._topology.established(peer):
                    continue
                if tree.get(peer) == other:
                    roots[peer] = None
                if tree.get(other) == peer:
                    roots[other] = None
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
            siblings = self._children.get(tree.pop(peer))
            if siblings is not None:
                siblings.pop(peer, None)
            self._children.pop(peer, None)
        return list(orphans)

    def _grow(self, start: PeerName, came: list[PeerName]) -> None:
        """Take in all that `start`, which is in the tree, leads to; append them to `came`."""
        entries, tree = self._topology.entries, self.tree
        todo = [start] if start in entries else []
        while todo:
            peer = todo.pop()
            for other in entries[peer].linked:
                if other not in tree and other in entries and peer in entries[other].linked:
                    tree[other] = peer
                    came.append(other)
                    self._children.setdefault(peer, {})[other] = None
                    todo.append(other)

    def _attach(self, peer: PeerName, came: list[PeerName]) -> None:
        """Hang a peer, and all it leads to, on a neighbour that is in the tree if there is one; append to `came`."""
        entries, tree = self._topology.entries, self.tree
        if peer in tree or peer not in entries:
            return
        for other in entries[peer].linked:
            if other in tree and other in entries and peer in entries[other].linked:
                tree[peer] = other
                came.append(peer)
                self._children.setdefault(other, {})[peer] = None
                self._grow(peer, came)
                return

    # --- searches ---------------------------------------------------------------------------------------------------

    def _search(self, shunned: PeerName) -> dict[PeerName, PeerName]:
        """The next hop for all that are reachable without the link to `shunned`."""
        hops, level = {self._own: self._own}, [self._own]
        while level:
            level = self._next_level(hops, level, shunned)
        return hops

    def _next_level(self, hops: dict[PeerName, PeerName], level: list[PeerName], shunned: PeerName) -> list[PeerName]:
        """Take in the peers that come after those of `level`; returns them, in order."""
        entries, own = self._topology.entries, self._own
        found = []
        for peer in level:
            for other in entries[peer].linked:
                if other not in hops and other in entries and peer in entries[other].linked:
                    if peer == own:
                        if other == shunned:
                            continue
                        hops[other] = other
                    else:
                        hops[other] = hops[peer]
                    found.append(other)
        found.sort()
        return found

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
