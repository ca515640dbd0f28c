"""The replicated topology: one record per peer, written by that peer alone. Knows no connections and no timeouts.

Of two records of one peer the higher (uid, version) wins. A tie, which should not happen, is decided by the records'
hashes, so that merging stays commutative, associative and idempotent. If a record of this peer outranks its own, it is
left over from an earlier incarnation or comes from a second process with the same name. This peer then jumps: it raises
its own uid above it, at once for the first time and ever more slowly after that, so that two live namesakes do not
compete for ever.

Records of peers that have been out of reach for the hold time are dropped. If gossip brings a dropped record back, it
waits in `limbo`, outside of the digest, until a link leads to it. Otherwise peers that drop it at different times would
pass it back to each other for ever.
"""

from collections.abc import Iterator
from typing import Final

from overlay.config import Address, PeerName
from overlay.effects import Effect, Log
from overlay.errors import RemoteError
from overlay.mesh.topology_entry import Relinked, TopologyEntry, entries_of, entry_of
from overlay.replicated.numbered import Table, table
from overlay.replicated.vectors import Known, SortedKeys, by_key, lacking
from overlay.tuning import STANDARD, Tuning
from overlay.wire.codec import Delta, Vector
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink, TopologyVector

NAMESAKE_JUMPS: Final = 3
"""More jumps than this are not explained by leftovers: another live peer has our name."""

_MAX_COUNTER = 2**62
_MASK = 2**64 - 1


def rank(record: PeerRecord) -> tuple[int, int]:
    """The order of two records of one peer: the higher rank wins."""
    return (record.uid, record.version)


