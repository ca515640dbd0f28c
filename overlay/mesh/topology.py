"""The replicated topology: one record for each peer, written by that peer alone. Knows no connections and no time-outs.

Of two records of one peer the higher (uid, version) stands; a tie that should not be is settled by the records'
hashes, so that merging stays commutative, associative and idempotent. A record of this peer that outranks its own is
left over from an earlier incarnation (or comes from a second process of the same name): this peer jumps past it, at
once for the first time and ever more slowly after that, so that two live namesakes do not fight for ever.

Records of peers that have been out of reach for the hold are dropped. What comes back of a dropped record by gossip
waits in `limbo`, outside of the digest, until a link leads to it: otherwise peers that drop at different times would
go on infecting each other with it.
"""

from typing import Final

from overlay.config import Address, PeerName
from overlay.effects import Effect, Log
from overlay.errors import RemoteError
from overlay.mesh.topology_entry import Relinked, TopologyEntry, entries_of, entry_of
from overlay.replicated.vectors import Known, SortedKeys, by_key, lacking
from overlay.tuning import STANDARD, Tuning
from overlay.wire.codec import Delta, Vector
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink, TopologyVector

NAMESAKE_JUMPS: Final = 3
"""So many jumps are not explained by leftovers any more: another live peer bears our name."""

_MAX_COUNTER = 2**62
_MASK = 2**64 - 1


def rank(record: PeerRecord) -> tuple[int, int]:
    """What decides between two records of one peer."""
    return (record.uid, record.version)


