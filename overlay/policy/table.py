"""The policies shared by all peers: one replicated table, in which the last write of a rule wins.

Every write has its own number, and a peer knows for each number whether its write is still current. So a removal needs
no tombstone: a write that is known but not current is gone, and a peer that was partitioned cannot bring it back (an
add-wins set with a causal context: Bieniusa et al., "An Optimized Conflict-free Replicated Set", 2012). This costs one
range of numbers for each peer incarnation that has written. Owns merging, limits and the digest; must not know what the
rules mean or how deltas travel. `docs/wire.md`, "Policies", gives the rules.
"""

from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b

from overlay.config import PeerName
from overlay.effects import Broadcast, Effect, Notify
from overlay.errors import RemoteError, UsageError
from overlay.inputs import PoliciesChanged
from overlay.policy.spans import Spans
from overlay.replicated.interned import derived
from overlay.wire.codec import Delta, Vector
from overlay.wire.policy import (
    MAX_COUNTER,
    PolicyDelta,
    PolicyEntry,
    PolicySpan,
    PolicyVector,
)

__all__ = ["CHANNEL", "MAX_POLICIES", "MAX_RANGES", "MAX_WRITERS", "PolicyTable"]

CHANNEL = "policy"
MAX_POLICIES = 512
"""Limit of current policies; above it the newest are dropped, the same ones on every peer."""
MAX_WRITERS = 4096
"""Limit of incarnations of peers that have ever written; further ones cannot write."""
MAX_RANGES = 2 * MAX_WRITERS
"""Limit of ranges of numbers; there is one per writer if no number is missing."""

Dot = tuple[str, int]


