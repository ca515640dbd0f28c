"""Receives many packets in one system call: recvmmsg(2), which Python's sockets do not have.

Owns the buffers and the C structures (64-bit Linux). Consecutive datagrams of equal length from one sender, and those
that the kernel joined (UDP_GRO), are returned as one. Knows nothing of what packets mean.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["NAME", "ReceiveBuffers"]

Source = tuple[str, int]
"""Host and port; ("", 0) for a packet socket."""

_DONTWAIT: Final = 0x40
_HEADER: Final = struct.Struct("@PIPNPNi4xI4x")
"""`struct mmsghdr`: name and its length, iovecs and their number, control and its length, flags, bytes received."""
_IOVEC: Final = struct.Struct("@PN")
_RESULT: Final = struct.Struct("@8xI28xN8xI4x")
"""The fields of it that the call writes: lengths of the name and of the control data, bytes received."""
assert _HEADER.size == _RESULT.size == 64, "the layout of 64-bit Linux"
_NAMED: Final = struct.Struct("@8xI")
NAME: Final = 28
"""`sizeof(struct sockaddr_in6)`."""
_CONTROL: Final = 32
_GRO: Final = struct.Struct("@NiiI")
"""`struct cmsghdr`, followed by the length of the segments."""
_SOL_UDP, _UDP_GRO = 17, 104
_MOST_JOINED: Final = 65_000
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt(3)."""
_KEPT: Final = 4 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]


