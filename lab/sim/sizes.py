"""How many octets a message has on the wire, without writing those that were counted before. Owns no format.

What most octets of a large world stand in are records, states and tokens, which pass from peer to peer as the same
objects. A MessagePack array is its head and then its elements, so the size of a delta is that of the same delta
without them, and theirs: counted once for each and kept with it. Whatever is no `News` is encoded.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from overlay.ipam.messages import RingDelta
from overlay.mesh.envelopes import News
from overlay.mesh.messages import TopologyDelta
from overlay.mesh.origin_messages import OriginDelta
from overlay.wire import Delta, Message, encode_message

_encode = msgspec.msgpack.Encoder().encode
_TOPOLOGY, _ORIGINS = TopologyDelta(()), OriginDelta(())
_KEY = "octets"
"""Under which the size of a part is kept with it (they all have a `__dict__` for what follows from them)."""


def size(message: Message) -> int:
    """`len(encode_message(message))`."""
    if type(message) is not News:
        return len(encode_message(message))
    hollow = []
    octets = 0
    for name, delta in message.items:
        empty, parts = _taken_apart(delta)
        hollow.append((name, empty))
        octets += _head(len(parts)) - 1 + _sum(parts)  # the head of the empty array is one octet
    return octets + len(encode_message(News(tuple(hollow), message.answer)))


def _taken_apart(delta: Delta) -> tuple[Delta, Sequence[Any]]:
    """The same delta without its parts, and these."""
    if isinstance(delta, TopologyDelta):
        return _TOPOLOGY, delta.records
    if isinstance(delta, OriginDelta):
        return _ORIGINS, delta.states
    return RingDelta(delta.range, delta.lineage, ()), delta.tokens


def _sum(parts: Sequence[Any]) -> int:
    total = 0
    for part in parts:
        kept = part.__dict__
        if _KEY not in kept:
            kept[_KEY] = len(_encode(part))
        total += kept[_KEY]
    return total


def _head(count: int) -> int:
    """Octets of the head of an array of so many elements."""
    return 1 if count < 16 else 3 if count < 1 << 16 else 5
