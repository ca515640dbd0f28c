"""Size of a message on the wire in bytes, without encoding parts that were measured before. Owns no format.

Most bytes of a large world are in records, states and tokens, which pass from peer to peer as the same objects. A
MessagePack array is a head followed by its elements, so the size of a delta is its size without the elements plus the
sizes of the elements, each measured once. Messages that are not `News` are encoded.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from overlay.replicated.interned import derived_each
from overlay.wire.codec import Delta, Message, encode_message
from overlay.wire.envelopes import News
from overlay.wire.origins import OriginDelta
from overlay.wire.policy import PolicyDelta
from overlay.wire.ring import Lineage, RingDelta
from overlay.wire.topology import TopologyDelta

_encode = msgspec.msgpack.Encoder().encode
_NEWS = {answer: len(encode_message(News((), answer))) for answer in (False, True)}
_TOPOLOGY, _ORIGINS = len(_encode(TopologyDelta(()))), len(_encode(OriginDelta(())))


def size(message: Message) -> int:
    """`len(encode_message(message))`."""
    if type(message) is not News:
        return len(encode_message(message))
    length = _NEWS[message.answer] + _head(len(message.items)) - 1  # the head of an empty array is one byte
    for name, delta in message.items:
        length += 1 + _name(name) + _delta(delta)
    return length


def _delta(delta: Delta) -> int:
    """Size of its parts plus the size of the same delta without them."""
    parts: Sequence[Any]
    if isinstance(delta, TopologyDelta):
        parts, empty = delta.records, _TOPOLOGY
    elif isinstance(delta, OriginDelta):
        parts, empty = delta.states, _ORIGINS
    elif isinstance(delta, PolicyDelta):
        return len(_encode(delta))
    else:
        parts, empty = delta.tokens, _ring(delta.range, delta.lineage)
    return empty + _head(len(parts)) - 1 + sum(derived_each(parts, "size", _encoded_size))


@lru_cache(maxsize=64)
def _name(name: str) -> int:
    return len(_encode(name))


@lru_cache(maxsize=64)
def _ring(range_text: str, lineage: Lineage) -> int:
    return len(_encode(RingDelta(range_text, lineage, ())))


def _encoded_size(part: Any) -> int:
    return len(_encode(part))


def _head(count: int) -> int:
    """Size of the head of an array with `count` elements."""
    return 1 if count < 16 else 3 if count < 1 << 16 else 5
