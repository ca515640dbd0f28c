"""The ring: a replicated map from the range's extents to their owners. Knows no containers, and peers only as owners.

A ring is a lineage and a map from start offset to token. Merging takes the higher lineage, and
within one lineage the better token for each start (`better`): a join over a total order, hence commutative, associative
and idempotent. A token contains the end of its extent. So a peer that hears of a donation but not of the one before it
never takes space that was given away for its own: its view has a gap until the missing token arrives. Consistent
hashing with explicit tokens as in Amazon's Dynamo (SOSP 2007, 6.2), without the hashing.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import msgspec

from overlay.config import PeerName
from overlay.ipam.ring_slot import Slot, slot_of
from overlay.replicated.numbered import Table, table
from overlay.replicated.vectors import Known, by_key, concerned
from overlay.wire.ring import Lineage, RingDelta, RingVector, Token

TAKEOVER = 2**32
"""A takeover raises a token's version to the next multiple of this number."""

CONSENSUS, SEED = 0, 1
"""Values of `Lineage.kind`."""

Extent = tuple[int, int]
"""Offsets: first, end (exclusive)."""

_encode = msgspec.msgpack.Encoder().encode


def _hash64(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def make_lineage(range_text: str, kind: int, founders: tuple[PeerName, ...], nonce: int) -> Lineage:
    """The lineage of a first agreement (or of a seed set, with `nonce` 0)."""
    return Lineage(kind, len(founders), _hash64(_encode((range_text, kind, founders, nonce))))


def lineage_rank(lineage: Lineage | None) -> tuple[int, int, int]:
    """The sort key of lineages; no ring ranks below every ring."""
    return (-1, 0, 0) if lineage is None else (lineage.kind, lineage.founders, lineage.identity)


def lineage_text(lineage: Lineage) -> str:
    """Text for users: the origin of the ring."""
    kind = "seed" if lineage.kind == SEED else "agreement"
    return f"{kind} of {lineage.founders} ({lineage.identity:016x})"


def better(first: Token, second: Token) -> Token:
    """Which of two tokens with the same start wins. A total order, so two peers cannot disagree for ever.

    The higher version wins; at equal versions (two peers took over the same token in a partition, or a disk was lost)
    the lower owner, then the longer extent.
    """
    if first.version != second.version:
        return first if first.version > second.version else second
    if first.owner != second.owner:
        return first if first.owner < second.owner else second
    return max(first, second, key=lambda token: (token.last, token.free))


def divide(size: int, founders: tuple[PeerName, ...]) -> list[Token]:
    """The first ring: divide `size` addresses fairly among `founders` (sorted), at multiples of a power of two.

    The shares differ by at most an eighth; if the number of founders is a power of two, each share is one CIDR block.
    """
    count = len(founders)
    chunks = 1
    while chunks < count * 8 and chunks * 2 <= size:
        chunks *= 2
    if count & (count - 1) == 0 and count <= size:
        chunks = count
    bounds = [index * chunks // count * (size // chunks) for index in range(count + 1)]
    return [
        Token(start, end - 1, owner, 0, end - start)
        for owner, (start, end) in zip(founders, pairwise(bounds), strict=True)
        if start < end
    ]


_NO_TOKEN: Final[Known] = (-1, -1, -1)


class Ring:
    """One peer's copy of the ring. Empty (`lineage` None) until the first agreement or a merge."""

    def __init__(self, range_text: str, size: int) -> None:
        """`range_text` names the range, `size` is its number of addresses."""
        self.range = range_text
        self.size = size
        self.lineage: Lineage | None = None
        self.slots: Table[int, Slot] = table("start of a token")
        self.digest = 0
        """Digest of lineage and tokens; 0 without a ring."""
        self._starts: list[int] = []
        self._by_owner: Table[PeerName, tuple[int, ...]] = table("peer")
        self._vector: RingVector | None = None

    # --- changes ----------------------------------------------------------------------------------------------

    def found(self, lineage: Lineage, tokens: Iterable[Token]) -> None:
        """Replace everything by this lineage and these tokens."""
        self.lineage = lineage
        self.slots.clear()
        self._starts.clear()
        self._by_owner.clear()
        self.digest = _hash64(_encode((self.range, lineage))) or 1
        for token in tokens:
            self._put(token)
        self._vector = None

    def merge(self, lineage: Lineage, tokens: Iterable[Token]) -> list[Token]:
        """Merge tokens of a lineage; returns those that were new (none if the lineage is below ours)."""
        if lineage != self.lineage:
            if lineage_rank(lineage) < lineage_rank(self.lineage):
                return []
            self.found(lineage, ())
        changed = []
        for token in tokens:
            mine = self.slots.get(token.start)
            if mine is None or (mine.token is not token and mine.token != token and better(mine.token, token) is token):
                self._put(token)
                changed.append(token)
        return changed

    def _put(self, token: Token) -> None:
        slot = slot_of(token)
        start, owner = slot.start, slot.owner
        old = self.slots.get(start)
        if old is None:
            insort(self._starts, start)
        else:
            self.digest ^= old.fingerprint
            if old.owner != owner:
                kept = tuple([other for other in self._by_owner[old.owner] if other != start])
                if kept:
                    self._by_owner[old.owner] = kept
                else:
                    del self._by_owner[old.owner]
        if old is None or old.owner != owner:
            starts = self._by_owner.get(owner)
            self._by_owner[owner] = slot.alone if starts is None else tuple(sorted([*starts, start]))
        self.slots[start] = slot
        self.digest ^= slot.fingerprint
        self._vector = None

    def _write(self, tokens: list[Token]) -> list[Token]:
        for token in tokens:
            self._put(token)
        return tokens

    def grant(self, start: int, end: int, recipient: PeerName, free: tuple[int, int]) -> list[Token]:
        """Split the token that covers `start` to `end` (exclusive) and give that part away. Returns the new tokens.

        Only the owner of the token may call it. `free` is the number of free addresses left below and above the part.
        New tokens inherit the version, so that tokens of a takeover stay above those that the removed peer may have
        written.
        """
        token, (low, high) = self._covering(start)
        assert token is not None and low <= start < end <= high, f"{start}..{end} is not within one token"
        version = token.version + 1
        tokens = [Token(start, end - 1, recipient, version, end - start)]
        if low < start:
            tokens.insert(0, Token(low, start - 1, token.owner, version, free[0]))
        if end < high:
            tokens.append(Token(end, high - 1, token.owner, version, free[1]))
        return self._write(tokens)

    def take_over(self, owner: PeerName, heir: PeerName) -> list[Token]:
        """Give all tokens of `owner` to `heir`, permanently. Returns the new tokens."""
        tokens = []
        for low, high in self.extents(owner):
            version = (self.slots[low].version // TAKEOVER + 1) * TAKEOVER
            tokens.append(Token(low, high - 1, heir, version, high - low))
        return self._write(tokens)

    def hand_over(self, owner: PeerName, heir: PeerName) -> list[Token]:
        """`owner` (the caller) gives all its tokens to `heir`. Returns the new tokens."""
        return self._write(
            [Token(low, high - 1, heir, self.slots[low].version + 1, high - low) for low, high in self.extents(owner)]
        )

    def report_free(self, start: int, free: int) -> list[Token]:
        """The owner of the token at `start` sets its number of free addresses."""
        old = self.slots[start].token
        return self._write([Token(start, old.last, old.owner, old.version + 1, free)])

    # --- queries ----------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> dict[int, Token]:
        """All tokens by start. Built on each call."""
        return {start: slot.token for start, slot in self.slots.items()}

    def _extent(self, index: int) -> Extent:
        start = self._starts[index]
        end = self.slots[start].end
        # A later token proves that the extent was split there, even if the shortened token has not arrived yet.
        return start, min(end, self._starts[index + 1]) if index + 1 < len(self._starts) else end

    def _covering(self, offset: int) -> tuple[Token | None, Extent]:
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return None, (0, 0)
        extent = self._extent(index)
        return (self.slots[extent[0]].token, extent) if offset < extent[1] else (None, extent)

    def at(self, offset: int) -> Token | None:
        """The token whose extent contains `offset`; None without a ring or in a gap of this view."""
        return self._covering(offset)[0]

    def extent(self, start: int) -> Extent:
        """The extent of the token at `start`, cut at the next token."""
        return self._extent(bisect_left(self._starts, start))

    def extents(self, owner: PeerName) -> list[Extent]:
        """All extents of `owner`, sorted."""
        return [self.extent(start) for start in self._by_owner.get(owner, ())]

    def overlapping(self, start: int, end: int) -> Iterator[tuple[Token, Extent]]:
        """The tokens that overlap `start` to `end` (exclusive), each with the overlapping part of its extent."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        while index < len(self._starts) and self._starts[index] < end:
            low, high = self._extent(index)
            if high > start:
                yield self.slots[low].token, (max(low, start), min(high, end))
            index += 1

    def owned(self, owner: PeerName) -> int:
        """Number of addresses of `owner`."""
        return sum(high - low for low, high in self.extents(owner))

    def owners(self) -> list[PeerName]:
        """The owners of at least one address, sorted."""
        return sorted(self._by_owner)

    def complete(self) -> bool:
        """Whether every address has an owner in this view."""
        end = 0
        for index in range(len(self._starts)):
            low, high = self._extent(index)
            if low != end:
                return False
            end = high
        return end == self.size

    # --- replication ------------------------------------------------------------------------------------------

    def delta(self, tokens: Iterable[Token]) -> RingDelta:
        """A delta with these tokens. Requires a ring."""
        assert self.lineage is not None
        return RingDelta(self.range, self.lineage, tuple(sorted(tokens, key=lambda token: token.start)))

    def whole(self) -> RingDelta:
        """A delta with all tokens. Requires a ring."""
        return self.delta([slot.token for slot in self.slots.values()])

    def vector(self) -> RingVector:
        """See `RingVector`."""
        if self._vector is None:
            known = tuple([self.slots[start].known for start in self._starts])
            self._vector = RingVector(self.range, self.lineage, known)
        return self._vector

    def missing(self, vector: RingVector, named: bool = False) -> RingDelta | None:
        """The tokens that the sender of `vector` lacks or has in another, not newer form; see `Channel`."""
        if self.lineage is None or lineage_rank(vector.lineage) > lineage_rank(self.lineage):
            return None
        if vector.lineage != self.lineage:
            return self.whole()
        theirs = by_key(vector.known)
        # Runs over every token of a large ring; shared values are mostly the very same object.
        lacking = [
            slot.token
            for start, slot in concerned(self.slots, theirs, named)
            if (known := theirs.get(start, _NO_TOKEN)) is not slot.known
            and known != slot.known
            and slot.version >= known[1]
        ]
        return self.delta(lacking) if lacking else None

    def lacking(self, vector: RingVector) -> RingVector | None:
        """The local versions of the tokens that `vector` has in another, not older form; all for a higher lineage."""
        if vector.lineage != self.lineage:
            higher = lineage_rank(vector.lineage) > lineage_rank(self.lineage)
            return RingVector(self.range, self.lineage, ()) if higher else None
        slots = self.slots.get
        named: tuple[Known, ...] = vector.known
        asked: list[Known] = [
            (theirs[0], 0, -1) if mine is None else mine.known
            for theirs in named
            if (mine := slots(theirs[0])) is None
            or (mine.known is not theirs and mine.known != theirs and mine.version <= theirs[1])
        ]
        return RingVector(self.range, self.lineage, tuple(asked)) if asked else None

    def knows(self, delta: RingDelta) -> bool:
        """Whether merging `delta` would change nothing."""
        if delta.lineage != self.lineage:
            return lineage_rank(delta.lineage) < lineage_rank(self.lineage)
        return all(
            (mine := self.slots.get(token.start)) is not None and better(mine.token, token) == mine.token
            for token in delta.tokens
        )

    def check_invariants(self) -> None:
        """Assert: tokens sorted, disjoint and within the range; indexes and digest match the tokens."""
        assert self._starts == sorted(self.slots), "starts are not those of the tokens"
        assert self.lineage is not None or not self.slots, "tokens without a lineage"
        digest = 0 if self.lineage is None else _hash64(_encode((self.range, self.lineage))) or 1
        by_owner: dict[PeerName, tuple[int, ...]] = {}
        end = 0
        for index, start in enumerate(self._starts):
            token = self.slots[start].token
            low, high = self._extent(index)
            assert start == token.start == low and end <= low < high <= self.size, f"{token} is out of place"
            end = high
            digest ^= Slot(token).fingerprint
            by_owner[token.owner] = (*by_owner.get(token.owner, ()), start)
        assert digest == self.digest, "the digest is not that of the tokens"
        assert self._by_owner == by_owner, "the owners' index is not that of the tokens"


def join_deltas(*deltas: RingDelta) -> RingDelta:
    """Combine one or more deltas into one."""
    first = max(deltas, key=lambda delta: lineage_rank(delta.lineage))
    tokens: dict[int, Token] = {}
    for delta in deltas:
        if delta.lineage != first.lineage:
            continue
        for token in delta.tokens:
            mine = tokens.setdefault(token.start, token)
            if mine is not token:
                tokens[token.start] = better(mine, token)
    return RingDelta(first.range, first.lineage, tuple(tokens[start] for start in sorted(tokens)))
