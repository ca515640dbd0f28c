"""Many packets of a socket in one system call: recvmmsg(2), which Python's own sockets do not have.

Owns the buffers and the C structures of 64-bit Linux that the call fills. What comes in pieces of one length from one
sender, or was joined by the kernel (UDP_GRO), is handed out as one. Knows nothing of what packets mean.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["ReceiveBuffers"]

Source = tuple[str, int]
"""Host and port; ("", 0) of a packet socket."""

_DONTWAIT: Final = 0x40
_HEADER: Final = struct.Struct("@PIPNPNi4xI4x")
"""`struct mmsghdr`: name, its length, iovecs, their number, control, its length, flags, bytes received."""
_IOVEC: Final = struct.Struct("@PN")
_RESULT: Final = struct.Struct("@8xI28xN8xI4x")
"""Of it, what the call leaves behind: lengths of the name and of the control data, bytes received."""
assert _HEADER.size == _RESULT.size == 64, "the layout of 64-bit Linux"
_NAME: Final = 28
"""`sizeof(struct sockaddr_in6)`."""
_CONTROL: Final = 32
_GRO: Final = struct.Struct("@NiiI")
"""`struct cmsghdr`, and the length of the pieces."""
_SOL_UDP, _UDP_GRO = 17, 104
_MOST_JOINED: Final = 65_000
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Of mallopt(3)."""
_KEPT: Final = 4 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]


def keep_heap() -> None:
    """Have glibc keep some MB of freed memory: super-packets come and go at the heap's end, which it would hand back to
    the kernel with each of them, and get again page by page, zeroed. Other C libraries are left as they are."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        for what, value in ((_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _KEPT // 4), (_M_MMAP_THRESHOLD, _KEPT // 4)):
            mallopt(what, value)


class ReceiveBuffers:
    """Room for `count` packets of up to `size` bytes each, with `control` bytes of notes of the kernel on each, shared
    by all sockets of one kind."""

    def __init__(self, count: int, size: int, control: int = _CONTROL) -> None:
        self.count = count
        # A stride that is no power of two, so that all packets do not fall on the same lines of the processor's caches.
        self._stride = size + 25 * 64
        self._data = mmap.mmap(-1, count * self._stride)  # of which only what has been written to takes memory
        self._names = bytearray(count * _NAME)
        self._control = bytearray(count * control)
        self._iovecs = bytearray(count * _IOVEC.size)
        self._headers = bytearray(count * _HEADER.size)
        places = [
            ctypes.addressof(ctypes.c_char.from_buffer(each))
            for each in (self._data, self._names, self._control, self._iovecs, self._headers)
        ]
        data, names, notes, iovecs, self._first = places
        for slot in range(count):
            _IOVEC.pack_into(self._iovecs, slot * _IOVEC.size, data + slot * self._stride, size)
            _HEADER.pack_into(
                self._headers, slot * _HEADER.size, names + slot * _NAME, _NAME, iovecs + slot * _IOVEC.size, 1,
                notes + slot * control, control, 0, 0,
            )  # fmt: skip
        self._fresh = bytes(self._headers)
        self._used = 0
        self._view = memoryview(self._data)
        self._sources: dict[bytes, Source] = {}

    def receive(self, descriptor: int) -> int:
        """Take what is there, `count` at most; returns how many packets that are. Raises `OSError`; 0: none."""
        used, self._used = self._used * _HEADER.size, 0
        self._headers[:used] = self._fresh[:used]  # the kernel has written over lengths that say how much room there is
        number: int = _recvmmsg(descriptor, self._first, self.count, _DONTWAIT, None)
        if number < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(code, os.strerror(code))
        self._used = number
        return number

    def packets(self, number: int) -> Iterator[memoryview]:
        """The packets of the last call, one by one; each is to be copied before the next call."""
        view, stride = self._view, self._stride
        for slot, (_, _, length) in enumerate(self._filled(number)):
            yield view[slot * stride : slot * stride + length]

    def datagrams(self, number: int) -> list[tuple[bytes, int, Source]]:
        """(bytes, length of the pieces, source): datagrams of the last call; the length is 0 of one that is alone."""
        if number == 1:
            ((named, controlled, length),) = self._filled(1)
            segment = self._segment(0) if controlled else 0
            source = self._source(bytes(self._names[:named]))
            return [(bytes(self._view[:length]), segment if segment < length else 0, source)]
        row: list[memoryview] = []
        rows: list[tuple[list[memoryview], int, bytes]] = []
        view, names, stride = self._view, self._names, self._stride
        total, piece, of = 0, 0, b""
        for slot, (named, controlled, length) in enumerate(self._filled(number)):
            name = names[slot * _NAME : slot * _NAME + named]
            data = view[slot * stride : slot * stride + length]
            segment = self._segment(slot) if controlled else 0
            total += length
            if segment and segment < length:
                rows.append(([data, data[:0]], segment, bytes(name)))
                of = b""
            elif name == of and 0 < length <= piece and total <= _MOST_JOINED:
                row.append(data)
                if length < piece:  # a shorter one is the last of its row
                    of = b""
            else:
                row, total, piece, of = [data], length, length, bytes(name)
                rows.append((row, piece, of))
        return [(b"".join(row), piece if len(row) > 1 else 0, self._source(name)) for row, piece, name in rows]

    def _filled(self, number: int) -> Iterator[tuple[int, int, int]]:
        """(length of the name, length of the control data, bytes) of the first slots."""
        return _RESULT.iter_unpack(memoryview(self._headers)[: number * _HEADER.size])

    def _segment(self, slot: int) -> int:
        """The length of the pieces of which the kernel has joined this one; 0: it has not."""
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
    """What a `struct sockaddr_in` or `sockaddr_in6` says, a link-local address with its interface as Python does."""
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