class Topology:
    """Implements `channel.Channel`. `entries` holds one entry per known peer, including this one."""

    name = "topology"

    def __init__(self, own: PeerName, nickname: str, uid: int, key: bytes = b"", tuning: Tuning = STANDARD) -> None:
        self.own = own
        self._tuning = tuning
        self._key = key
        self.entries: Table[PeerName, TopologyEntry] = table("peer")
        self._order = SortedKeys(self.entries)
        self.limbo: dict[PeerName, PeerRecord] = {}
        self.links_generation = 0
        """Counts changes of links between peers; a reader that saw the same number needs no new routes."""
        self.names_generation = 0
        """Counts the names that were not known before."""
        self.namesake = ""
        """Not empty: another live peer has our name; the text says how we know."""
        self._namesake_at = 0
        """Time of the last sign of a namesake."""
        self._relinked: list[Relinked] = []
        self._digest = 0
        self._vector: TopologyVector | None = None
        self.left: list[PeerName] = []
        """Peers that have said farewell; taken by `take_left`."""
        self._unreachable_since: dict[PeerName, int] = {}
        self._forgotten: dict[PeerName, tuple[int, int]] = {}
        self._links: tuple[TopologyLink, ...] = ()
        self._changed = False
        self._publish_at = 0
        self._due = 0
        self._foreign_uid = -1
        self._jumps = 0
        self._jump_at = 0
        self._jumped_at = 0
        self._put(entry_of(PeerRecord(own, uid, 1, nickname, (), False, key)))

    # --- this peer's own record -----------------------------------------------------------------------------------

    @property
    def uid(self) -> int:
        """This peer's incarnation: the initial one, or a higher one after a jump."""
        return self.entries[self.own].uid

    def set_links(self, links: tuple[TopologyLink, ...], now: int, urgent: bool = True) -> None:
        """Set this peer's established connections (sorted by peer); takes effect with `publish`.

        `urgent`: the change makes some peer reachable or unreachable.
        """
        due = now if urgent else now + self._tuning.publish_spare_pause
        self._due = min(self._due, due) if self._changed else due
        self._links = links
        self._changed = links != self.entries[self.own].record.links

    def publish(self, now: int) -> TopologyDelta | None:
        """The new version of the own record, if it has changed and may be published by now; the caller spreads it."""
        if not self._changed and self._foreign_uid < 0:
            return None
        jump = self._foreign_uid >= 0 and now >= self._jump_at
        changed = self._changed and now >= self._publish_at and now >= self._due
        if self.entries[self.own].gone or not (jump or changed):
            return None
        return self._publish(now, jump, gone=False)

    def leave(self, now: int) -> TopologyDelta:
        """The farewell: the last record of this incarnation."""
        return self._publish(now, jump=self._foreign_uid >= 0, gone=True)

    def publish_due(self) -> int | None:
        """When `publish` has something to publish."""
        if not self._changed and self._foreign_uid < 0:
            return None
        dues = []
        if self._changed:
            dues.append(max(self._publish_at, self._due))
        if self._foreign_uid >= 0:
            dues.append(self._jump_at)
        return None if self.entries[self.own].gone else min(dues)

    def _publish(self, now: int, jump: bool, gone: bool) -> TopologyDelta:
        old = self.entries[self.own].record
        uid, version = old.uid, old.version + 1
        if jump:
            uid, version = max(old.uid, self._foreign_uid) + 1, 1
            self._foreign_uid = -1
            self._jumps += 1
            self._jumped_at = now
            self._jump_at = now + min(self._tuning.jump_pause << min(self._jumps - 1, 16), self._tuning.jump_pause_max)
        self._changed = False
        self._publish_at = now + self._tuning.publish_pause
        record = PeerRecord(self.own, uid, version, old.nickname, () if gone else self._links, gone, self._key)
        self._put(entry_of(record))
        return TopologyDelta((record,))

    def meet_namesake(self, who: str, now: int) -> list[Effect]:
        """A neighbour has met a live namesake of ours; `who` describes it."""
        known = self.name_conflict(now)
        self._namesake_at = now
        if known:
            return []
        self.namesake = f"another live peer bears the name {self.own} ({who})"
        return [Log("error", f"{self.namesake}: stop one of them, or give one another --name")]

    def name_conflict(self, now: int) -> str:
        """`namesake`, if there was a recent sign of it."""
        return self.namesake if now - self._namesake_at <= self._tuning.jump_quiet else ""

    def _see_foreign(self, record: PeerRecord, now: int) -> list[Effect]:
        own = self.entries[self.own].record
        if record == own or rank(record) < rank(own) or own.gone:
            return []
        if record.uid >= _MAX_COUNTER:
            raise RemoteError(f"record of this peer with uid {record.uid}: there is none higher")
        if now - self._jumped_at > self._tuning.jump_quiet:
            self._jumps, self._jump_at, self.namesake = 0, now, ""
        self._foreign_uid = max(self._foreign_uid, record.uid)
        self._namesake_at = now
        if self._jumps < NAMESAKE_JUMPS or self.namesake:
            return []
        self.namesake = f"another live peer bears the name {self.own} (nickname {record.nickname!r})"
        return [Log("error", f"{self.namesake}: stop one of them, or give one another --name")]

    # --- channel --------------------------------------------------------------------------------------------------

    def digest(self) -> int:
        """Sum modulo 2^64 of the hashes of all records."""
        return self._digest

    def digest_of(self, peers: tuple[PeerName, ...]) -> int:
        """The same digest over the records of these peers only, as far as they are known."""
        entries = self.entries
        return sum([entries[peer].fingerprint for peer in peers if peer in entries]) & _MASK

    def vector(self) -> TopologyVector:
        """(name, uid, version) of all records."""
        if self._vector is None:
            entries = self.entries
            self._vector = TopologyVector(tuple([entries[name].known for name in self._order.in_order()]))
        return self._vector

    def missing(self, vector: Vector, named: bool = False) -> TopologyDelta | None:
        """All records that are newer here than in `vector`; see `channel.Channel`."""
        if not isinstance(vector, TopologyVector):
            raise RemoteError(f"vector of the topology expected, {type(vector).__name__} found")
        entries = self.entries
        theirs = by_key(vector.known)
        if named:
            newer = [
                entry
                for name, known in theirs.items()
                if (entry := entries.get(name)) is not None and entry.known >= known
            ]
        else:
            # Runs over every peer of a large mesh; shared values are mostly the very same object.
            newer = [
                entry
                for name, entry in entries.items()
                if (known := theirs.get(name, _UNKNOWN)) is not entry.known and entry.known > known
            ]
        return TopologyDelta(tuple([entry.record for entry in sorted(newer, key=_name)])) if newer else None

    def lacking(self, vector: Vector) -> TopologyVector | None:
        """The known versions of the peers for which `vector` names a newer record."""
        assert isinstance(vector, TopologyVector)
        known = lacking(self.entries, vector.known)
        return TopologyVector(known) if known else None

    def merge(self, delta: Delta, now: int) -> tuple[TopologyDelta | None, list[Effect]]:
        """See `channel.Channel`. Records of this peer itself are never adopted: see `publish`."""
        if not isinstance(delta, TopologyDelta):
            raise RemoteError(f"news of the topology expected, {type(delta).__name__} found")
        held = self.entries.get
        candidates: list[TopologyEntry] = []
        for entry in entries_of(delta.records):
            old = held(entry.name)
            if old is None or (old is not entry and entry.stands_against(old)):
                candidates.append(entry)
        for entry in candidates:
            if not entry.sound:
                raise RemoteError(
                    f"record of {entry.name[:64]!r}: a name of 1 to 64 characters and sorted links expected"
                )
        news: list[PeerRecord] = []
        effects: list[Effect] = []
        for entry in candidates:
            name = entry.name
            forgotten = self._forgotten.get(name) if self._forgotten else None
            if name == self.own:
                effects += self._see_foreign(entry.record, now)
            elif forgotten is not None and name not in self.entries and rank(entry.record) <= forgotten:
                self.limbo[name] = entry.record
            else:
                self._put(entry)
                news.append(entry.record)
        if not news:
            return None, effects
        return (delta if len(news) == len(delta.records) else TopologyDelta(tuple(news))), effects

    def join(self, *deltas: Delta) -> TopologyDelta:
        """The winning record of each peer."""
        best: dict[PeerName, PeerRecord] = {}
        for delta in deltas:
            assert isinstance(delta, TopologyDelta)
            for record in delta.records:
                old = best.setdefault(record.name, record)
                if old is not record and entry_of(record).stands_against(entry_of(old)):
                    best[record.name] = record
        return TopologyDelta(tuple(best[name] for name in sorted(best)))

    def check_invariants(self) -> None:
        """Assert: own record present; keys and digest match the records; links sorted and unique."""
        assert self.own in self.entries
        total = 0
        for name, entry in self.entries.items():
            assert entry.name == name, (entry.name, name)
            fresh = TopologyEntry(entry.record)
            assert (entry.fingerprint, entry.linked, entry.known) == (fresh.fingerprint, fresh.linked, fresh.known)
            assert fresh.sound, f"the links of {name} are not sorted: {list(entry.linked)}"
            total += entry.fingerprint
        assert self._digest == total & _MASK
        assert self._order.in_order() == sorted(self.entries)
        assert not any(name in self.entries for name in self.limbo)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def records(self) -> dict[PeerName, PeerRecord]:
        """One record per known peer, including this one. Built on each call."""
        return {name: entry.record for name, entry in self.entries.items()}

    def established(self, peer: PeerName) -> dict[PeerName, None]:
        """The peers to which `peer` declares established links, in the order of names; empty for an unknown peer."""
        entry = self.entries.get(peer)
        return entry.linked if entry is not None else _NOBODY

    def key(self, peer: PeerName) -> bytes:
        """The public key in the record of `peer`; empty if there is none."""
        entry = self.entries.get(peer)
        return entry.record.key if entry is not None else b""

    def nickname(self, peer: PeerName) -> str:
        """The nickname of a peer; its name if unknown."""
        entry = self.entries.get(peer)
        return entry.record.nickname if entry is not None else peer

    def uid_of(self, peer: PeerName) -> int:
        """The incarnation of `peer`, 0 if it is unknown."""
        entry = self.entries.get(peer)
        return entry.uid if entry is not None else 0

    def addresses(self, peer: PeerName) -> list[Address]:
        """Control addresses of `peer` as its neighbours report them, in the neighbours' order."""
        return Address.parse_all(dict.fromkeys(self.reported(peer)))

    def reported(self, peer: PeerName) -> Iterator[str]:
        """The same addresses one by one, as the neighbours wrote them; an address may come more than once."""
        entry = self.entries.get(peer)
        for link in entry.record.links if entry is not None else ():
            other = self.entries.get(link.peer)
            back = _link_to(peer, other.record.links) if other is not None else None
            if back is not None:
                yield back.address

    def take_left(self) -> list[PeerName]:
        """The peers whose farewell has arrived since the last call."""
        left, self.left = self.left, []
        return left

    # --- forgetting -----------------------------------------------------------------------------------------------

    def note_reachable(self, reachable: Table[PeerName, PeerName], now: int) -> None:
        """Start the hold of records that are now out of reach, and end it for reachable ones."""
        since = self._unreachable_since
        if since:
            for name in [name for name in since if name in reachable]:
                del since[name]
        if len(reachable) + len(since) != len(self.entries):  # every reachable peer has a record
            for name in [name for name in self.entries if name not in reachable]:
                since.setdefault(name, now)

    def promote(self, reachable: Table[PeerName, PeerName]) -> TopologyDelta | None:
        """Take records out of limbo if they and a reachable peer declare a mutual link; the caller spreads them."""
        if not self.limbo:
            return None
        promoted = [
            record
            for _, record in sorted(self.limbo.items())
            if any(link.peer in reachable and record.name in self.established(link.peer) for link in record.links)
        ]
        for record in promoted:
            self._put(entry_of(record))
        return TopologyDelta(tuple(promoted)) if promoted else None

    def forget_due(self, hold: int) -> int | None:
        """When `forget` has something to drop."""
        if not self._unreachable_since:
            return None
        for since in self._unreachable_since.values():  # in order of time: the first is the oldest
            return since + hold
        return None

    def forget(self, hold: int, now: int) -> list[PeerName]:
        """Drop the records that have been out of reach for `hold`; returns their names, sorted."""
        expired = sorted(name for name, since in self._unreachable_since.items() if since + hold <= now)
        for name in expired:
            entry = self.entries[name]
            del self.entries[name]
            self._order.discard(name)
            self._digest = (self._digest - entry.fingerprint) & _MASK
            self._vector = None
            del self._unreachable_since[name]
            self._forgotten[name] = (entry.uid, entry.version)
            self._relink(entry.vanished())
        return expired

    def take_relinked(self) -> list[Relinked]:
        """All link changes since the last call, in order."""
        relinked, self._relinked = self._relinked, []
        return relinked

    # --- internals ------------------------------------------------------------------------------------------------

    def _put(self, entry: TopologyEntry) -> None:
        name = entry.name
        old = self.entries.get(name)
        digest = self._digest + entry.fingerprint
        if old is None:
            self.names_generation += 1
            self._order.add(name)
        else:
            digest -= old.fingerprint
        change = entry.relinked(old)
        if change is not None:
            self._relink(change)
        if entry.gone and (old is None or not old.gone) and name != self.own:
            self.left.append(name)
        self.entries[name] = entry
        if self.limbo:
            self.limbo.pop(name, None)
        if self._forgotten:
            self._forgotten.pop(name, None)
        self._digest = digest & _MASK
        self._vector = None

    def _relink(self, change: Relinked) -> None:
        self._relinked.append(change)
        self.links_generation += 1


_NOBODY: dict[PeerName, None] = {}
_UNKNOWN: Final[Known] = ("", -1, -1)


def _link_to(peer: PeerName, links: tuple[TopologyLink, ...]) -> TopologyLink | None:
    """The link to `peer` among links that are sorted by peer."""
    low, high = 0, len(links)
    while low < high:
        middle = (low + high) // 2
        if links[middle].peer < peer:
            low = middle + 1
        else:
            high = middle
    return links[low] if low < len(links) and links[low].peer == peer else None


def _name(entry: TopologyEntry) -> PeerName:
    return entry.name
