"""Which peers are reachable over established links that both ends declare, and the next hop. Knows no connections.

Routes depend on the replicated topology alone, so peers with equal topologies agree on them: a breadth-first search
that visits the names of each level in order. Reachability is needed after every change, so a spanning tree is
maintained incrementally. The next hop to a peer is needed rarely, so it is searched for on demand.
"""

from overlay.config import PeerName
from overlay.mesh.topology import Topology
from overlay.mesh.topology_entry import Relinked
from overlay.replicated.interned import shared
from overlay.replicated.numbered import Table, table


class Routes:
    """Derived from `topology`; `refresh` updates it at a cost proportional to the change."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._own = topology.own
        self._generation = -1
        self._hops_generation = -1
        self._broadcast_generation = -1
        self._broadcast: dict[PeerName, tuple[PeerName, ...]] = {}
        self._hops: dict[PeerName, PeerName] = {}
        self._level: list[PeerName] = []
        """The last level of `_hops`, from which the search continues when a more distant peer is asked for."""
        self._children: Table[PeerName, tuple[PeerName, ...]] = table("peer")
        """The peers of which each is the parent, in the order in which they came; no entry without any."""
        self.tree: Table[PeerName, PeerName] = table("peer")
        """All reachable peers, each with its parent in the spanning tree; this peer is its own parent."""
        self.tree[self._own] = self._own
        self.reachable: tuple[PeerName, ...] = (self._own,)

    @property
    def stale(self) -> bool:
        """Whether links have changed since the last `refresh`."""
        return self._generation != self._topology.links_generation

    def refresh(self) -> bool:
        """Update the tree if it is stale. Returns whether the set of reachable peers has changed."""
        if not self.stale:
            return False
        self._generation = self._topology.links_generation
        if self._hops_generation != self._generation:
            self._hops, self._level = {}, []  # the next question begins again anyway
        tree = self.tree
        changes = self._topology.take_relinked()
        orphans = self._cut_off(changes)
        came: list[PeerName] = []
        for peer, _, gained in changes:
            if peer not in tree:
                self._attach(peer, came)
                continue
            for other in gained:  # most changes add links between peers that are all reachable already
                if other not in tree:
                    self._grow(peer, came)
                    break
        for orphan in orphans:
            self._attach(orphan, came)
        # Only orphans leave the tree, and only peers that were outside of it join.
        lost = {orphan for orphan in orphans if orphan not in tree}
        if orphans:
            apart = dict.fromkeys(orphans)
            came = [peer for peer in came if peer not in apart]
        if not came and not lost:
            return False
        kept = [peer for peer in self.reachable if peer not in lost] if lost else self.reachable
        self.reachable = _one.of(tuple(sorted([*kept, *came])))
        return True

    @property
    def hops(self) -> dict[PeerName, PeerName]:
        """The current next hop for each reachable peer; this peer's own is itself."""
        self._begin()
        while self._level:
            self._level = self._next_level(self._hops, self._level, "")
        return self._hops

    def next_hop(self, destination: PeerName) -> PeerName | None:
        """The neighbour to which a unicast goes; None if the destination is unreachable."""
        self._begin()
        while destination not in self._hops and self._level:
            self._level = self._next_level(self._hops, self._level, "")
        return self._hops.get(destination)

    def _begin(self) -> None:
        if self._hops_generation != self._topology.links_generation:
            self._hops_generation = self._topology.links_generation
            self._hops, self._level = {self._own: self._own}, [self._own]

    def broadcast_next_hops(self, source: PeerName) -> tuple[PeerName, ...]:
        """The neighbours to which this peer forwards a broadcast of `source`, sorted.

        They are the neighbours that the search from `source` has not visited before it comes to this peer. When every
        peer follows this rule, each gets the broadcast exactly once. Empty if `source` does not reach this peer.
        """
        if self._broadcast_generation != self._topology.links_generation:
            self._broadcast_generation = self._topology.links_generation
            self._broadcast.clear()
        hops = self._broadcast.get(source)
        if hops is None:
            hops = self._broadcast[source] = self._search_broadcast(source)
        return hops

    def reaches_without_link(self, neighbour: PeerName) -> bool:
        """Whether `neighbour` would stay reachable without its direct link."""
        return neighbour in self._search(neighbour)

    def check_invariants(self) -> None:
        """Assert that the tree is a tree, uses declared links, and reaches the same peers as a full search."""
        for peer, before in self.tree.items():
            assert peer in self._children.get(before, ()) or peer == self._own, (peer, before)
        assert sum(map(len, self._children.values())) == len(self.tree) - 1
        assert all(self._children.values())
        assert self.reachable == tuple(sorted(self.tree))
        if not self.stale:
            assert sorted(self.tree) == sorted(self._search(""))

    # --- the tree ---------------------------------------------------------------------------------------------------

    def _cut_off(self, changes: list[Relinked]) -> list[PeerName]:
        """Remove from the tree the peers that depended on removed links; returns them, in order."""
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
            parent = tree[peer]
            del tree[peer]
            self._children.pop(peer, None)
            siblings = self._children.get(parent)
            if siblings is None:
                continue
            if len(siblings) == 1:
                self._children.pop(parent, None)
            else:
                self._children[parent] = tuple([other for other in siblings if other != peer])
        return list(orphans)

    def _grow(self, start: PeerName, came: list[PeerName]) -> None:
        """Add all peers that `start` (which is in the tree) leads to; append them to `came`."""
        entries, tree = self._topology.entries, self.tree
        todo = [start] if start in entries else []
        while todo:
            peer = todo.pop()
            found = []
            for other in entries[peer].linked:
                if other not in tree and (entry := entries.get(other)) is not None and peer in entry.linked:
                    tree[other] = peer
                    found.append(other)
            if found:
                came.extend(found)
                todo.extend(found)
                self._add_children(peer, found)

    def _attach(self, peer: PeerName, came: list[PeerName]) -> None:
        """Attach a peer, and all it leads to, to a neighbour in the tree, if there is one; append them to `came`."""
        entries, tree = self._topology.entries, self.tree
        mine = entries.get(peer)
        if peer in tree or mine is None:
            return
        for other in mine.linked:
            if other in tree and (entry := entries.get(other)) is not None and peer in entry.linked:
                tree[peer] = other
                came.append(peer)
                self._add_children(other, [peer])
                self._grow(peer, came)
                return

    def _add_children(self, parent: PeerName, peers: list[PeerName]) -> None:
        before = self._children.get(parent)
        if before is not None:
            self._children[parent] = (*before, *peers)
        elif len(peers) == 1:
            self._children[parent] = self._topology.entries[peers[0]].alone
        else:
            self._children[parent] = tuple(peers)

    # --- searches ---------------------------------------------------------------------------------------------------

    def _search(self, shunned: PeerName) -> dict[PeerName, PeerName]:
        """The next hop for all peers that are reachable without the link to `shunned`."""
        hops, level = {self._own: self._own}, [self._own]
        while level:
            level = self._next_level(hops, level, shunned)
        return hops

    def _next_level(self, hops: dict[PeerName, PeerName], level: list[PeerName], shunned: PeerName) -> list[PeerName]:
        """Add the peers that come after those of `level`; returns them, in order."""
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


@shared(1 << 6)
def _one(reachable: tuple[PeerName, ...]) -> tuple[PeerName, ...]:
    """The same tuple for all peers that reach the same."""
    return reachable
