"""A replicated state in which every peer owns its own entries: the DNS registry and the endpoints are two of these.

Reconciliation by version vectors after "Efficient reconciliation and flow control for anti-entropy protocols" (van
Renesse et al., LADIS 2008), with tombstones and without clocks. Owns versions, merging and the digest; must not know
what the values mean, who is reachable, or how deltas travel. `docs/wire.md`, "Origin maps", gives the rules.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise

from overlay.config import PeerName
from overlay.effects import Broadcast, Effect, Notify
from overlay.env import SECOND
from overlay.errors import RemoteError
from overlay.inputs import OriginChanged
from overlay.mesh.origin_messages import Change, Entry, OriginDelta, OriginState, OriginVector, Value
from overlay.wire import Delta, Vector

MAX_TOMBSTONES = 512
"""Tombstones kept of one origin; beyond, the older half is dropped and the floor raised."""
MAX_AHEAD = 32
"""Pieces of one origin kept beyond a gap; a further piece is left to anti-entropy."""
MAX_FORGOTTEN = 4096
"""Incarnations remembered as forgotten, so that slower peers do not bring them back."""
REISSUE_PAUSE = 1 * SECOND
REISSUE_PAUSE_MAX = 60 * SECOND
"""Our entries are published anew at once for the first time, then ever more slowly: a live namesake would answer."""
MAX_COUNTER = 1 << 62
"""Bound of uid and version on the wire: it leaves room to out-version whatever comes, within 64 bits."""


class _Origin:
    """What is held of one origin: all of its history up to `version`, and pieces `ahead` of a gap.

    `entries` ascend by version, tombstones included; `ahead` are disjoint, ascending (since, version) pairs.
    """

    __slots__ = ("ahead", "entries", "floor", "term", "tombstones", "uid", "version")

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.version = 0
        self.floor = 0
        self.entries: dict[str, Entry] = {}
        self.ahead: tuple[tuple[int, int], ...] = ()
        self.tombstones = 0
        self.term = 0

    def set(self, entry: Entry) -> None:
        """Replace what stands under the entry's key, keeping the order by version when `entry` is the newest."""
        before = self.entries.pop(entry.key, None)
        self.tombstones += (entry.value is None) - (before is not None and before.value is None)
        self.entries[entry.key] = entry

    def drop(self, key: str) -> None:
        self.tombstones -= self.entries.pop(key).value is None

    def above(self, since: int, up_to: int) -> tuple[Entry, ...]:
        """Entries with since < version <= up_to, ascending; costs what it returns (and what is beyond)."""
        found = []
        for entry in reversed(self.entries.values()):
            if entry.version <= since:
                break
            if entry.version <= up_to:
                found.append(entry)
        found.reverse()
        return tuple(found)