class PolicyTable:
    """The table of one peer, a `overlay.replicated.channel.Channel`."""

    def __init__(self, owner: PeerName, uid: int, stored: PolicyDelta | None = None) -> None:
        """Raises `RemoteError` for an invalid stored table."""
        self.name = CHANNEL
        self._owner = owner
        self._uid = uid
        self._writer = ""
        """The writer name of this incarnation; empty until it writes."""
        self._known = Spans()
        self._standing: dict[Dot, PolicyEntry] = {}
        self._by_rule: dict[str, Dot] = {}
        self._own: dict[Dot, None] = {}
        """Current writes of this incarnation."""
        self._digest = 0
        self._vector: PolicyVector | None = None
        if stored is not None:
            self._merge(stored)

    # --- changes of this peer -----------------------------------------------------------------------------------

    def put(self, accept: bool, rule: str) -> PolicyDelta:
        """Write a policy; it replaces one for the same rule. Returns the delta. Raises `UsageError` if full."""
        before = self.get(rule)
        if before is None and len(self._standing) >= MAX_POLICIES:
            raise UsageError(f"there are {MAX_POLICIES} policies, which is the most: remove one first")
        dot = self._next()
        version = min(max((entry.version for entry in self._standing.values()), default=0) + 1, MAX_COUNTER)
        entry = PolicyEntry(*dot, version, accept, rule)
        spans = [PolicySpan(*dot, dot[1])]
        if before is not None:
            spans.append(PolicySpan(before.writer, before.number, before.number))
        delta = PolicyDelta(Spans(spans).listed(), (entry,))
        self._merge(delta)
        self._own[dot] = None
        return delta

    def remove(self, rule: str) -> PolicyDelta | None:
        """Remove a policy, whichever peer wrote it. Returns the delta; None: there is no policy for this rule."""
        entry = self.get(rule)
        if entry is None:
            return None
        delta = PolicyDelta((PolicySpan(entry.writer, entry.number, entry.number),), ())
        self._merge(delta)
        return delta

    def _next(self) -> Dot:
        """This incarnation's writer name and its next unused number."""
        life = self._uid
        while not self._writer or self._known.last(self._writer) >= MAX_COUNTER:
            writer = f"{self._owner}@{life}"
            if writer not in self._known.writers:
                self._writer = writer
            life += 1
        if self._writer not in self._known.writers and len(self._known.writers) >= MAX_WRITERS:
            raise UsageError(
                f"{MAX_WRITERS} lives of peers have written policies, which is the most: type it on a host that has "
                "done so since its router was launched"
            )
        return self._writer, self._known.last(self._writer) + 1

    # --- queries --------------------------------------------------------------------------------------------------

    def get(self, rule: str) -> PolicyEntry | None:
        """The policy for a rule."""
        dot = self._by_rule.get(rule)
        return self._standing[dot] if dot is not None else None

    def entries(self) -> tuple[PolicyEntry, ...]:
        """All current policies, by rule."""
        return tuple(self._standing[dot] for _, dot in sorted(self._by_rule.items()))

    def __bool__(self) -> bool:
        return bool(self._standing)

    def stored(self) -> PolicyDelta:
        """The whole table, in the form that `__init__` takes."""
        return PolicyDelta(self._known.listed(), _sorted(self._standing.values()))

    # --- the channel ----------------------------------------------------------------------------------------------

    def digest(self) -> int:
        """64 bits over known and current writes; 0 if nothing was ever written."""
        return self._digest

    def vector(self) -> PolicyVector:
        if self._vector is None:
            standing = tuple(
                (writer, number, _hash(entry) & 0xFFFFFFFF)
                for (writer, number), entry in sorted(self._standing.items())
            )
            self._vector = PolicyVector(self._known.listed(), standing)
        return self._vector

    def missing(self, vector: Vector, named: bool = False) -> PolicyDelta | None:
        """Everything that the sender of `vector` lacks; `named` is ignored, as a vector always names everything."""
        if not isinstance(vector, PolicyVector):
            raise RemoteError(f"channel {self.name}: found a {type(vector).__name__}, expected a PolicyVector")
        theirs = Spans(vector.spans)
        held = {(writer, number): digest for writer, number, digest in vector.standing}
        spans = list(self._known.minus(theirs).listed())
        entries = []
        for dot, entry in self._standing.items():
            if dot not in theirs:
                entries.append(entry)
            elif dot in held and held[dot] != _hash(entry) & 0xFFFFFFFF:
                entries.append(entry)  # two writes with one number (a disk was restored): one wins on all peers
                spans.append(PolicySpan(*dot, dot[1]))
        spans += [PolicySpan(*dot, dot[1]) for dot in held if dot in self._known and dot not in self._standing]
        return PolicyDelta(Spans(spans).listed(), _sorted(entries)) if spans else None

    def lacking(self, vector: Vector) -> PolicyVector | None:
        assert isinstance(vector, PolicyVector)
        theirs = Spans(vector.spans)
        held = {(writer, number): digest for writer, number, digest in vector.standing}
        lacked = (
            bool(theirs.minus(self._known))
            or any(dot in theirs and dot not in held for dot in self._standing)
            or any(dot in self._standing and _hash(self._standing[dot]) & 0xFFFFFFFF != held[dot] for dot in held)
        )
        return self.vector() if lacked else None

    def merge(self, delta: Delta, now: int) -> tuple[PolicyDelta | None, list[Effect]]:
        if not isinstance(delta, PolicyDelta):
            raise RemoteError(f"channel {self.name}: found a {type(delta).__name__}, expected a PolicyDelta")
        beyond = Spans(delta.spans).last(self._writer) > self._known.last(self._writer) if self._writer else False
        mine = {dot: self._standing[dot] for dot in self._own if dot in self._standing} if beyond else {}
        if not self._merge(delta):
            return None, []
        effects: list[Effect] = [Notify(PoliciesChanged())]
        for dot, entry in mine.items():
            if dot not in self._standing and self.get(entry.rule) is None:
                # Another writer used our numbers: a namesake, or a forgery. What was entered here stays valid.
                with suppress(UsageError):
                    effects.append(Broadcast(CHANNEL, self.put(entry.accept, entry.rule)))
        self._own = {dot: None for dot in self._own if dot in self._standing}
        return delta, effects

    def join(self, *deltas: Delta) -> PolicyDelta:
        known, standing = Spans(), dict[Dot, PolicyEntry]()
        for delta in deltas:
            assert isinstance(delta, PolicyDelta)
            known, standing = _joined(known, standing, delta)
        return PolicyDelta(known.listed(), _sorted(standing.values()))

    # --- merging --------------------------------------------------------------------------------------------------

    def _merge(self, delta: PolicyDelta) -> bool:
        """Merge a delta; returns whether anything was new. Raises `RemoteError`, and then merges nothing."""
        _validate(delta)
        known, standing = _joined(self._known, self._standing, delta)
        if len(known.writers) > MAX_WRITERS or len(known) > MAX_RANGES:
            raise RemoteError(
                f"channel {self.name}: {len(known.writers)} writers with {len(known)} ranges of numbers, expected at "
                f"most {MAX_WRITERS} with {MAX_RANGES}"
            )
        standing = _settled(standing)
        if known == self._known and standing == self._standing:
            return False
        self._known, self._standing = known, standing
        self._by_rule = {entry.rule: dot for dot, entry in standing.items()}
        self._digest = _digest(known, standing)
        self._vector = None
        return True

    def check_invariants(self) -> None:
        """Assert the invariants of the table."""
        assert all(dot in self._known for dot in self._standing), "what stands is known"
        assert all(dot == (entry.writer, entry.number) for dot, entry in self._standing.items())
        assert len(self._by_rule) == len(self._standing) <= MAX_POLICIES
        assert self._digest == _digest(self._known, self._standing)
        assert self._vector is None or self._vector.spans == self._known.listed()


