"""Rows of unencrypted tunnel packets, equal except for counter and content: splits and joins one buffer.

The hot path of relays and of bulk traffic. `struct` handles a row as a whole, so the interpreter does no work per
packet. The caller checks the prefix and whether the counters are new. Must not know sessions.
"""

from functools import lru_cache
from struct import Struct as Layout
from typing import Final

from overlay.datapath.sleeve import HEADER, PREFIX

MOST: Final = 128
"""Maximum packets of a row that is split: as many as the kernel joins (UDP_MAX_SEGMENTS)."""
_COUNTER: Final = HEADER - PREFIX
_PER_PACKET: Final = 3


@lru_cache(maxsize=256)
def _layout(count: int, size: int) -> Layout:
    """Layout of `count` packets with contents of `size` bytes: prefix, counter and content of each."""
    return Layout(">" + f"{PREFIX}sQ{size}s" * count)


def parted(data: bytes, segment: int) -> list[bytes] | None:
    """The contents of packets of `segment` bytes each (the last may be shorter, but has a full header).

    None if a prefix differs from the first, if the counters are not consecutive, or if there are more than `MOST`
    packets. `segment` is at least the size of a header.
    """
    count, rest = divmod(len(data), segment)
    if count == 1 and not rest:
        return [data[HEADER:]]
    if count > MOST:
        return None
    fields = _layout(count, segment - HEADER).unpack_from(data)
    prefix, first = fields[0], fields[1]
    counters = tuple(range(first, first + count))
    if fields[0::_PER_PACKET] != (prefix,) * count or fields[1::_PER_PACKET] != counters:
        return None
    contents = list(fields[2::_PER_PACKET])
    if rest:
        last = len(data) - rest
        if data[last : last + HEADER] != prefix + (first + count).to_bytes(_COUNTER, "big"):
            return None
        contents.append(data[last + HEADER :])
    return contents


def joined(prefix: bytes, first: int, contents: list[bytes]) -> bytes:
    """Packets with this prefix, counters from `first` on and these contents, of which the last may be shorter."""
    count = len(contents)
    if count == 1:
        return prefix + first.to_bytes(_COUNTER, "big") + contents[0]
    size = len(contents[0])
    fields: list[bytes | int] = [prefix] * (_PER_PACKET * count)
    fields[1::_PER_PACKET] = range(first, first + count)
    fields[2::_PER_PACKET] = contents
    row = _layout(count, size).pack(*fields)
    padding = size - len(contents[-1])
    return row[:-padding] if padding else row
