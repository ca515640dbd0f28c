"""pcapng, the format of packets that Wireshark writes (draft-ietf-opsawg-pcapng): just the blocks that a lab needs.

Owns the bytes. Pure: text and packets in, blocks out. Times are integer nanoseconds since 1970.
"""

import struct
from collections.abc import Sequence
from typing import Final

__all__ = ["ETHERNET", "INCOMING", "OUTGOING", "interface", "packet", "section"]

ETHERNET: Final = 1
"""LINKTYPE_ETHERNET."""
INCOMING: Final = 1
OUTGOING: Final = 2
"""`epb_flags`: the direction."""
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_MAGIC: Final = 0x1A2B3C4D
_COMMENT: Final = 1
_NAME: Final = 2
_FLAGS: Final = 2
_APPLICATION: Final = 4
_RESOLUTION: Final = 9
_MOST_TEXT: Final = 65_000

Option = tuple[int, bytes]


def section(application: str, comment: str = "") -> bytes:
    """The beginning of a file: who has written it, and what there is to say of all of it."""
    options: list[Option] = [(_COMMENT, _text(comment))] if comment else []
    return _block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1), [*options, (_APPLICATION, _text(application))])


def interface(name: str, snap: int = 0, comment: str = "") -> bytes:
    """One more interface, numbered from 0 in the order in which they come. `snap` 0: packets are whole."""
    options: list[Option] = [(_COMMENT, _text(comment))] if comment else []
    options += [(_NAME, _text(name)), (_RESOLUTION, b"\x09")]
    return _block(_INTERFACE, struct.pack("<HHI", ETHERNET, 0, snap), options)


def packet(number: int, t: int, data: bytes, length: int = 0, flags: int = 0, comments: Sequence[str] = ()) -> bytes:
    """A frame seen on an interface at a time; `length` is its own if `data` is only its beginning."""
    options: list[Option] = [(_COMMENT, _text(comment)) for comment in comments]
    options += [(_FLAGS, struct.pack("<I", flags))] if flags else []
    head = struct.pack("<IIIII", number, t >> 32, t & 0xFFFFFFFF, len(data), length or len(data))
    return _block(_PACKET, head + _padded(data), options)


def _block(kind: int, body: bytes, options: Sequence[Option]) -> bytes:
    text = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    text += struct.pack("<HH", 0, 0) if options else b""
    total = struct.pack("<I", 12 + len(body) + len(text))
    return struct.pack("<I", kind) + total + body + text + total


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(words: str) -> bytes:
    return words.encode("utf-8", "replace")[:_MOST_TEXT]
