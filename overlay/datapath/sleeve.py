"""The userspace tunnel's packet: 24 bytes of header, then one Ethernet frame. `docs/wire.md`, "Tunnel packets".

Owns the layout, the kinds and flags, and the short numbers that stand for peers. One UDP datagram is one packet and
carries one frame, so that a lost datagram costs one packet of a container; small frames that come at the same time
share one. Must not know sessions, routes or sockets.
"""

from enum import IntEnum, IntFlag
from hashlib import blake2b
from typing import Final

from overlay.config import PeerName

HEADER: Final = 24
PREFIX: Final = 16
"""Bytes before the counter: what a sealed packet is authenticated with besides its content."""
TTL: Final = 64
"""Hops that a packet may take."""
PROBE_BODY: Final = 10
"""A probe's nonce (8 bytes) and size (2); what follows is padding."""


class DatagramKind(IntEnum):
    """The low two bits of the first byte."""

    UNICAST = 0
    """A frame for a container of the peer in `destination`."""
    FLOOD = 1
    """A frame for every container; `destination` is its number among those of `source`."""
    PROBE = 2
    """Asks the neighbour for an answer: does a packet of this size arrive?"""
    ANSWER = 3


class Flag(IntFlag):
    """The other bits of the first byte."""

    PARTIAL = 0x04
    """The transport checksum of the frame is left to be completed by the side that delivers it."""
    PASS_ON = 0x08
    """Of a flood: the receiver has had it by another path and only passes it on."""
    PACKED = 0x20
    """Of a unicast: several frames, each behind its length (`bundled`)."""
    SEALED = 0x40
    TUNNEL = 0x80
    """Always set: tells a tunnel packet from a control datagram, which begins with an ASCII letter."""


_ID: Final = 5
ID_BITS: Final = 8 * _ID


def peer_id(name: PeerName) -> bytes:
    """What stands for a peer: 40 bits of BLAKE2b. Among 10,000 peers two are alike with a chance of 1 in 22,000."""
    return blake2b(name.encode(), digest_size=_ID).digest()


def prefix(kind: int, ttl: int, tag: bytes, source: bytes, destination: bytes) -> bytes:
    """The first 16 bytes: kind and flags (1), ttl (1), tag of the connection (4), source (5), destination (5)."""
    return bytes((kind | 0x80, ttl)) + tag + source + destination


def connection_tag(connection: int) -> bytes:
    """The tag of a control connection: by it the receiver knows the sender, whatever its address is now."""
    return (connection & 0xFFFFFFFF).to_bytes(4, "big")


BUNDLED: Final = 2
"""Bytes before each frame of a packet that holds several: its length, and in the top bit what else is PARTIAL."""
_BUNDLED_PARTIAL: Final = 0x8000


def bundled(frames: list[tuple[bytes, bool]]) -> bytes:
    """The content of a packet with these frames (and whether each one's checksum is to be completed)."""
    return b"".join(
        [
            part
            for frame, partial in frames
            for part in ((len(frame) | (_BUNDLED_PARTIAL if partial else 0)).to_bytes(BUNDLED, "big"), frame)
        ]
    )


def unbundled(content: bytes) -> list[tuple[bytes, bool]] | None:
    """What `bundled` made; None for anything else."""
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
