"""Probes of the kernel's path: Ethernet frames that go through the VXLAN device from one bridge to another.

Owns their layout (`docs/wire.md`, "Probes"). They have the local experimental EtherType of IEEE 802, which no
container's stack reads, and go to the MAC of the other side's bridge. Must not know sockets.
"""

from typing import Final

from msgspec import Struct

from overlay.config import PeerName
from overlay.datapath.vxlan import bridge_mac
from overlay.errors import RemoteError

ETHERTYPE: Final = 0x88B5
MAGIC: Final = b"ovp\x01"
_FIXED: Final = 14 + 4 + 1 + 8 + 2 + 1
_MAX_NAME: Final = 64


class FastProbe(Struct, frozen=True):
    """A probe of `size` bytes (the whole frame), or the reply to one."""

    sender: PeerName
    nonce: int
    size: int
    answer: bool


def encode(probe: FastProbe, receiver: PeerName) -> bytes:
    """The frame of a probe; a probe is padded to its size, a reply is not."""
    name = probe.sender.encode()
    frame = bytes.fromhex((bridge_mac(receiver) + bridge_mac(probe.sender)).replace(":", ""))
    frame += ETHERTYPE.to_bytes(2, "big") + MAGIC + bytes((probe.answer,)) + probe.nonce.to_bytes(8, "big")
    frame += probe.size.to_bytes(2, "big") + bytes((len(name),)) + name
    return frame if probe.answer else frame.ljust(probe.size, b"\0")


def decode(frame: bytes) -> FastProbe:
    """The reverse of `encode`. Raises `RemoteError` for anything else."""
    if len(frame) < _FIXED or frame[12:18] != ETHERTYPE.to_bytes(2, "big") + MAGIC or frame[18] > 1:
        raise RemoteError(f"frame of {len(frame)} bytes is no probe")
    length = frame[29]
    name = frame[30 : 30 + length]
    if not 0 < length <= _MAX_NAME or len(name) != length:
        raise RemoteError(f"probe with a name of {length} bytes, expected 1 to {_MAX_NAME}")
    try:
        sender = name.decode()
    except UnicodeDecodeError:
        raise RemoteError("probe whose sender's name is no text") from None
    answer = frame[18] == 1
    size = int.from_bytes(frame[27:29], "big")
    if not answer and size != len(frame):
        raise RemoteError(f"probe of {len(frame)} bytes that says it has {size}")
    return FastProbe(sender, int.from_bytes(frame[19:27], "big"), size, answer)
