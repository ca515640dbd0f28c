"""The state of one origin's entries, and how its states are checked, merged and joined. Pure data work.

Owns the rules of `OriginState` (`docs/wire.md`, "Origin maps"). Must not know other origins, gossip or the index.
"""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

from overlay.config import PeerName
from overlay.errors import RemoteError
from overlay.replicated.interned import Memo, derived, derived_each, shared
from overlay.replicated.vectors import Known
from overlay.wire.origins import Change, OriginDelta, OriginEntry, OriginState, Value

MAX_TOMBSTONES = 512
"""Limit of tombstones per origin; above it the older half is dropped and the floor raised."""
MAX_AHEAD = 32
"""Limit of pieces per origin beyond a gap; further pieces are left to anti-entropy."""


origin_states = shared(1 << 17)(OriginState)
"""Creates states from their fields."""


class MergeResult(NamedTuple):
    """The result of merging one state."""

    held: "HeldOrigin"
    news: OriginState
    """The part of the state that is new to peers with the same earlier state."""
    changes: tuple[Change, ...]


class HeldOrigin:
    """The local state of one origin: its full history up to `version`, and pieces `ahead` of a gap.

    `entries` are ordered by version and include tombstones. `ahead` are disjoint, ascending (since, version) pairs.
    `term` is the origin's share in the digest, `known` its entry in a vector. Immutable after construction.
    """

    __slots__ = ("_steps", "ahead", "entries", "floor", "known", "origin", "term", "tombstones", "uid", "version")

    def __init__(self, origin: PeerName, uid: int, before: "HeldOrigin | None" = None) -> None:
        """Empty, or a copy of `before` to be changed; `_finish` completes the construction."""
        self.origin = origin
        self.uid = uid
        self.version = 0
        self.floor = 0
        self.entries: dict[str, OriginEntry] = {}
        self.ahead: tuple[tuple[int, int], ...] = ()
        self.tombstones = 0
        if before is not None:
            self.version, self.floor = before.version, before.floor
            self.entries, self.ahead, self.tombstones = dict(before.entries), before.ahead, before.tombstones
        self._steps: Memo[MergeResult] = Memo()
        """Results of `take`, by state."""
        self._finish()

    def _finish(self) -> "HeldOrigin":
        self._collect()
        self.known: Known = (self.origin, self.uid, self.version)
        self.term = _said.of(self.origin, self.uid, self.version, self.ahead)
        return self

    # --- the origin's own changes -----------------------------------------------------------------------------------

    def advance(self, key: str, value: Value | None) -> tuple["HeldOrigin", OriginEntry]:
        """The next version, in which `key` has `value`."""
        after = HeldOrigin(self.origin, self.uid, self)
        after.version += 1
        entry = OriginEntry(key, after.version, value)
        after._set(entry)
        return after._finish(), entry

    def advance_all(self, values: Mapping[str, Value | None]) -> tuple["HeldOrigin", tuple[OriginEntry, ...]]:
        """The next versions, one for each key, in one copy of the entries."""
        after = HeldOrigin(self.origin, self.uid, self)
        entries = []
        for key, value in values.items():
            after.version += 1
            entry = OriginEntry(key, after.version, value)
            after._set(entry)
            entries.append(entry)
        return after._finish(), tuple(entries)

    # --- states of other peers --------------------------------------------------------------------------------------

    def knows(self, state: OriginState) -> bool:
        """Whether a state of this incarnation can be skipped: it has nothing new, or there is no room for it."""
        if state.version <= self.version:
            return True
        if state.since <= self.version:
            return False
        covered = any(since <= state.since and state.version <= end for since, end in self.ahead)
        return covered or len(self.ahead) >= MAX_AHEAD

    def take(self, state: OriginState) -> MergeResult:
        """The result of merging a state of this incarnation that is not known."""
        return self._steps.of(state, self._take)

    def _take(self, state: OriginState) -> MergeResult:
        after = HeldOrigin(self.origin, self.uid, self)
        before = after._merge(state)
        changes = []
        for key, old in before.items():
            current = after.entries.get(key)
            new = current.value if current is not None else None
            if new != old:
                changes.append(Change(self.origin, key, old, new))
        return MergeResult(after._finish(), self._news(state), tuple(changes))

    def _news(self, state: OriginState) -> OriginState:
        if state.since > self.version or self.version == 0 or self.version < state.floor:
            return state
        entries = tuple(entry for entry in state.entries if entry.version > self.version)
        return origin_states.of(state.origin, state.uid, state.version, self.version, 0, entries)

    def _merge(self, state: OriginState) -> dict[str, Value | None]:
        """Merge a state of this incarnation. Returns the changed keys with their previous values."""
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
        return before

    def missing(self, uid: int, version: int) -> list[OriginState]:
        """Everything that a peer with this `version` (without a gap) of incarnation `uid` lacks."""
        if uid > self.uid:
            return []
        if uid < self.uid:
            version = -1  # below every floor: send everything
        states = []
        if version < self.version:
            since = version if version >= self.floor else 0
            floor = self.floor if since == 0 else 0
            entries = self._above(since, self.version)
            states.append(origin_states.of(self.origin, self.uid, self.version, since, floor, entries))
        for since, end in self.ahead:
            if version < end:
                states.append(origin_states.of(self.origin, self.uid, end, since, 0, self._above(since, end)))
        return states

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
        assert self.known == (self.origin, self.uid, self.version)
        assert self.term == _said.of(self.origin, self.uid, self.version, self.ahead)

    # --- internals --------------------------------------------------------------------------------------------------

    def _set(self, entry: OriginEntry) -> None:
        before = self.entries.pop(entry.key, None)
        self.tombstones += (entry.value is None) - (before is not None and before.value is None)
        self.entries[entry.key] = entry

    def _drop(self, key: str) -> None:
        self.tombstones -= self.entries.pop(key).value is None

    def _above(self, since: int, up_to: int) -> tuple[OriginEntry, ...]:
        """Entries with since < version <= up_to, ascending; cost is proportional to the entries above `since`."""
        found = []
        for entry in reversed(self.entries.values()):
            if entry.version <= since:
                break
            if entry.version <= up_to:
                found.append(entry)
        found.reverse()
        return tuple(found)

    def _extend(self, since: int, version: int) -> None:
        """Add (since, version] to the history, or to the pieces ahead of a gap."""
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
        """Drop the older half of the tombstones if there are too many (after a batch: more); those ahead of a gap are
        still needed."""
        if self.tombstones <= MAX_TOMBSTONES:
            return
        dead = [entry for entry in self.entries.values() if entry.value is None and entry.version <= self.version]
        for entry in dead[: max(MAX_TOMBSTONES // 2, len(dead) - MAX_TOMBSTONES)]:
            self._drop(entry.key)
            self.floor = max(self.floor, entry.version)


@shared(1 << 17)
def _said(origin: str, uid: int, version: int, ahead: tuple[tuple[int, int], ...]) -> int:
    text = f"{origin} {uid} {version}"
    for since, end in ahead:
        text += f" {since}-{end}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def first_of(state: OriginState) -> MergeResult:
    """The result of the first state of an origin."""
    return derived(state, "first", _first)


def _first(state: OriginState) -> MergeResult:
    return HeldOrigin(state.origin, state.uid).take(state)


def validate(channel: str, states: list[OriginState]) -> None:
    """Raise `RemoteError` unless the numbers in all `states` follow the format."""
    for state, fault in zip(states, derived_each(states, "fault", OriginState.fault), strict=True):
        if fault:
            raise RemoteError(f"channel {channel}: the state of {state.origin} is malformed: {fault}")


def join_states(states: list[OriginState]) -> OriginDelta:
    """Combine states into one delta: per origin the highest uid, with overlapping or adjacent states joined."""
    first: dict[PeerName, OriginState] = {}
    several: dict[PeerName, list[OriginState]] = {}
    for state in states:
        other = first.setdefault(state.origin, state)
        if other is not state:
            several.setdefault(state.origin, [other]).append(state)
    joined: list[OriginState] = []
    for origin in sorted(first):
        if origin in several:
            joined.extend(_join_of_one(several[origin]))
        else:
            joined.append(first[origin])
    return OriginDelta(tuple(joined))


def _join_of_one(states: list[OriginState]) -> list[OriginState]:
    joined: list[OriginState] = []
    for state in sorted(states, key=lambda s: (s.uid, s.since, s.version)):
        last = joined[-1] if joined else None
        if last is not None and last.uid != state.uid:
            joined.clear()
            last = None
        if last is not None and state.since <= last.version:
            joined[-1] = _join_states(last, state)
        else:
            joined.append(state)
    return joined


def _join_states(first: OriginState, second: OriginState) -> OriginState:
    """Join two states of one incarnation, where first.since <= second.since <= first.version."""
    if second.version <= first.version:
        return first
    if second.since == first.since:
        return second
    entries = {entry.key: entry for entry in first.entries}
    for entry in second.entries:
        if entry.version > first.version:
            entries.pop(entry.key, None)
            entries[entry.key] = entry
    return origin_states.of(first.origin, first.uid, second.version, first.since, first.floor, tuple(entries.values()))
