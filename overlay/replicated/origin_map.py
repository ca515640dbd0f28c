"""A replicated state in which every peer owns its own entries, such as the DNS registry and the endpoints.

Reconciliation by version vectors after "Efficient reconciliation and flow control for anti-entropy protocols" (van
Renesse et al., LADIS 2008), with tombstones and without clocks. Owns versions, merging and the digest; must not know
what the values mean, which peers are reachable, or how deltas travel. `docs/wire.md`, "Origin maps", gives the rules.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from overlay.config import PeerName
from overlay.effects import Broadcast, Effect, Notify
from overlay.errors import RemoteError
from overlay.inputs import OriginChanged
from overlay.replicated.numbered import Table, table
from overlay.replicated.origin_state import HeldOrigin, first_of, join_states, origin_states, validate
from overlay.replicated.vectors import Known, SortedKeys, by_key, concerned, lacking
from overlay.tuning import STANDARD, Tuning
from overlay.wire.codec import Delta, Vector
from overlay.wire.origins import Change, OriginDelta, OriginState, OriginVector, Value

MAX_FORGOTTEN = 4096
"""Limit of incarnations remembered as forgotten, so that slower peers do not bring them back."""


class OriginMap:
    """One replicated map, a `overlay.replicated.channel.Channel`. `owner` is the peer that holds this copy.

    An owner that indexes the entries calls `put`, `remove` and `forget` itself; all other changes are in an
    `OriginChanged` among the effects of `merge`.
    """

    def __init__(self, name: str, owner: PeerName, uid: int, tuning: Tuning = STANDARD) -> None:
        self._tuning = tuning
        self.name = name
        self._owner = owner
        self._digest = 0
        self._vector: OriginVector | None = None
        self._reachable: Table[PeerName, bool] = table("peer")
        self._reachable[owner] = True
        self._reachable_digest = 0
        self._origins: Table[PeerName, HeldOrigin] = table("peer")
        self._order = SortedKeys(self._origins)
        self._forgotten: dict[PeerName, int] = {}
        self._limbo: dict[PeerName, OriginDelta] = {}
        self._reissue_from = 0
        self._reissue_pause = self._tuning.reissue_pause
        self._own = HeldOrigin(owner, uid)
        """Added to `_origins` with its first entry, because in large meshes most peers have no entry at the start."""

    # --- the owner's entries ------------------------------------------------------------------------------------

    def put(self, key: str, value: Value) -> OriginDelta:
        """Set an entry of the owner. Returns the delta to broadcast."""
        return self._advance(key, value)

    def remove(self, key: str) -> OriginDelta | None:
        """Remove an entry of the owner, leaving a tombstone. Returns the delta to broadcast; None: no entry."""
        entry = self._own.entries.get(key)
        if entry is None or entry.value is None:
            return None
        return self._advance(key, None)

    def change_all(self, values: Mapping[str, Value | None]) -> OriginDelta | None:
        """Set these entries of the owner, and remove those with None (which exist). Returns the delta to broadcast."""
        if not values:
            return None
        since = self._own.version
        own, entries = self._own.advance_all(values)
        self._own = own
        self._hold(own)
        return OriginDelta((origin_states.of(self._owner, own.uid, own.version, since, 0, entries),))

    def _advance(self, key: str, value: Value | None) -> OriginDelta:
        own, entry = self._own.advance(key, value)
        self._own = own
        self._hold(own)
        return OriginDelta((origin_states.of(self._owner, own.uid, own.version, own.version - 1, 0, (entry,)),))

    # --- queries ------------------------------------------------------------------------------------------------

    def get(self, origin: PeerName, key: str) -> Value | None:
        """The live value under `key` of `origin`."""
        held = self._origins.get(origin)
        entry = held.entries.get(key) if held else None
        return entry.value if entry else None

    def entries_of(self, origin: PeerName) -> Iterator[tuple[str, Value]]:
        """(key, value) of every live entry of one origin, in order of version."""
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
        """The share of `origin` in the digest (combined by XOR); 0 if nothing is held of it."""
        held = self._origins.get(origin)
        return held.term if held else 0

    # --- forgetting ---------------------------------------------------------------------------------------------

    def forget(self, origin: PeerName) -> tuple[Change, ...]:
        """Drop all entries of `origin` and refuse this incarnation until `admit`. Returns the removals."""
        held = self._origins.get(origin)
        if held is None or origin == self._owner:
            return ()
        del self._origins[origin]
        self._order.discard(origin)
        self._digest ^= held.term
        self._vector = None
        if origin in self._reachable:
            self._reachable_digest ^= held.term
        self._forgotten.pop(origin, None)
        self._forgotten[origin] = held.uid
        if len(self._forgotten) > MAX_FORGOTTEN:
            oldest = next(iter(self._forgotten))
            del self._forgotten[oldest]
            self._limbo.pop(oldest, None)
        return tuple(Change(origin, e.key, e.value, None) for e in held.entries.values() if e.value is not None)

    def admit(self, origin: PeerName) -> tuple[OriginDelta | None, tuple[Change, ...]]:
        """`origin` is reachable now: accept its entries even if that incarnation was forgotten.

        Its states that arrived in the meantime are merged. Returns the delta to broadcast, and the changes.
        """
        states: list[OriginState | None] = []
        changes: list[Change] = []
        if self._forgotten:
            self._forgotten.pop(origin, None)
            waiting = self._limbo.pop(origin, None)
            states = [self._take(state, changes) for state in waiting.states] if waiting is not None else []
        if origin not in self._reachable:
            self._reachable[origin] = True
            held = self._origins.get(origin)
            if held is not None:
                self._reachable_digest ^= held.term
        news = tuple(state for state in states if state is not None) if states else ()
        return (OriginDelta(news) if news else None), tuple(changes)

    def retire(self, origin: PeerName) -> None:
        """`origin` is unreachable: exclude it from `reachable_digest`; its entries stay."""
        if origin != self._owner and origin in self._reachable:
            del self._reachable[origin]
            self._reachable_digest ^= self.term(origin)

    def reaches(self, origin: PeerName) -> bool:
        """Whether `origin` is reachable: admitted, and not retired since."""
        return origin in self._reachable

    @property
    def reachable(self) -> list[PeerName]:
        """All reachable peers, sorted. Built on each call."""
        return sorted(self._reachable)

    def changed(self, reachable: tuple[PeerName, ...]) -> tuple[list[PeerName], list[PeerName]]:
        """The peers of `reachable` (sorted, all that are now) to admit, and those to retire, sorted."""
        came = [peer for peer in reachable if peer not in self._reachable]
        if len(self._reachable) + len(came) == len(reachable):
            return came, []
        members = frozenset(reachable)
        return came, sorted([peer for peer in self._reachable if peer not in members])

    @property
    def reachable_digest(self) -> int:
        """The digest over the reachable origins only; equal on mutually reachable peers after gossip has converged."""
        return self._reachable_digest

    # --- the channel --------------------------------------------------------------------------------------------

    def digest(self) -> int:
        """64 bits over (origin, uid, version) of all origins, maintained incrementally."""
        return self._digest

    def vector(self) -> OriginVector:
        """The version of each origin that is held without a gap."""
        if self._vector is None:
            origins = self._origins
            self._vector = OriginVector(tuple([origins[origin].known for origin in self._order.in_order()]))
        return self._vector

    def missing(self, vector: Vector, named: bool = False) -> OriginDelta | None:
        """Everything held here that the sender of `vector` lacks; see `channel.Channel`."""
        if not isinstance(vector, OriginVector):
            raise RemoteError(f"channel {self.name}: found a {type(vector).__name__}, expected an OriginVector")
        theirs = by_key(vector.known)
        # Runs over every origin of a large mesh; shared values are mostly the very same object.
        differing = [
            held
            for origin, held in concerned(self._origins, theirs, named)
            if ((known := theirs.get(origin)) is not held.known and known != held.known) or held.ahead
        ]
        states: list[OriginState] = []
        for held in sorted(differing, key=_origin):
            _, uid, version = theirs.get(held.origin, _UNKNOWN)
            states.extend(held.missing(uid, version))
        return OriginDelta(tuple(states)) if states else None

    def lacking(self, vector: Vector) -> OriginVector | None:
        """The versions held here of the origins for which `vector` names a newer version."""
        assert isinstance(vector, OriginVector)
        known = lacking(self._origins, vector.known)
        return OriginVector(known) if known else None

    def merge(self, delta: Delta, now: int) -> tuple[OriginDelta | None, list[Effect]]:
        """Merge a delta. Effects: `OriginChanged` for the index, `Broadcast` if our own entries had to be reissued.

        Raises `RemoteError` (and merges nothing) if the delta breaks the rules of the format.
        """
        if not isinstance(delta, OriginDelta):
            raise RemoteError(f"channel {self.name}: found a {type(delta).__name__}, expected an OriginDelta")
        held_of = self._origins.get
        states = [
            state
            for state in delta.states
            if (held := held_of(state.origin)) is None
            or held.uid != state.uid
            or state.version > held.version
            or held.ahead
            or held is self._own
        ]  # the other states cannot contain anything new
        validate(self.name, states)
        news: list[OriginState] = []
        changes: list[Change] = []
        effects: list[Effect] = []
        for state in states:
            if state.origin == self._owner:
                if now >= self._reissue_from and self._contradicted_by(state):
                    effects.append(Broadcast(self.name, self._reissue(state.uid + 1)))
                    self._reissue_from = now + self._reissue_pause
                    self._reissue_pause = min(2 * self._reissue_pause, self._tuning.reissue_pause_max)
                elif self._owner not in self._origins and state.uid < self._own.uid:
                    # An earlier incarnation had entries; broadcasting our empty state ends them.
                    self._hold(self._own)
                    nothing = origin_states.of(self._owner, self._own.uid, 0, 0, 0, ())
                    effects.append(Broadcast(self.name, OriginDelta((nothing,))))
            elif self._forgotten.get(state.origin, 0) >= state.uid:
                # A slower peer still has it, or a partition longer than the hold has healed: `admit` decides.
                one = OriginDelta((state,))
                waiting = self._limbo.get(state.origin)
                self._limbo[state.origin] = one if waiting is None else self.join(waiting, one)
            else:
                fresh = self._take(state, changes)
                if fresh is not None:
                    news.append(fresh)
        if changes:
            effects.insert(0, Notify(OriginChanged(self.name, tuple(changes))))
        if not news:
            return None, effects
        return (delta if tuple(news) == delta.states else OriginDelta(tuple(news))), effects

    def join(self, *deltas: Delta) -> OriginDelta:
        """Combine these deltas into one."""
        states: list[OriginState] = []
        for delta in deltas:
            assert isinstance(delta, OriginDelta)
            states.extend(delta.states)
        return join_states(states)

    # --- merging ------------------------------------------------------------------------------------------------

    def _take(self, state: OriginState, changes: list[Change]) -> OriginState | None:
        """Merge one state of another peer and append its changes. Returns the part that was new; None: nothing."""
        held = self._origins.get(state.origin)
        if held is None or held.uid < state.uid:
            first = first_of(state)
            changes.extend(first.changes if held is None else _replaced(held, first.held))
            self._hold(first.held)
            return state
        if held.uid > state.uid or held.knows(state):
            return None
        step = held.take(state)
        changes.extend(step.changes)
        self._hold(step.held)
        return step.news

    def _contradicted_by(self, state: OriginState) -> bool:
        """Whether `state`, which claims to be ours, is from an incarnation unknown here (the disk was lost)."""
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
        """Publish our live entries under a new incarnation that wins against every earlier one."""
        fresh = HeldOrigin(self._owner, uid)
        for key, value in self.entries_of(self._owner):
            fresh, _ = fresh.advance(key, value)
        self._own = fresh
        self._hold(fresh)
        return OriginDelta((origin_states.of(self._owner, uid, fresh.version, 0, 0, tuple(fresh.entries.values())),))

    def _hold(self, held: HeldOrigin) -> None:
        """Store `held` as the state of its origin."""
        origin = held.origin
        before = self._origins.get(origin)
        self._origins[origin] = held
        if before is None:
            self._order.add(origin)
        change = held.term if before is None else before.term ^ held.term
        self._digest ^= change
        self._vector = None
        if origin in self._reachable:
            self._reachable_digest ^= change

    def check_invariants(self) -> None:
        """Assert the invariants of each origin, and the digests."""
        vector, self._vector = self._vector, None
        assert vector is None or vector == self.vector(), self.name
        assert self._order.in_order() == sorted(self._origins), self.name
        digest = reachable_digest = 0
        for origin, held in self._origins.items():
            digest ^= held.term
            reachable_digest ^= held.term if origin in self._reachable else 0
            held.check_invariants()
        assert (digest, reachable_digest) == (self._digest, self._reachable_digest), self.name
        assert self._origins.get(self._owner, self._own) is self._own and not self._own.ahead, self.name
        assert self._owner in self._origins or not self._own.version, self.name


def _replaced(before: HeldOrigin, after: HeldOrigin) -> list[Change]:
    """The changes when an incarnation of an origin replaces another."""
    changes = []
    for key in {**before.entries, **after.entries}:
        old, new = before.entries.get(key), after.entries.get(key)
        was, now = old.value if old is not None else None, new.value if new is not None else None
        if was != now:
            changes.append(Change(after.origin, key, was, now))
    return changes


def _origin(held: HeldOrigin) -> PeerName:
    return held.origin


_UNKNOWN: Final[Known] = ("", 0, 0)
