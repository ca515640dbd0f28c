"""From packets of the tunnel to writes to the port: joins consecutive TCP packets of one flow into a super-packet, and
consecutive datagrams of one length.

Owns the buffers to be written and the run that is still open. Works on frames alone; must not know sessions, peers or
sockets.
"""

from typing import Final

from overlay.datapath import inner
from overlay.datapath.inner import ETHERNET, Layers, layers

_MAX_JOINED: Final = 65_000


_MAX_DATAGRAMS: Final = 64
"""The most datagrams that Linux passes on as one."""
_UDP: Final = 17
_ENDS: Final = 0x89
"""TCP flags of a first packet that no equal one follows: FIN, PSH and CWR."""


class _SegmentRun:
    """Consecutive packets of one flow, to be joined into one super-packet for the port."""

    __slots__ = ("found", "frames", "length", "next", "open", "total")

    def __init__(self, frame: bytes, found: Layers) -> None:
        self.frames = [frame]
        self.found = found
        self.length = self.total = len(frame)
        self.next = int.from_bytes(frame[found.transport + 4 : found.transport + 8], "big") + len(frame) - found.end
        self.open = len(frame) > found.end and inner.whole_packet(frame, found)


class Delivery:
    """The writes to the port, in order. The caller counts malformed frames."""

    def __init__(self) -> None:
        self._writes: list[list[bytes]] = []
        self._run: _SegmentRun | None = None
        self.join_datagrams = False
        """Whether the kernel takes several datagrams as one (virtio-net's UDP_L4, Linux 6.2)."""

    def take(self) -> list[list[bytes]]:
        """The pending writes: each is the buffers of one virtio-net header and frame."""
        self._end_run()
        writes, self._writes = self._writes, []
        return writes

    def plain(self, frame: bytes) -> None:
        """Add a complete frame, before the open run."""
        self._writes.append(inner.plain(frame))

    def frame(self, frame: bytes, partial: bool) -> bool:
        """Add one frame; `partial`: its checksum must be completed. Returns False if it is malformed."""
        if len(frame) < ETHERNET:
            return False
        if not partial:
            self._end_run()
            self._writes.append(inner.plain(frame))
            return True
        run = self._run
        if run is not None:
            found = run.found
            payload = len(frame) - found.end
            if run.open and payload > 0 and len(frame) <= run.length and run.total + payload <= _MAX_JOINED:
                if found.protocol == _UDP:
                    number = len(run.frames)
                    if number < _MAX_DATAGRAMS and inner.same_datagrams(run.frames[0], frame, found, number):
                        run.frames.append(frame)
                        run.total += payload
                        run.open = len(frame) == run.length
                        return True
                else:
                    here = int.from_bytes(frame[found.transport + 4 : found.transport + 8], "big")
                    if here == run.next & 0xFFFFFFFF and inner.same_flow(run.frames[0], frame, found):
                        run.frames.append(frame)
                        run.next += payload
                        run.total += payload
                        run.open = len(frame) == run.length and not frame[found.transport + 13] & 9
                        return True
            self._end_run()
        other = layers(frame)
        if other is None or not other.transport:
            return False
        if other.protocol == 6 or (self.join_datagrams and inner.whole_datagram(frame, other)):
            self._run = _SegmentRun(frame, other)
        else:
            self._writes.append(inner.join([frame], other, 0))
        return True

    def _end_run(self) -> None:
        run = self._run
        if run is not None:
            self._run = None
            self._writes.append(inner.join(run.frames, run.found, run.length - run.found.end))

    def train(self, frames: list[bytes]) -> int:
        """Call `frame` for each; packets that differ only in their sequence number take a fast path.

        All of them need their checksums completed. Returns the number of malformed frames.
        """
        run: _SegmentRun | None = None
        refused = 0
        length = end = room = 0
        before = after = b""
        for frame in frames:
            if room > 0 and len(frame) == length:
                assert run is not None
                if frame[:end] == before + (run.next & 0xFFFFFFFF).to_bytes(4, "big") + after:
                    run.frames.append(frame)
                    run.next += length - end
                    run.total += length - end
                    room -= 1
                    continue
            refused += not self.frame(frame, True)
            run, room = self._run, 0
            if run is not None and run.open and run.found.protocol != _UDP:
                first, transport = run.frames[0], run.found.transport
                length, end = run.length, run.found.end
                if not first[transport + 13] & _ENDS:
                    before, after = first[: transport + 4], first[transport + 8 : end]
                    room = (_MAX_JOINED - run.total) // (length - end)
        return refused
