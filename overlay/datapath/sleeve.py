"""The userspace tunnel's packet: 24 bytes of header, then one Ethernet frame. `docs/wire.md`, "Tunnel packets".

Owns the layout, the kinds and flags, and the short ids of peers. One UDP datagram is one packet and carries one frame,
so that a lost datagram costs one packet of a container; small frames sent at the same time share a packet. Must not
know sessions, routes or sockets.
"""

from enum import IntEnum, IntFlag
from hashlib import blake2b
from typing import Final

from overlay.config import PeerName

HEADER: Final = 24
PREFIX: Final = 16
"""Bytes before the counter. In a sealed packet they are authenticated as well as the content."""
TTL: Final = 64
"""Hop limit of a packet."""
PROBE_BODY: Final = 10
"""A probe's nonce (8 bytes) and size (2); the rest is padding."""


class DatagramKind(IntEnum):
    """The low two bits of the first byte."""

    UNICAST = 0
    """A frame for a container of the peer in `destination`."""
    FLOOD = 1
    """A frame for every container; `destination` is the flood's number at `source`."""
    PROBE = 2
    """Asks the neighbour for a reply, to test whether a packet of this size arrives."""
    ANSWER = 3


class Flag(IntFlag):
    """The other bits of the first byte."""

    PARTIAL = 0x04
    """The side that delivers the frame must complete its transport checksum."""
    PASS_ON = 0x08
    """Of a flood: the receiver gets it by another path too, and only passes this one on."""
    PACKED = 0x20
    """Of a unicast: several frames, each preceded by its length (`bundled`)."""
    SEALED = 0x40
    TUNNEL = 0x80
    """Always set: tells a tunnel packet from a control datagram, which starts with an ASCII letter."""


_ID: Final = 5
ID_BITS: Final = 8 * _ID


def peer_id(name: PeerName) -> bytes:
    """The short id of a peer: 40 bits of BLAKE2b. Among 10,000 peers the chance of a collision is 1 in 22,000."""
    return blake2b(name.encode(), digest_size=_ID).digest()


def prefix(kind: int, ttl: int, tag: bytes, source: bytes, destination: bytes) -> bytes:
    """The first 16 bytes: kind and flags (1), ttl (1), tag of the connection (4), source (5), destination (5)."""
    return bytes((kind | 0x80, ttl)) + tag + source + destination


def connection_tag(connection: int) -> bytes:
    """The tag of a control connection: it identifies the sender, whatever its current address."""
    return (connection & 0xFFFFFFFF).to_bytes(4, "big")


BUNDLED: Final = 2
"""Bytes before each frame of a packet with several: its length, and PARTIAL in the top bit."""
_BUNDLED_PARTIAL: Final = 0x8000


def bundled(frames: list[tuple[bytes, bool]]) -> bytes:
    """The content of a packet with these frames (and whether each frame's checksum must be completed)."""
    return b"".join(
        [
            part
            for frame, partial in frames
            for part in ((len(frame) | (_BUNDLED_PARTIAL if partial else 0)).to_bytes(BUNDLED, "big"), frame)
        ]
    )


def unbundled(content: bytes) -> list[tuple[bytes, bool]] | None:
    """The reverse of `bundled`; None for anything else."""
    frames, at, end = [], 0, len(content)
    while at < end:
        word = int.from_bytes(content[at : at + BUNDLED], "big")
        length = word & ~_BUNDLED_PARTIAL
        at += BUNDLED
        if not length or at + length > end:
            return None
        frames.append((content[at : at + length], word & _BUNDLED_PARTIAL != 0))
        at += length
    return frames
