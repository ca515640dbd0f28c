"""Frames with the kernel's metadata: received through the relay's sink, sent out of ports, and bit flips.

Owns the packet sockets and the layout of their control data. A frame keeps the header that the kernel puts before it
(PACKET_VNET_HDR), because the program that forwards the frame completes a checksum that the kernel left to the network
card. Knows nothing of links.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

from overlay.datapath import inner
from overlay.datapath.inner import ETHERNET
from overlay.runtime.recvmmsg import ReceiveBuffers

__all__ = ["VNET", "FrameTap", "Port", "flipped"]

VNET: Final = inner.VNET.size
"""Bytes of `struct virtio_net_hdr` in front of each frame."""
_ALL: Final = 3
_SOL_PACKET, _STATISTICS, _VNET_HDR, _QDISC_BYPASS = 263, 6, 15, 20
_TIMESTAMPNS, _RCVBUFFORCE, _RCVMARK = 35, 33, 75
_BUFFER: Final = 32 << 20
_CONTROL: Final = 64
_NOTES: Final = struct.Struct("@8xiiqq8xiiI12x")
"""Control data: level and type of the time stamp, seconds, nanoseconds; level and type of the mark, the mark."""
_SOCKET, _MARK = int(socket.SOL_SOCKET), int(socket.SO_MARK)
_OLDEST: Final = 200_000_000
"""Maximum nanoseconds that a frame waits for this process; an older time stamp means that the clock was set."""


MarkedFrame = tuple[int, int, int, bytes]
"""Arrival time (nanoseconds of the monotonic clock), mark, bytes of the IP packet, and the frame with the kernel's
header before it. A plain tuple, because there is one for each packet."""


class FrameTap(ReceiveBuffers):
    """Reads the frames steered to a device, each with its mark and arrival time."""

    def __init__(self, device: str, count: int = 64) -> None:
        super().__init__(count, VNET + ETHERNET + 65_535, control=_CONTROL)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for option in (_RCVBUFFORCE, socket.SO_RCVBUF):
            with contextlib.suppress(PermissionError):  # may exceed the machine's limit
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
                break
        self._socket.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _RCVMARK, 1)
        self._socket.bind((device, _ALL))
        self.fd = self._socket.fileno()

    def frames(self) -> Iterator[MarkedFrame]:
        """The frames that have arrived, at most as many as there are buffers; empty if there are none."""
        number = self.receive(self.fd)
        if not number:
            return
        view, stride, start = self._view, self._stride, 0
        now = time.monotonic_ns()
        to_monotonic = now - time.time_ns()
        earliest = now - _OLDEST
        notes = _NOTES.iter_unpack(memoryview(self._control)[: number * _CONTROL])
        lengths = self._filled(number)
        for (_, _, length), (level, kind, seconds, rest, above, sort, mark) in zip(lengths, notes, strict=True):
            at = seconds * 1_000_000_000 + rest + to_monotonic
            if not earliest < at <= now or kind != _TIMESTAMPNS or level != _SOCKET:
                at = now
            if sort == _MARK and above == _SOCKET:
                yield at, mark, length - VNET - ETHERNET, bytes(view[start : start + length])
            start += stride

    def overruns(self) -> int:
        """Frames dropped because of a full buffer since the last call."""
        _, dropped = struct.unpack("@II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        return int(dropped)


class Port:
    """Sends frames out of a device, bypassing its queues and filters."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Bind to the device that currently has this name; it may not exist."""
        self.close()
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            found.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
            found.bind((self.name, 0))
            found.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
            found.setblocking(False)
        except OSError:
            found.close()
            return
        self._socket = found

    def close(self) -> None:
        """Stop sending."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, frame: bytes) -> bool:
        """Send a frame; returns False if it failed, because the device may be gone with its host."""
        if self._socket is None:
            return False
        for _ in range(2):  # the first error may be about a carrier that was lost meanwhile
            with contextlib.suppress(OSError):
                self._socket.send(frame)
                return True
        return False


def flipped(frame: bytes, drawn: int) -> bytes:
    """The frame with one bit of its IP packet flipped, selected by a random number, and its checksum unchanged.

    A checksum that the kernel has not computed yet is finished first, because the flip would otherwise not be detected.
    """
    flags, _, _, _, start, offset = inner.VNET.unpack_from(frame)
    if flags & inner.NEEDS_CSUM:
        with contextlib.suppress(IndexError):  # a container may send a frame without such an offset
            frame = bytes(VNET) + inner.completed(frame[VNET:], start, offset)
    data, first = bytearray(frame), VNET + ETHERNET
    if len(data) > first:
        bit = drawn % ((len(data) - first) * 8)
        data[first + bit // 8] ^= 1 << bit % 8
    return bytes(data)
