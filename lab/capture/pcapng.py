"""pcapng, Wireshark's format for packets (draft-ietf-opsawg-pcapng): only the blocks that a lab needs.

Owns the bytes. Pure: text and packets in, blocks out, and back. Times are integer nanoseconds since 1970.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = [
    "ETHERNET",
    "HEAD",
    "INCOMING",
    "INTERFACE",
    "LARGEST",
    "OUTGOING",
    "PACKET",
    "SECTION",
    "STATISTICS",
    "BlockCutter",
    "NotPcapng",
    "comment_of",
    "interface",
    "interface_name",
    "losses",
    "number_of",
    "on_interface",
    "packet",
    "section",
    "statistics",
    "time_of",
    "whole_blocks",
]

ETHERNET: Final = 1
"""LINKTYPE_ETHERNET."""
INCOMING: Final = 1
OUTGOING: Final = 2
"""`epb_flags`: the direction."""
SECTION: Final = 0x0A0D0D0A
INTERFACE: Final = 1
STATISTICS: Final = 5
PACKET: Final = 6
"""Block types."""
HEAD: Final = 8
"""Bytes of a block's type and length."""
LARGEST: Final = 1 << 20
"""Maximum bytes of a block: a packet that a kernel merged from many, with its comments."""
_MAGIC: Final = 0x1A2B3C4D
_COMMENT: Final = 1
_NAME: Final = 2
_FLAGS: Final = 2
_APPLICATION: Final = 4
_RESOLUTION: Final = 9
_RECEIVED: Final = 4
_DROPPED: Final = 5
_MOST_TEXT: Final = 65_000

Option = tuple[int, bytes]


def section(application: str, comment: str = "") -> bytes:
    """The beginning of a file: its writer, and a comment on the whole file."""
    options: list[Option] = [(_COMMENT, _text(comment))] if comment else []
    return _block(SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1), [*options, (_APPLICATION, _text(application))])


def interface(name: str, snap: int = 0, comment: str = "") -> bytes:
    """Add an interface; they are numbered from 0 in file order. `snap` 0: packets are complete."""
    options: list[Option] = [(_COMMENT, _text(comment))] if comment else []
    options += [(_NAME, _text(name)), (_RESOLUTION, b"\x09")]
    return _block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, snap), options)


def packet(number: int, t: int, data: bytes, length: int = 0, flags: int = 0, comments: Sequence[str] = ()) -> bytes:
    """A frame seen on an interface at a time; `length` is its full length if `data` is truncated."""
    options: list[Option] = [(_COMMENT, _text(comment)) for comment in comments]
    options += [(_FLAGS, struct.pack("<I", flags))] if flags else []
    head = struct.pack("<IIIII", number, t >> 32, t & 0xFFFFFFFF, len(data), length or len(data))
    return _block(PACKET, head + _padded(data), options)


def statistics(number: int, t: int, received: int, dropped: int, comment: str = "") -> bytes:
    """The kernel's counters of an interface at the end: packets delivered, and packets dropped by full buffers."""
    options: list[Option] = [(_COMMENT, _text(comment))] if comment else []
    options += [(_RECEIVED, struct.pack("<Q", received)), (_DROPPED, struct.pack("<Q", dropped))]
    return _block(STATISTICS, struct.pack("<III", number, t >> 32, t & 0xFFFFFFFF), options)


# Reading the output of another process of the lab


class NotPcapng(ValueError):
    """These bytes are not blocks that a lab writes."""


class BlockCutter:
    """Splits a stream of bytes into whole blocks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(type, block) of the blocks that are complete so far. Raises `NotPcapng`."""
        data = self._rest + data
        at = 0
        try:
            while len(data) - at >= HEAD:
                kind, length = struct.unpack_from("<II", data, at)
                if length < 12 or length % 4 or length > LARGEST:
                    raise NotPcapng(f"a block of {length} bytes")
                if len(data) - at < length:
                    break
                if data[at + length - 4 : at + length] != data[at + 4 : at + HEAD]:
                    raise NotPcapng("a block with two lengths")
                yield kind, data[at : at + length]
                at += length
        finally:
            self._rest = data[at:]


def whole_blocks(data: bytes) -> int:
    """Number of bytes of a file that are whole blocks; the rest was cut off, for example by a kill."""
    at = 0
    while len(data) - at >= 12:
        (length,) = struct.unpack_from("<I", data, at + 4)
        if length < 12 or length % 4 or at + length > len(data):
            break
        at += length
    return at


def on_interface(block: bytes, number: int) -> bytes:
    """Renumber the interface of a packet or statistics block."""
    return block[:HEAD] + struct.pack("<I", number) + block[HEAD + 4 :]


def number_of(block: bytes) -> int:
    """The interface number of a packet or statistics block."""
    _need(block, HEAD + 12)
    return int(struct.unpack_from("<I", block, HEAD)[0])


def time_of(block: bytes) -> int:
    """The time of a packet."""
    _need(block, HEAD + 20)
    high, low = struct.unpack_from("<II", block, HEAD + 4)
    return int(high << 32 | low)


def interface_name(block: bytes) -> str:
    """The name of an interface."""
    return _option(block, 16, _NAME).decode("utf-8", "replace")


def comment_of(block: bytes) -> str:
    """The comment of a section header."""
    return _option(block, 24, _COMMENT).decode("utf-8", "replace")


def losses(block: bytes) -> int:
    """The number of packets that the kernel dropped, from a statistics block."""
    value = _option(block, 20, _DROPPED)
    return int.from_bytes(value[:8], "little")


def _option(block: bytes, at: int, wanted: int) -> bytes:
    """The value of the first option with this code, searching from `at`; empty if there is none."""
    while at + 4 <= len(block) - 4:
        code, length = struct.unpack_from("<HH", block, at)
        if code == wanted:
            return block[at + 4 : at + 4 + length]
        if code == 0:
            break
        at += 4 + length + -length % 4
    return b""


def _need(block: bytes, length: int) -> None:
    if len(block) < length + 4:
        raise NotPcapng(f"a block of {len(block)} bytes")


def _block(kind: int, body: bytes, options: Sequence[Option]) -> bytes:
    text = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    text += struct.pack("<HH", 0, 0) if options else b""
    total = struct.pack("<I", 12 + len(body) + len(text))
    return struct.pack("<I", kind) + total + body + text + total


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(words: str) -> bytes:
    return words.encode("utf-8", "replace")[:_MOST_TEXT]