class Topology:
    """Implements `channel.Channel`. `entries` holds one for each known peer, this one among them."""

    name = "topology"

    def __init__(self, own: PeerName, nickname: str, uid: int, key: bytes = b"", tuning: Tuning = STANDARD) -> None:
        self.own = own
        self._tuning = tuning
        self._key = key
        self.entries: dict[PeerName, TopologyEntry] = {}
        self._order = SortedKeys()
        self.limbo: dict[PeerName, PeerRecord] = {}
        self.links_generation = 0
        """Counts changes of which peers are linked; a reader that saw the same number needs no new routes."""
        self.names_generation = 0
        """Counts the names that were not known before."""
        self.namesake = ""
        """Not empty: another live peer bears our name; says how we know."""
        self._namesake_at = 0
        """When there was the last sign of it."""
        self._relinked: list[Relinked] = []
        self._digest = 0
        self._vector: TopologyVector | None = None
        self.left: list[PeerName] = []
        """Whose farewell was learned; to be taken by `take_left`."""
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
        """This peer's incarnation: as given at the start, or higher after a jump."""
        return self.entries[self.own].uid

    def set_links(self, links: tuple[TopologyLink, ...], now: int, urgent: bool = True) -> None:
        """This peer's established connections are now these (sorted by peer); takes effect with `publish`.

        `urgent`: some peer is reachable by this change, or is not any more.
        """
        due = now if urgent else now + self._tuning.publish_spare_pause
        self._due = min(self._due, due) if self._changed else due
        self._links = links
        self._changed = links != self.entries[self.own].record.links

    def publish(self, now: int) -> TopologyDelta | None:
        """The own record's new version, if it is to change and may by now; the caller spreads it."""
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
        """When `publish` has something to say."""
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
        """A neighbour has met a live namesake of ours (`who` in words) next to us."""
        known = self.name_conflict(now)
        self._namesake_at = now
        if known:
            return []
        self.namesake = f"another live peer bears the name {self.own} ({who})"
        return [Log("error", f"{self.namesake}: stop one of them, or give one another --name")]

    def name_conflict(self, now: int) -> str:
        """`namesake`, if there was a sign of it lately."""
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
        """The same over the records of these peers only, as far as known."""
        entries = self.entries
        return sum([entries[peer].fingerprint for peer in peers if peer in entries]) & _MASK

    def vector(self) -> TopologyVector:
        """(name, uid, version) of all records."""
        if self._vector is None:
            entries = self.entries
            self._vector = TopologyVector(tuple([entries[name].known for name in self._order.in_order()]))
        return self._vector

    def missing(self, vector: Vector, named: bool = False) -> TopologyDelta | None:
        """All records that are newer here than `vector` says; see `channel.Channel`."""
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
            # Asked about every peer of a large mesh; where values are shared most are the very same object.
            newer = [
                entry
                for name, entry in entries.items()
                if (known := theirs.get(name, _UNKNOWN)) is not entry.known and entry.known > known
            ]
        return TopologyDelta(tuple([entry.record for entry in sorted(newer, key=_name)])) if newer else None

    def lacking(self, vector: Vector) -> TopologyVector | None:
        """Of the peers of which `vector` names a newer record, what is known here."""
        assert isinstance(vector, TopologyVector)
        known = lacking(self.entries, vector.known)
        return TopologyVector(known) if known else None

    def merge(self, delta: Delta, now: int) -> tuple[TopologyDelta | None, list[Effect]]:
        """See `channel.Channel`. Records of this peer itself are never taken over: see `publish`."""
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
        """Of each peer the record that stands."""
        best: dict[PeerName, PeerRecord] = {}
        for delta in deltas:
            assert isinstance(delta, TopologyDelta)
            for record in delta.records:
                old = best.setdefault(record.name, record)
                if old is not record and entry_of(record).stands_against(entry_of(old)):
                    best[record.name] = record
        return TopologyDelta(tuple(best[name] for name in sorted(best)))

    def check_invariants(self) -> None:
        """Own record present; keys and digest fit the records; links sorted and without repetition."""
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
        assert not self.limbo.keys() & self.entries.keys()

    # --- what others ask ------------------------------------------------------------------------------------------

    @property
    def records(self) -> dict[PeerName, PeerRecord]:
        """One record for each known peer, this one among them. Made again each time."""
        return {name: entry.record for name, entry in self.entries.items()}

    def established(self, peer: PeerName) -> dict[PeerName, None]:
        """The peers to which `peer` says it has established links, in the order of names; empty for an unknown peer."""
        entry = self.entries.get(peer)
        return entry.linked if entry is not None else _NOBODY

    def key(self, peer: PeerName) -> bytes:
        """The public key in the record of `peer`; empty without one."""
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
        """Control addresses at which its neighbours say `peer` is found, in the neighbours' order."""
        entry = self.entries.get(peer)
        found: dict[str, None] = {}
        for link in entry.record.links if entry is not None else ():
            other = self.entries.get(link.peer)
            for back in other.record.links if other is not None else ():
                if back.peer == peer:
                    found[back.address] = None
        return Address.parse_all(found)

    def take_left(self) -> list[PeerName]:
        """The peers whose farewell was learned since the last call."""
        left, self.left = self.left, []
        return left

    # --- forgetting -----------------------------------------------------------------------------------------------

    def note_reachable(self, reachable: dict[PeerName, PeerName], now: int) -> None:
        """Start the hold of records that have come out of reach, and end it for those in reach."""
        since = self._unreachable_since
        if since:
            for name in [name for name in since if name in reachable]:
                del since[name]
        if len(reachable) + len(since) != len(self.entries):  # a reachable peer has a record
            for name in [name for name in self.entries if name not in reachable]:
                since.setdefault(name, now)

    def promote(self, reachable: dict[PeerName, PeerName]) -> TopologyDelta | None:
        """Take out of limbo what a reachable peer is linked with (both say so); the caller spreads it."""
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
        for since in self._unreachable_since.values():  # in the order of time: the first is the oldest
            return since + hold
        return None

    def forget(self, hold: int, now: int) -> list[PeerName]:
        """Drop the records that have been out of reach for `hold`; their names, sorted."""
        expired = sorted(name for name, since in self._unreachable_since.items() if since + hold <= now)
        for name in expired:
            entry = self.entries.pop(name)
            self._order.discard(name)
            self._digest = (self._digest - entry.fingerprint) & _MASK
            self._vector = None
            del self._unreachable_since[name]
            self._forgotten[name] = (entry.uid, entry.version)
            self._relink(entry.vanished())
        return expired

    def take_relinked(self) -> list[Relinked]:
        """All changes of links since the last call, one after another."""
        relinked, self._relinked = self._relinked, []
        return relinked

    # --- inside ---------------------------------------------------------------------------------------------------

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


def _name(entry: TopologyEntry) -> PeerName:
    return entry.name
