"""One neighbour of the userspace tunnel: tag, keys, address, what fits, and the packets that wait to be sent to it.

Owns how frames become packets: sealed or in clear, small ones for the same peer several in one packet, and packets of
one length in one batch for the kernel. Must not know routes, ports or sockets.
"""

from typing import Final

from overlay.config import PeerName
from overlay.datapath.seal import TAG, Opener, Sealer, Window
from overlay.datapath.sleeve import BUNDLED, HEADER, PREFIX, TTL, Flag, Kind, bundled, connection_tag, prefix
from overlay.inputs import Neighbour
from overlay.mesh.derive import Keys

Socket = tuple[str, int]
"""Host and port of the underlay."""
Send = tuple[Socket, list[bytes], int]
"""Where to, datagrams (of equal length, the last may be shorter)."""

MAX_BATCH: Final = 64
"""Datagrams that one system call carries: the kernel's UDP_MAX_SEGMENTS before 6.9."""
MAX_BATCH_OCTETS: Final = 65_000
FIRST_SIZE: Final = 1452
"""UDP payload that is tried before a path is known: Ethernet's 1,500 less the headers of IPv6 and UDP."""
_SMALL: Final = 512
"""Frames of up to so many octets share a packet: those of questions, answers and acknowledgements, not of bulk."""
_SEALED, _PARTIAL = int(Flag.SEALED), int(Flag.PARTIAL)


class Way:
    """The way to a peer: the neighbour that comes next and the packets' first octets."""

    __slots__ = ("destination", "heads", "packed", "session")

    def __init__(self, session: "TunnelSession", own: bytes, destination: bytes) -> None:
        self.session = session
        self.destination = destination

        def head(flags: int) -> bytes:
            return prefix(Kind.UNICAST | flags | session.sealed, TTL, session.tag, own, destination)

        self.heads = (head(0), head(_PARTIAL))
        """Of one frame: complete, and with a checksum to be completed."""
        self.packed = head(Flag.PACKED)


class TunnelSession:
    """The session with one neighbour, as long as its connection lasts."""

    __slots__ = (
        "_waiting", "_waiting_now", "_waiting_octets", "_waiting_way", "address", "counter", "frames", "frames_before",
        "name", "opener", "queue", "room", "sealed", "sealer", "size", "tag", "window",
    )  # fmt: skip

    def __init__(self, neighbour: Neighbour, now: int) -> None:
        self.name: PeerName = neighbour.peer
        self.address: Socket = (neighbour.address.host, neighbour.address.port)
        self.tag = connection_tag(neighbour.connection)
        self.queue: list[bytes] = []
        self.counter = 0
        self.frames = self.frames_before = 0
        self.window = Window()
        keys: Keys | None = neighbour.keys
        self.sealer = Sealer(keys.send, now) if keys is not None else None
        self.opener = Opener(keys.receive) if keys is not None else None
        self.sealed = _SEALED if keys is not None else 0
        self._waiting: list[tuple[bytes, bool]] = []
        """Small frames for the peer of one way, not in a packet yet."""
        self._waiting_way: Way | None = None
        self._waiting_octets = 0
        self._waiting_now = 0
        self.resize(FIRST_SIZE)

    def resize(self, size: int) -> None:
        """UDP payloads of up to `size` octets arrive."""
        self.size = size
        self.room = size - HEADER - (TAG if self.sealer is not None else 0)

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, way: Way, partial: bool, pieces: list[bytes], now: int) -> None:
        """Queue frames for the peer of `way`; a small one waits for company until `batches` is called."""
        frame = pieces[0]
        if len(frame) > _SMALL or len(pieces) > 1:
            self.pack(way.heads[partial], pieces, now)
            return
        octets = self._waiting_octets + BUNDLED + len(frame)
        if self._waiting and (way is not self._waiting_way or octets > self.room):
            self._close()
            octets = BUNDLED + len(frame)
        self._waiting.append((frame, partial))
        self._waiting_way, self._waiting_octets, self._waiting_now = way, octets, now

    def pack(self, head: bytes, frames: list[bytes], now: int) -> None:
        """Queue packets with these first 16 octets and these contents, behind what waits."""
        if self._waiting:
            self._close()
        self._seal(head, frames, now)

    def pack_one(self, head: bytes, frame: bytes, now: int) -> bytes:
        """One packet, not queued."""
        self.pack(head, [frame], now)
        return self.queue.pop()

    def _close(self) -> None:
        """What waits becomes a packet: one frame as any other, several as one content."""
        waiting, way = self._waiting, self._waiting_way
        assert way is not None
        self._waiting, self._waiting_octets = [], 0
        if len(waiting) == 1:
            ((frame, partial),) = waiting
            self._seal(way.heads[partial], [frame], self._waiting_now)
        else:
            self._seal(way.packed, [bundled(waiting)], self._waiting_now)

    def _seal(self, head: bytes, frames: list[bytes], now: int) -> None:
        queue = self.queue
        if self.sealer is not None:
            first, encrypt = self.sealer.reserve(len(frames), now)
            queue += [
                head + (nonce := number.to_bytes(12, "big"))[4:] + encrypt(nonce, frame, head)
                for number, frame in enumerate(frames, first)
            ]
        else:
            first = self.counter
            self.counter = first + len(frames)
            queue += [head + number.to_bytes(8, "big") + frame for number, frame in enumerate(frames, first)]

    def batches(self) -> list[Send]:
        """All that was queued, as few system calls as the kernel allows."""
        if self._waiting:
            self._close()
        queue, self.queue = self.queue, []
        start, number = 0, len(queue)
        self.frames += number
        sends: list[Send] = []
        while start < number:
            length = len(queue[start])
            end = start + 1
            limit = min(number, start + min(MAX_BATCH, max(1, MAX_BATCH_OCTETS // length)))
            while end < limit and len(queue[end]) == length:
                end += 1
            if end < limit and len(queue[end]) < length:
                end += 1
            sends.append((self.address, queue[start:end], length if end > start + 1 else 0))
            start = end
        return sends

    # --- receiving ----------------------------------------------------------------------------------------------------

    def open_train(self, data: bytes, segment: int) -> list[bytes] | None:
        """As `seal.Opener.open_train`, with keys or in clear: contents of packets that follow each other, all new."""
        if self.opener is not None:
            return self.opener.open_train(data, segment, PREFIX)
        window = self.window
        counter = int.from_bytes(data[PREFIX:HEADER], "big")
        if counter >> 48 or counter <= window.highest:
            return None
        head, frames, first = data[:PREFIX], [], counter
        for start in range(0, len(data), segment):
            if data[start : start + HEADER] != head + counter.to_bytes(8, "big"):
                return None
            frames.append(data[start + HEADER : start + segment])
            counter += 1
        window.mark_run(first, len(frames))
        return frames
