"""The tunnel's port on the bridge: packet sockets with virtio-net headers, one queue for each busy container.

Owns how frames are spread over queues (PACKET_FANOUT by source MAC): each queue has a buffer, and the event loop serves
queues in turn, so a container that sends more than it gets served fills its own queue and no other. There is one queue
until frames have been lost, because the kernel takes milliseconds to close each. The port is one end of a veth pair,
whose other end is on the bridge; that is as fast as a TAP device, and the owner of the network namespace may do it.
Knows nothing of what frames mean.
"""

import ctypes
import socket
import struct
from contextlib import suppress
from typing import Final

from overlay.runtime.scheduling import BUFFER, widen

__all__ = ["TunnelPort"]

QUEUES: Final = 64
"""More than containers that are busy at the same time, mostly: two of them in one queue share a turn."""
_QUEUE: Final = 2 << 20
"""Bytes of each queue's buffer: some thirty super-packets."""
_SOL_PACKET: Final = 263
_STATISTICS, _VNET_HDR, _FANOUT, _FANOUT_DATA, _IGNORE_OUTGOING = 6, 15, 18, 22, 23
_FANOUT_CBPF: Final = 6
_GROUP: Final = 6783
"""Of this network namespace's fan-outs."""
_ETH_P_ALL: Final = 0x0003
_LINK_LAYER: Final = 0x100000000 - 0x200000
"""SKF_LL_OFF: offsets from here on count from the Ethernet header."""
_LAST_OF_SOURCE: Final = 11
_BPF_LDB_ABS, _BPF_RET_A, _BPF_RET_K = 0x30, 0x16, 0x06
_ATTACH_FILTER, _DETACH_FILTER = 26, 27


class TunnelPort:
    """The sockets of the port on a device. Raises `OSError` when it cannot be opened."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.sockets: list[socket.socket] = []
        self.buffer = 0
        """Bytes of the first queue that the kernel allowed."""
        self._missed = 0
        self._spread = False
        try:
            self.buffer = self._add(BUFFER)
            self.sockets[0].bind((device, _ETH_P_ALL))
        except OSError:
            self.close()
            raise

    def _add(self, size: int) -> int:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        self.sockets.append(sock)
        sock.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
        with suppress(OSError):  # Linux 4.20; on older kernels frames of one's own are not for others
            sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        return widen(sock, size)

    def spread(self) -> list[socket.socket]:
        """Give each source a queue: that of the last byte of its MAC. Returns the new ones, none if there are some.

        On a kernel that refuses it, what is there goes on.
        """
        if self._spread:
            return []
        self._spread = True
        with suppress(OSError):
            self._make_queues()
        return self.sockets[1:]

    def _make_queues(self) -> None:
        fan = struct.pack("=I", _GROUP | _FANOUT_CBPF << 16)
        self.sockets[0].setsockopt(_SOL_PACKET, _FANOUT, fan)
        program = struct.pack("=HBBI", _BPF_LDB_ABS, 0, 0, _LINK_LAYER + _LAST_OF_SOURCE)
        program += struct.pack("=HBBI", _BPF_RET_A, 0, 0, 0)
        code = ctypes.create_string_buffer(program)
        self.sockets[0].setsockopt(_SOL_PACKET, _FANOUT_DATA, struct.pack("@HP", 2, ctypes.addressof(code)))
        nothing = ctypes.create_string_buffer(struct.pack("=HBBI", _BPF_RET_K, 0, 0, 0))
        refuse = struct.pack("@HP", 1, ctypes.addressof(nothing))
        for _ in range(QUEUES - 1):
            self._add(_QUEUE)
            sock = self.sockets[-1]
            # Until it has joined, a socket that is bound takes every frame, and the first one does too.
            sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, refuse)
            sock.bind((self._device, _ETH_P_ALL))
            sock.setsockopt(_SOL_PACKET, _FANOUT, fan)
            sock.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)

    @property
    def descriptor(self) -> int:
        """Where frames are written."""
        return self.sockets[0].fileno()

    @property
    def missed(self) -> int:
        """Frames of containers that arrived while their queue was full."""
        for sock in self.sockets:
            self._missed += struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]  # and sets it to 0
        return self._missed

    def close(self) -> None:
        """Close all queues."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