class OriginMap:
    """One replicated map, a `overlay.mesh.channel.Channel`. `owner` is the peer that holds this copy.

    Whoever keeps an index of the entries calls `put`, `remove`, `forget` itself and is told of all other changes by
    an `OriginChanged` among the effects of `merge`.
    """

    def __init__(self, name: str, owner: PeerName, uid: int) -> None:
        self.name = name
        self._owner = owner
        self._digest = 0
        self._reachable: dict[PeerName, None] = {owner: None}
        self._reachable_digest = 0
        self._origins: dict[PeerName, _Origin] = {}
        self._forgotten: dict[PeerName, int] = {}
        self._limbo: dict[PeerName, OriginDelta] = {}
        self._own = self._origins[owner] = _Origin(uid)
        self._reissue_from = 0
        self._reissue_pause = REISSUE_PAUSE
        self._seal(owner, self._own)

    # --- the owner's entries ------------------------------------------------------------------------------------

    def put(self, key: str, value: Value) -> OriginDelta:
        """Set an entry of the owner. Returns the news to broadcast."""
        return self._advance(key, value)

    def remove(self, key: str) -> OriginDelta | None:
        """Remove an entry of the owner, leaving a tombstone. Returns the news to broadcast; None: there was none."""
        entry = self._own.entries.get(key)
        if entry is None or entry.value is None:
            return None
        return self._advance(key, None)

    def _advance(self, key: str, value: Value | None) -> OriginDelta:
        own = self._own
        entry = Entry(key, own.version + 1, value)
        own.set(entry)
        own.version += 1
        self._collect(own)
        self._seal(self._owner, own)
        since = own.version - 1
        return OriginDelta((OriginState(self._owner, own.uid, own.version, since, 0, (entry,)),))

    # --- queries ------------------------------------------------------------------------------------------------

    def get(self, origin: PeerName, key: str) -> Value | None:
        """The live value under `key` of `origin`."""
        held = self._origins.get(origin)
        entry = held.entries.get(key) if held else None
        return entry.value if entry else None

    def entries_of(self, origin: PeerName) -> Iterator[tuple[str, Value]]:
        """(key, value) of every live entry of one origin, oldest change first."""
        held = self._origins.get(origin)
        for entry in held.entries.values() if held else ():
            if entry.value is not None:
                yield entry.key, entry.value

    def live_entries(self, reachable: Iterable[PeerName]) -> Iterator[tuple[PeerName, str, Value]]:
        """(origin, key, value) of every live entry of these origins, in their order."""
        for origin in reachable:
            for key, value in self.entries_of(origin):
                yield origin, key, value

    def term(self, origin: PeerName) -> int:
        """What `origin` adds (by exclusive or) to the digest; 0 when nothing is held of it."""
        held = self._origins.get(origin)
        return held.term if held else 0

    # --- forgetting ---------------------------------------------------------------------------------------------

    def forget(self, origin: PeerName) -> tuple[Change, ...]:
        """Drop all of `origin` and refuse this incarnation from now on, until `admit`. Returns what is no more."""
        held = self._origins.get(origin)
        if held is None or origin == self._owner:
            return ()
        del self._origins[origin]
        self._reseal(origin, held.term, 0)
        self._forgotten.pop(origin, None)
        self._forgotten[origin] = held.uid
        if len(self._forgotten) > MAX_FORGOTTEN:
            oldest = next(iter(self._forgotten))
            del self._forgotten[oldest]
            self._limbo.pop(oldest, None)
        return tuple(Change(origin, e.key, e.value, None) for e in held.entries.values() if e.value is not None)

    def admit(self, origin: PeerName) -> tuple[OriginDelta | None, tuple[Change, ...]]:
        """`origin` can be reached now: take its entries even if that incarnation was forgotten.

        What of it came in the meantime is merged: returns the news to broadcast, and what changed.
        """
        self._forgotten.pop(origin, None)
        waiting = self._limbo.pop(origin, None)
        changes: list[Change] = []
        states = [self._take(state, changes) for state in waiting.states] if waiting is not None else []
        if origin not in self._reachable:
            self._reachable[origin] = None
            self._reachable_digest ^= self.term(origin)
        news = tuple(state for state in states if state is not None)
        return (OriginDelta(news) if news else None), tuple(changes)

    def retire(self, origin: PeerName) -> None:
        """`origin` cannot be reached any more: it does not count in `reachable_digest`; its entries stay."""
        if origin != self._owner and origin in self._reachable:
            del self._reachable[origin]
            self._reachable_digest ^= self.term(origin)

    @property
    def reachable_digest(self) -> int:
        """The digest over the reachable origins alone: equal on peers that reach each other, once all is told."""
        return self._reachable_digest

    # --- the channel --------------------------------------------------------------------------------------------

    def digest(self) -> int:
        """64 bits over (origin, uid, version) of all origins, kept up incrementally."""
        return self._digest

    def vector(self) -> OriginVector:
        """What is held without a gap."""
        return OriginVector(tuple((name, held.uid, held.version) for name, held in sorted(self._origins.items())))

    def missing(self, vector: Vector) -> OriginDelta | None:
        """All that the sender of `vector` lacks of what is held here."""
        if not isinstance(vector, OriginVector):
            raise RemoteError(f"channel {self.name}: found a {type(vector).__name__}, expected an OriginVector")
        theirs = {origin: (uid, version) for origin, uid, version in vector.known}
        states: list[OriginState] = []
        for origin, held in sorted(self._origins.items()):
            uid, version = theirs.get(origin, (0, 0))
            if uid > held.uid or (uid == held.uid and version >= held.version and not held.ahead):
                continue
            if uid < held.uid or version < held.version:
                since = version if uid == held.uid and version >= held.floor else 0
                floor = held.floor if since == 0 else 0
                entries = held.above(since, held.version)
                states.append(OriginState(origin, held.uid, held.version, since, floor, entries))
            for start, end in held.ahead:
                if uid < held.uid or version < end:
                    states.append(OriginState(origin, held.uid, end, start, 0, held.above(start, end)))
        return OriginDelta(tuple(states)) if states else None

    def merge(self, delta: Delta, now: int) -> tuple[OriginDelta | None, list[Effect]]:
        """Take in a delta. Effects: `OriginChanged` for the index, `Broadcast` when our own entries had to be redone.

        Raises `RemoteError` (and takes in nothing) when the delta breaks the rules of the format.
        """
        if not isinstance(delta, OriginDelta):
            raise RemoteError(f"channel {self.name}: found a {type(delta).__name__}, expected an OriginDelta")
        for state in delta.states:
            _validate(self.name, state)
        news: list[OriginState] = []
        changes: list[Change] = []
        effects: list[Effect] = []
        for state in delta.states:
            if state.origin == self._owner:
                if now >= self._reissue_from and self._contradicted_by(state):
                    effects.append(Broadcast(self.name, self._reissue(state.uid + 1)))
                    self._reissue_from = now + self._reissue_pause
                    self._reissue_pause = min(2 * self._reissue_pause, REISSUE_PAUSE_MAX)
            elif self._forgotten.get(state.origin, 0) >= state.uid:
                # A slower peer still has it, or a cut that outlasted the hold has healed: `admit` will tell.
                one = OriginDelta((state,))
                waiting = self._limbo.get(state.origin)
                self._limbo[state.origin] = one if waiting is None else self.join(waiting, one)
            else:
                fresh = self._take(state, changes)
                if fresh is not None:
                    news.append(fresh)
        if changes:
            effects.insert(0, Notify(OriginChanged(self.name, tuple(changes))))
        return (OriginDelta(tuple(news)) if news else None), effects

    def join(self, first: Delta, second: Delta) -> OriginDelta:
        """One delta that says what both say: states that overlap or touch become one."""
        assert isinstance(first, OriginDelta) and isinstance(second, OriginDelta)
        joined: list[OriginState] = []
        for state in sorted((*first.states, *second.states), key=lambda s: (s.origin, s.uid, s.since, s.version)):
            last = joined[-1] if joined and joined[-1].origin == state.origin else None
            if last is not None and last.uid != state.uid:
                while joined and joined[-1].origin == state.origin:
                    joined.pop()
                last = None
            if last is not None and state.since <= last.version:
                joined[-1] = _join_states(last, state)
            else:
                joined.append(state)
        return OriginDelta(tuple(joined))

    # --- merging ------------------------------------------------------------------------------------------------

    def _take(self, state: OriginState, changes: list[Change]) -> OriginState | None:
        """Merge one state of another peer, appending what changed. Returns what of it was news; None: nothing."""
        held = self._origins.get(state.origin)
        before: dict[str, Value | None] = {}
        if held is None or held.uid < state.uid:
            if held is not None:
                before = {key: entry.value for key, entry in held.entries.items()}
                self._reseal(state.origin, held.term, 0)
            held = self._origins[state.origin] = _Origin(state.uid)
            news = state
        elif held.uid > state.uid or state.version <= held.version or _covered(held.ahead, state):
            return None
        elif state.since <= held.version and (state.since > 0 or held.version >= state.floor):
            entries = tuple(entry for entry in state.entries if entry.version > held.version)
            since = held.version
            news = OriginState(state.origin, state.uid, state.version, since, state.floor if since == 0 else 0, entries)
        else:
            news = state

        if state.since > held.version and len(held.ahead) >= MAX_AHEAD:
            return None
        newest = next(reversed(held.entries.values())).version if held.entries else 0
        in_order = True
        for entry in state.entries:
            there = held.entries.get(entry.key)
            if entry.version > (there.version if there else held.version):
                before.setdefault(entry.key, there.value if there else None)
                held.set(entry)
                in_order = in_order and entry.version > newest
        if state.since == 0:
            kept = {entry.key for entry in state.entries}
            for key, entry in list(held.entries.items()):
                if entry.version <= state.version and key not in kept:
                    before.setdefault(key, entry.value)
                    held.drop(key)
            held.floor = max(held.floor, state.floor)
        if not in_order:
            held.entries = dict(sorted(held.entries.items(), key=lambda item: item[1].version))
        _extend(held, state.since, state.version)
        self._collect(held)
        self._seal(state.origin, held)
        for key, old in before.items():
            current = held.entries.get(key)
            new = current.value if current else None
            if new != old:
                changes.append(Change(state.origin, key, old, new))
        return news

    def _contradicted_by(self, state: OriginState) -> bool:
        """Whether `state`, said to be ours, is of a life that we know nothing of (the disk was lost)."""
        own = self._own
        if state.uid != own.uid:
            return state.uid > own.uid
        if state.version > own.version:
            return True
        for entry in state.entries:
            there = own.entries.get(entry.key)
            if there is None:
                if entry.version > own.floor:
                    return True
            elif there.version < entry.version or (there.version == entry.version and there.value != entry.value):
                return True
        return False

    def _reissue(self, uid: int) -> OriginDelta:
        """Publish our live entries as a new incarnation that beats every earlier one."""
        fresh = _Origin(uid)
        for key, value in self.entries_of(self._owner):
            fresh.version += 1
            fresh.set(Entry(key, fresh.version, value))
        self._reseal(self._owner, self._own.term, 0)
        self._own = self._origins[self._owner] = fresh
        self._seal(self._owner, fresh)
        return OriginDelta((OriginState(self._owner, uid, fresh.version, 0, 0, tuple(fresh.entries.values())),))

    def _collect(self, held: _Origin) -> None:
        """Drop the older half of too many tombstones."""
        if held.tombstones <= MAX_TOMBSTONES:
            return
        dead = [e for e in held.entries.values() if e.value is None and e.version <= held.version]
        for entry in dead[: MAX_TOMBSTONES // 2]:
            held.drop(entry.key)
            held.floor = max(held.floor, entry.version)

    def _seal(self, origin: PeerName, held: _Origin) -> None:
        """Bring the digest up to what is held of `origin` now."""
        said = f"{origin} {held.uid} {held.version} {held.ahead or ''}"
        term = int.from_bytes(blake2b(said.encode(), digest_size=8).digest(), "big")
        self._reseal(origin, held.term, term)
        held.term = term

    def _reseal(self, origin: PeerName, old: int, new: int) -> None:
        self._digest ^= old ^ new
        if origin in self._reachable:
            self._reachable_digest ^= old ^ new

    def check_invariants(self) -> None:
        """Assert the order of versions, the counts and the digest."""
        digest = reachable_digest = 0
        for origin, held in self._origins.items():
            digest ^= held.term
            reachable_digest ^= held.term if origin in self._reachable else 0
            versions = [entry.version for entry in held.entries.values()]
            assert all(a < b for a, b in pairwise(versions)), (origin, versions)
            assert held.tombstones == sum(entry.value is None for entry in held.entries.values()), origin
            assert held.tombstones <= MAX_TOMBSTONES or held.ahead, origin
            assert 0 <= held.floor <= held.version, origin
            ends = [held.version, *(bound for piece in held.ahead for bound in piece)]
            assert all(a < b for a, b in pairwise(ends)), (origin, ends)
            assert not versions or versions[-1] <= ends[-1], (origin, versions[-1], ends)
            assert all(key == entry.key for key, entry in held.entries.items()), origin
        assert (digest, reachable_digest) == (self._digest, self._reachable_digest), self.name
        assert self._origins[self._owner] is self._own and not self._own.ahead, self.name


def _validate(channel: str, state: OriginState) -> None:
    """Raise `RemoteError` unless the numbers of `state` obey the format."""
    fault = ""
    if not (0 < state.uid < MAX_COUNTER and 0 <= state.since <= state.version < MAX_COUNTER):
        fault = f"uid {state.uid}, since {state.since}, version {state.version}"
    elif state.since == state.version > 0:
        fault = f"nothing between since and version {state.version}"
    elif not 0 <= state.floor <= (0 if state.since else state.version):
        fault = f"floor {state.floor} with since {state.since}"
    elif len({entry.key for entry in state.entries}) != len(state.entries):
        fault = "one key twice"
    else:
        last = state.since
        for entry in state.entries:
            if not last < entry.version <= state.version:
                fault = f"entry {entry.key!r} of version {entry.version} after {last}, up to {state.version}"
                break
            last = entry.version
    if fault:
        raise RemoteError(f"channel {channel}: the state of {state.origin} is malformed: {fault}")


def _covered(ahead: tuple[tuple[int, int], ...], state: OriginState) -> bool:
    return state.since > 0 and any(since <= state.since and state.version <= end for since, end in ahead)


def _extend(held: _Origin, since: int, version: int) -> None:
    """Add (since, version] to what is known: to the history, or ahead of a gap in it."""
    pieces: list[tuple[int, int]] = []
    for start, end in sorted((*held.ahead, (since, version))):
        if start <= held.version:
            held.version = max(held.version, end)
        elif pieces and start <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], max(pieces[-1][1], end))
        else:
            pieces.append((start, end))
    held.ahead = tuple(pieces)


def _join_states(first: OriginState, second: OriginState) -> OriginState:
    """Both of one incarnation, first.since <= second.since <= first.version."""
    if second.version <= first.version:
        return first
    if second.since == first.since:
        return second
    entries = {entry.key: entry for entry in first.entries}
    for entry in second.entries:
        if entry.version > first.version:
            entries.pop(entry.key, None)
            entries[entry.key] = entry
    return OriginState(first.origin, first.uid, second.version, first.since, first.floor, tuple(entries.values()))
