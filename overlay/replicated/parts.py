"""Cuts deltas that do not fit into one message into parts, each of them a valid partial state. Pure.

Owns the sizes, and where a delta may be cut: between records of the topology, between states of origins, and inside a
state that is too large by itself, but not below its floor. The ring and the policies are bounded by other limits and
are never cut. `gossip` decides when a part is sent.
"""

from itertools import pairwise
from typing import Any, Final

import msgspec

from overlay.replicated.interned import derived_each
from overlay.wire.codec import MAX_MESSAGE, Delta
from overlay.wire.origins import OriginDelta, OriginState
from overlay.wire.topology import PeerRecord, TopologyDelta

__all__ = ["MOST_PUSHED", "PART", "Place", "part_of", "size"]

PART: Final = 4 << 20
"""Bytes of a part; one state of an origin may be larger."""
WHOLE: Final = MAX_MESSAGE * 3 // 4
"""Bytes of a state that is never cut: so large the names of one host may become. While a peer has only the first part
of a whole state, it lacks what is in the others."""
LARGEST: Final = MAX_MESSAGE - (64 << 10)
"""Bytes of a piece that fits into a message, with all that surrounds it."""
MOST_PUSHED: Final = MAX_MESSAGE // 2
"""Bytes of changes that are pushed in one message; of more the neighbour is told a digest, and asks for parts."""

Place = tuple[str, int]
"""Where a piece stands in its delta: pieces ascend by it."""
_Piece = OriginState | PeerRecord
_encode = msgspec.msgpack.Encoder().encode


def size(delta: Delta) -> int:
    """Bytes of the pieces of a delta in a message; 0 for one that is never cut."""
    return sum(derived_each(_pieces(delta), "size", _encoded_size))


def part_of(delta: Delta, after: Place | None) -> tuple[Delta | None, Place | None, tuple[str, ...]]:
    """(the next part, its last place if more follows, the names whose piece is too large for any message).

    `after`: the last place of the part before.
    """
    pieces = _pieces(delta)
    if not pieces:
        return (delta if after is None else None), None, ()
    sizes: list[int] = derived_each(pieces, "size", _encoded_size)
    if after is None and sum(sizes) <= PART:
        return delta, None, ()
    chosen: list[Any] = []
    too_large: list[str] = []
    total = 0
    for whole, whole_size in zip(pieces, sizes, strict=True):
        for piece in (whole,) if whole_size <= WHOLE else _cut(whole):
            if after is not None and _place(piece) <= after:
                continue
            length = whole_size if piece is whole else _encoded_size(piece)
            if length > LARGEST:
                too_large.append(_place(piece)[0])
            elif chosen and total + length > PART:
                return _delta(chosen), _place(chosen[-1]), tuple(too_large)
            else:
                chosen.append(piece)
                total += length
    return (_delta(chosen) if chosen else None), None, tuple(too_large)


def _pieces(delta: Delta) -> tuple[Any, ...]:
    if isinstance(delta, OriginDelta):
        return delta.states
    return delta.records if isinstance(delta, TopologyDelta) else ()


def _delta(pieces: list[Any]) -> Delta:
    return OriginDelta(tuple(pieces)) if isinstance(pieces[0], OriginState) else TopologyDelta(tuple(pieces))


def _place(piece: _Piece) -> Place:
    return (piece.origin, piece.version) if isinstance(piece, OriginState) else (piece.name, 0)


def _cut(whole: _Piece) -> list[_Piece]:
    """The states of an origin that say the same as this one in several steps.

    Who takes the first of a whole state (since 0) drops what is not in it, up to its version. That is right from the
    floor on: all tombstones above it are still there.
    """
    if not isinstance(whole, OriginState):
        return [whole]
    bounds = [whole.since]
    total = 0
    last = whole.since
    for entry in whole.entries:
        length = _encoded_size(entry)
        if total and total + length > PART and last >= whole.floor and last > bounds[-1]:
            bounds.append(last)
            total = 0
        total += length
        last = entry.version
    bounds.append(whole.version)
    found: list[_Piece] = []
    entries = iter(whole.entries)
    held = next(entries, None)
    for since, version in pairwise(bounds):
        inside = []
        while held is not None and held.version <= version:
            inside.append(held)
            held = next(entries, None)
        floor = whole.floor if since == 0 else 0
        found.append(OriginState(whole.origin, whole.uid, version, since, floor, tuple(inside)))
    return found


def _encoded_size(part: Any) -> int:
    return len(_encode(part))