def keep_heap() -> None:
    """Have glibc keep some MB of freed memory. Without this it returns the memory of each super-packet at the end of
    the heap to the kernel, and gets it again page by page, zeroed. No effect with other C libraries."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        for what, value in ((_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _KEPT // 4), (_M_MMAP_THRESHOLD, _KEPT // 4)):
            mallopt(what, value)


class ReceiveBuffers:
    """Room for `count` packets of up to `size` bytes each, with `control` bytes of control data, shared by all sockets
    of one kind."""

    def __init__(self, count: int, size: int, control: int = _CONTROL) -> None:
        self.count = count
        # A stride that is not a power of two, so that packets do not share the same lines of the processor's caches.
        self._stride = size + 25 * 64
        self._data = mmap.mmap(-1, count * self._stride)  # only written pages use memory
        self._names = bytearray(count * NAME)
        self._control = bytearray(count * control)
        self._iovecs = bytearray(count * _IOVEC.size)
        self._headers = bytearray(count * _HEADER.size)
        places = [
            ctypes.addressof(ctypes.c_char.from_buffer(each))
            for each in (self._data, self._names, self._control, self._iovecs, self._headers)
        ]
        data, names, notes, iovecs, self._first = places
        self.names = names
        """The address of the senders' names: `NAME` bytes for each slot."""
        for slot in range(count):
            _IOVEC.pack_into(self._iovecs, slot * _IOVEC.size, data + slot * self._stride, size)
            _HEADER.pack_into(
                self._headers, slot * _HEADER.size, names + slot * NAME, NAME, iovecs + slot * _IOVEC.size, 1,
                notes + slot * control, control, 0, 0,
            )  # fmt: skip
        self._fresh = bytes(self._headers)
        self.headers = self._first
        """Where the array of `struct mmsghdr` begins, for compiled code."""
        self.size = size
        self.used = 0
        """Slots that the last call filled. Code that fills slots in another way sets it."""
        self._view = memoryview(self._data)
        self._sources: dict[bytes, Source] = {}

    def receive(self, descriptor: int, most: int = 1024) -> int:
        """Receive up to `count` packets, and at most `most`; returns their number, 0 if there are none.

        Raises `OSError`.
        """
        used, self.used = self.used * _HEADER.size, 0
        self._headers[:used] = self._fresh[:used]  # the kernel has replaced buffer sizes by actual lengths
        number: int = _recvmmsg(descriptor, self._first, min(self.count, most), _DONTWAIT, None)
        if number < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(code, os.strerror(code))
        self.used = number
        return number

    def total(self, number: int) -> int:
        """Bytes of the packets of the last call."""
        return sum(length for _, _, length in self._filled(number))

    def packets(self, number: int) -> Iterator[memoryview]:
        """The packets of the last call, one by one; copy each before the next call."""
        return map(self.packet, range(number))

    def copies(self, number: int) -> list[bytes]:
        """The packets of the last call, one by one, as bytes."""
        data, stride = self._data, self._stride
        return [
            data[slot * stride : slot * stride + length] for slot, (_, _, length) in enumerate(self._filled(number))
        ]

    def source(self, slot: int) -> Source:
        """The sender of one packet of the last call."""
        (named,) = _NAMED.unpack_from(self._headers, slot * _HEADER.size)
        return self._source(bytes(self._names[slot * NAME : slot * NAME + named]))

    def packet(self, slot: int) -> memoryview:
        """One packet of the last call."""
        length = _RESULT.unpack_from(self._headers, slot * _HEADER.size)[2]
        return self._view[slot * self._stride : slot * self._stride + length]

    def datagrams(self, number: int, first: int = 0) -> list[tuple[bytes, int, Source]]:
        """(bytes, segment length, source) of the datagrams of the last call, from slot `first` on; the segment length
        is 0 for a single datagram."""
        if number == 1 and not first:
            ((named, controlled, length),) = self._filled(1)
            segment = self._segment(0) if controlled else 0
            source = self._source(bytes(self._names[:named]))
            return [(bytes(self._view[:length]), segment if segment < length else 0, source)]
        row: list[memoryview] = []
        rows: list[tuple[list[memoryview], int, bytes]] = []
        view, names, stride = self._view, self._names, self._stride
        total, piece, of = 0, 0, b""
        for slot, (named, controlled, length) in enumerate(self._filled(number)):
            if slot < first:
                continue
            name = names[slot * NAME : slot * NAME + named]
            data = view[slot * stride : slot * stride + length]
            segment = self._segment(slot) if controlled else 0
            total += length
            if segment and segment < length:
                rows.append(([data, data[:0]], segment, bytes(name)))
                of = b""
            elif name == of and 0 < length <= piece and total <= _MOST_JOINED:
                row.append(data)
                if length < piece:  # a shorter one ends the sequence
                    of = b""
            else:
                row, total, piece, of = [data], length, length, bytes(name)
                rows.append((row, piece, of))
        return [(b"".join(row), piece if len(row) > 1 else 0, self._source(name)) for row, piece, name in rows]

    def _filled(self, number: int) -> Iterator[tuple[int, int, int]]:
        """(length of the name, length of the control data, bytes) of the used slots."""
        return _RESULT.iter_unpack(memoryview(self._headers)[: number * _HEADER.size])

    def _segment(self, slot: int) -> int:
        """The segment length if the kernel joined datagrams in this slot, else 0."""
        _, level, kind, length = _GRO.unpack_from(self._control, slot * _CONTROL)
        return int(length) if (level, kind) == (_SOL_UDP, _UDP_GRO) else 0

    def _source(self, name: bytes) -> Source:
        found = self._sources.get(name)
        if found is None:
            if len(self._sources) >= 4096:
                self._sources.clear()
            found = self._sources[name] = _address(name)
        return found


def _address(name: bytes) -> Source:
    """The address in a `struct sockaddr_in` or `sockaddr_in6`; a link-local address has its interface, as in Python."""
    if len(name) < 8:
        return "", 0
    family, port = struct.unpack_from("=H", name)[0], int.from_bytes(name[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    host = socket.inet_ntop(socket.AF_INET6, name[8:24])
    scope = struct.unpack_from("=I", name, 24)[0]
    if scope and host.startswith("fe80:"):
        try:
            return f"{host}%{socket.if_indextoname(scope)}", port
        except OSError:
            return f"{host}%{scope}", port
    return host, port
