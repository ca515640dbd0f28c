"""Receive buffers as after a call of recvmmsg that received given packets."""

from __future__ import annotations

from collections.abc import Sequence

from overlay.runtime import recvmmsg
from overlay.runtime.recvmmsg import ReceiveBuffers

Filling = tuple[bytes, int, bytes]
"""Bytes, length of the datagrams that the kernel joined in them (0: none), and the sender's sockaddr."""


class FilledSlots(ReceiveBuffers):
    def fill(self, packets: Sequence[Filling]) -> int:
        self._headers[:] = self._fresh
        for slot, (data, segment, name) in enumerate(packets):
            self._view[slot * self._stride : slot * self._stride + len(data)] = data
            self._names[slot * recvmmsg.NAME : slot * recvmmsg.NAME + len(name)] = name
            header = slot * recvmmsg._HEADER.size
            fields = list(recvmmsg._HEADER.unpack_from(self._headers, header))
            fields[1], fields[7] = len(name), len(data)
            fields[5] = recvmmsg._GRO.size if segment else 0
            recvmmsg._HEADER.pack_into(self._headers, header, *fields)
            recvmmsg._GRO.pack_into(self._control, slot * recvmmsg._CONTROL, 20, 17, 104, segment)
        self.used = len(packets)
        return len(packets)
