"""Sends the replies to many packets in one system call: sendmmsg(2), which Python's sockets do not have.

Owns the buffers and the C structures (64-bit Linux). A reply goes to the sender of the packet that `ReceiveBuffers`
holds in a slot, so no address is decoded. Knows nothing of what packets mean.
"""

import ctypes
import mmap
import struct
from typing import Final

from overlay.runtime.recvmmsg import NAME, ReceiveBuffers

__all__ = ["ReplyBuffers"]

_DONTWAIT: Final = 0x40
_HEADER: Final = struct.Struct("@PIPNPNi4xI4x")
"""`struct mmsghdr`, as in `recvmmsg`."""
_IOVEC: Final = struct.Struct("@PN")
_WORDS: Final = _HEADER.size // 8

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]


class ReplyBuffers:
    """Room for one reply of up to `size` bytes to each slot of `received`."""

    def __init__(self, received: ReceiveBuffers, size: int) -> None:
        self.size = size
        self._names = received.names
        self._data = mmap.mmap(-1, received.count * size)  # only written pages use memory
        headers = bytearray(received.count * _HEADER.size)
        iovecs = bytearray(received.count * _IOVEC.size)
        data, vectors, self._first = (
            ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (self._data, iovecs, headers)
        )
        for place in range(received.count):
            _IOVEC.pack_into(iovecs, place * _IOVEC.size, data + place * size, 0)
            # The kernel takes the longer name of IPv6 for IPv4 too.
            vector = vectors + place * _IOVEC.size
            _HEADER.pack_into(headers, place * _HEADER.size, self._names, NAME, vector, 1, 0, 0, 0, 0)
        self._targets = memoryview(headers).cast("Q")
        self._lengths = memoryview(iovecs).cast("Q")
        self._count = 0

    def add(self, slot: int, reply: bytes) -> None:
        """Send `reply` with the next `send`, to the sender of the packet in `slot`."""
        place, length = self._count, len(reply)
        at = place * self.size
        self._data[at : at + length] = reply
        self._lengths[2 * place + 1] = length
        self._targets[_WORDS * place] = self._names + slot * NAME
        self._count = place + 1

    def send(self, descriptor: int) -> None:
        """Send all replies. One that the kernel does not accept at once is lost, as on a wire."""
        done, count, self._count = 0, self._count, 0
        while done < count:
            sent = _sendmmsg(descriptor, self._first + done * _HEADER.size, count - done, _DONTWAIT)
            done += max(sent, 1)
