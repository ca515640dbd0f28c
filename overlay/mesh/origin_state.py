"""What one peer holds of one origin's entries, and how states of it are checked, merged and joined. Pure data work.

Owns the rules of `OriginState` (`docs/wire.md`, "Origin maps"). Must not know other origins, gossip or the index.
"""

from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from overlay.errors import RemoteError
from overlay.mesh.origin_messages import Entry, OriginDelta, OriginState, Value

MAX_TOMBSTONES = 512
"""Tombstones kept of one origin; beyond, the older half is dropped and the floor raised."""
MAX_AHEAD = 32
"""Pieces of one origin kept beyond a gap; a further piece is left to anti-entropy."""
MAX_COUNTER = 1 << 62
"""Bound of uid and version on the wire: it leaves room to out-version whatever comes, within 64 bits."""


class Held:
    """What is held of one origin: all of its history up to `version`, and pieces `ahead` of a gap.

    `entries` ascend by version, tombstones included; `ahead` are disjoint, ascending (since, version) pairs; `term` is
    what the origin adds to the digest, kept up by the map.
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

    # --- the origin's own changes -----------------------------------------------------------------------------------

    def advance(self, key: str, value: Value | None) -> Entry:
        """The next version: `key` is `value` now."""
        self.version += 1
        entry = Entry(key, self.version, value)
        self._set(entry)
        self._collect()
        return entry

    # --- others' ----------------------------------------------------------------------------------------------------

    def knows(self, state: OriginState) -> bool:
        """Whether nothing in a state of this incarnation can be news, or there is no room for it."""
        if state.version <= self.version:
            return True
        if state.since <= self.version:
            return False
        covered = any(since <= state.since and state.version <= end for since, end in self.ahead)
        return covered or len(self.ahead) >= MAX_AHEAD

    def news(self, state: OriginState) -> OriginState:
        """What of a state that is not known is news: for others that know what is held here."""
        if state.since > self.version or self.version == 0 or self.version < state.floor:
            return state
        entries = tuple(entry for entry in state.entries if entry.version > self.version)
        return OriginState(state.origin, state.uid, state.version, self.version, 0, entries)

    def begin(self, state: OriginState) -> None:
        """`take` for the first state of all, a whole one (`since` 0)."""
        self.entries = {entry.key: entry for entry in state.entries}
        self.tombstones = sum(entry.value is None for entry in state.entries)
        self.version, self.floor = state.version, state.floor
        self._collect()

    def take(self, state: OriginState) -> dict[str, Value | None]:
        """Merge a state of this incarnation. Returns the keys it touched, with their values before."""
        before: dict[str, Value | None] = {}
        newest = next(reversed(self.entries.values())).version if self.entries else 0
        in_order = True
        for entry in state.entries:
            there = self.entries.get(entry.key)
            if entry.version > (there.version if there else self.version):
                before[entry.key] = there.value if there else None
                self._set(entry)
                in_order = in_order and entry.version > newest
        if state.since == 0:
            kept = {entry.key for entry in state.entries}
            for key, entry in list(self.entries.items()):
                if entry.version <= state.version and key not in kept:
                    before[key] = entry.value
                    self._drop(key)
            self.floor = max(self.floor, state.floor)
        if not in_order:
            self.entries = dict(sorted(self.entries.items(), key=lambda item: item[1].version))
        self._extend(state.since, state.version)
        self._collect()
        return before

    def missing(self, origin: str, uid: int, version: int) -> list[OriginState]:
        """All that somebody lacks who holds this `version` (without a gap) of this incarnation `uid`."""
        if uid > self.uid:
            return []
        if uid < self.uid:
            version = -1  # below every floor: all of it
        states = []
        if version < self.version:
            since = version if version >= self.floor else 0
            floor = self.floor if since == 0 else 0
            states.append(OriginState(origin, self.uid, self.version, since, floor, self._above(since, self.version)))
        for since, end in self.ahead:
            if version < end:
                states.append(OriginState(origin, self.uid, end, since, 0, self._above(since, end)))
        return states

    def said(self, origin: str) -> int:
        """64 bits over what is held, by its versions."""
        return _said(origin, self.uid, self.version, self.ahead)

    def check_invariants(self) -> None:
        """Assert the order of versions and the counts."""
        versions = [entry.version for entry in self.entries.values()]
        assert all(a < b for a, b in pairwise(versions)), versions
        assert self.tombstones == sum(entry.value is None for entry in self.entries.values())
        assert self.tombstones <= MAX_TOMBSTONES or self.ahead
        assert 0 <= self.floor <= self.version
        ends = [self.version, *(bound for piece in self.ahead for bound in piece)]
        assert all(a < b for a, b in pairwise(ends)), ends
        assert not versions or versions[-1] <= ends[-1], (versions[-1], ends)
        assert all(key == entry.key for key, entry in self.entries.items())

    # --- inside -----------------------------------------------------------------------------------------------------

    def _set(self, entry: Entry) -> None:
        before = self.entries.pop(entry.key, None)
        self.tombstones += (entry.value is None) - (before is not None and before.value is None)
        self.entries[entry.key] = entry

    def _drop(self, key: str) -> None:
        self.tombstones -= self.entries.pop(key).value is None

    def _above(self, since: int, up_to: int) -> tuple[Entry, ...]:
        """Entries with since < version <= up_to, ascending; costs what it returns (and what is beyond)."""
        found = []
        for entry in reversed(self.entries.values()):
            if entry.version <= since:
                break
            if entry.version <= up_to:
                found.append(entry)
        found.reverse()
        return tuple(found)

    def _extend(self, since: int, version: int) -> None:
        """Add (since, version] to what is known: to the history, or ahead of a gap in it."""
        pieces: list[tuple[int, int]] = []
        for start, end in sorted((*self.ahead, (since, version))):
            if start <= self.version:
                self.version = max(self.version, end)
            elif pieces and start <= pieces[-1][1]:
                pieces[-1] = (pieces[-1][0], max(pieces[-1][1], end))
            else:
                pieces.append((start, end))
        self.ahead = tuple(pieces)

    def _collect(self) -> None:
        """Drop the older half of too many tombstones; those ahead of a gap are still needed."""
        if self.tombstones <= MAX_TOMBSTONES:
            return
        dead = [entry for entry in self.entries.values() if entry.value is None and entry.version <= self.version]
        for entry in dead[: MAX_TOMBSTONES // 2]:
            self._drop(entry.key)
            self.floor = max(self.floor, entry.version)


@lru_cache(maxsize=1 << 13)
def _said(origin: str, uid: int, version: int, ahead: tuple[tuple[int, int], ...]) -> int:
    # Kept for the peers of a simulated world, which all come to hold the same.
    text = f"{origin} {uid} {version}"
    for since, end in ahead:
        text += f" {since}-{end}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def validate(channel: str, state: OriginState) -> None:
    """Raise `RemoteError` unless the numbers of `state` obey the format."""
    fault = ""
    if not (0 < state.uid < MAX_COUNTER and 0 <= state.since <= state.version < MAX_COUNTER):
        fault = f"uid {state.uid}, since {state.since}, version {state.version}"
    elif state.since == state.version > 0:
        fault = f"nothing between since and version {state.version}"
    elif not 0 <= state.floor <= (0 if state.since else state.version):
        fault = f"floor {state.floor} with since {state.since}"
    elif len(state.entries) > 1 and len({entry.key for entry in state.entries}) != len(state.entries):
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


def join_deltas(first: OriginDelta, second: OriginDelta) -> OriginDelta:
    """One delta that says what both say: of each origin the higher uid; states that overlap or touch become one."""
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