def _validate(delta: PolicyDelta) -> None:
    for span in delta.spans:
        if span.first > span.last:
            raise RemoteError(f"channel {CHANNEL}: the span {span.first} to {span.last} of {span.writer:.96} is none")
    covered = Spans(delta.spans)
    for entry in delta.entries:
        if (entry.writer, entry.number) not in covered:
            raise RemoteError(f"channel {CHANNEL}: {entry.writer:.96} {entry.number} stands and is in no span")


def _joined(known: Spans, standing: dict[Dot, PolicyEntry], delta: PolicyDelta) -> tuple[Spans, dict[Dot, PolicyEntry]]:
    """Join table and delta: a write known to both is current only if it is current in both."""
    spans = Spans(delta.spans)
    theirs = {(entry.writer, entry.number): entry for entry in delta.entries}
    joined = {dot: entry for dot, entry in standing.items() if dot not in spans or dot in theirs}
    for dot, entry in theirs.items():
        if dot not in known:
            joined[dot] = entry
        elif dot in joined:
            joined[dot] = max(joined[dot], entry, key=_order)
    return known.union(spans), joined


def _settled(standing: dict[Dot, PolicyEntry]) -> dict[Dot, PolicyEntry]:
    """Keep the last write of each rule, at most `MAX_POLICIES`; the others count as removed."""
    last: dict[str, PolicyEntry] = {}
    for entry in standing.values():
        other = last.get(entry.rule)
        if other is None or _order(other) < _order(entry):
            last[entry.rule] = entry
    kept_ones = sorted(last.values(), key=_order)[:MAX_POLICIES]
    return {(entry.writer, entry.number): entry for entry in kept_ones}


def _order(entry: PolicyEntry) -> tuple[int, str, int, bool, str]:
    return entry.version, entry.writer, entry.number, entry.accept, entry.rule


def _sorted(entries: Iterable[PolicyEntry]) -> tuple[PolicyEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.writer, entry.number)))


def _digest(known: Spans, standing: dict[Dot, PolicyEntry]) -> int:
    digest = 0
    for writer, ranges in known.writers.items():
        digest ^= _said(" ".join((writer, *(f"{first}-{last}" for first, last in ranges))))
    for entry in standing.values():
        digest ^= _hash(entry)
    return digest


def _hash(entry: PolicyEntry) -> int:
    return derived(entry, "hash", _hashed)


def _hashed(entry: PolicyEntry) -> int:
    return _said(f"{entry.writer} {entry.number} {entry.version} {'allow' if entry.accept else 'deny'} {entry.rule}")


def _said(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
