"""One neighbour of the userspace tunnel: tag, keys, address, packet size, and the packets queued for it.

Owns how frames become packets: sealed or not, small frames for the same peer together in one packet, and packets of
equal length in one row for the kernel. Must not know routes, ports or sockets.
"""

from collections.abc import Sequence
from typing import Final

from overlay.config import PeerName
from overlay.crypto.derive import RootKeys
from overlay.crypto.seal import TAG, Opener, Sealer, Window
from overlay.datapath.rows import joined, parted
from overlay.datapath.sleeve import BUNDLED, HEADER, PREFIX, TTL, DatagramKind, Flag, bundled, connection_tag, prefix
from overlay.inputs import Neighbour

Socket = tuple[str, int]
"""Host and port of the underlay."""
Send = tuple[Socket, Sequence[bytes | memoryview], int]
"""Destination, buffers, and the length of the datagrams in them, of which the last may be shorter; 0: it is one
datagram."""

MAX_BATCH: Final = 64
"""Datagrams in one system call: the kernel's UDP_MAX_SEGMENTS before 6.9."""
MAX_BATCH_OCTETS: Final = 65_000
FIRST_SIZE: Final = 1452
"""UDP payload that is used until the path is known: Ethernet's 1,500 minus the headers of IPv6 and UDP."""
_SMALL: Final = 512
"""Frames of at most this many bytes share a packet: requests, replies and acknowledgements, but not bulk data."""
_SEALED, _PARTIAL = int(Flag.SEALED), int(Flag.PARTIAL)


def datagrams(buffers: Sequence[bytes | memoryview], segment: int) -> list[bytes]:
    """Split a `Send` into its datagrams."""
    if not segment:
        return [bytes(buffer) for buffer in buffers]
    whole = b"".join(buffers)
    return [whole[start : start + segment] for start in range(0, len(whole), segment)]


class TunnelRoute:
    """The route to a peer: the next hop, and the first bytes of its packets."""

    __slots__ = ("destination", "heads", "packed", "session")

    def __init__(self, session: "TunnelSession", own: bytes, destination: bytes) -> None:
        self.session = session
        self.destination = destination

        def head(flags: int) -> bytes:
            return prefix(DatagramKind.UNICAST | flags | session.sealed, TTL, session.tag, own, destination)

        self.heads = (head(0), head(_PARTIAL))
        """For one frame: complete, and with a checksum to be completed."""
        self.packed = head(Flag.PACKED)


class TunnelSession:
    """The session with one neighbour; it lasts as long as the connection."""

    __slots__ = (
        "_now", "_row", "_row_head", "_sends", "_waiting", "_waiting_size", "_waiting_way", "address", "counted",
        "counter", "frames", "frames_before", "name", "opener", "room", "sealed", "sealer", "sent", "size", "tag",
        "window",
    )  # fmt: skip

    def __init__(self, neighbour: Neighbour, now: int) -> None:
        self.name: PeerName = neighbour.peer
        self.address: Socket = (neighbour.address.host, neighbour.address.port)
        self.tag = connection_tag(neighbour.connection)
        self.counter = 0
        self.sent = self.counted = 0
        """Number of packets, and of those that are in the tunnel's counts."""
        self.frames = self.frames_before = 0
        self.window = Window()
        keys: RootKeys | None = neighbour.keys
        self.sealer = Sealer(keys.send, now) if keys is not None else None
        self.opener = Opener(keys.receive) if keys is not None else None
        self.sealed = _SEALED if keys is not None else 0
        self._waiting: list[tuple[bytes, bool]] = []
        """Small frames for the peer of one route that are not in a packet yet."""
        self._waiting_way: TunnelRoute | None = None
        self._waiting_size = 0
        self._row: list[bytes] = []
        """Contents of queued packets, with equal length and prefix; the last may be shorter."""
        self._row_head = b""
        self._sends: list[Send] = []
        self._now = now
        self.resize(FIRST_SIZE)

    def resize(self, size: int) -> None:
        """Set the size of UDP payloads that arrive at the neighbour."""
        self.size = size
        self.room = size - HEADER - (TAG if self.sealer is not None else 0)

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, way: TunnelRoute, partial: bool, pieces: list[bytes], now: int) -> None:
        """Queue frames for the peer of `way`; a small one may be joined by others until `take_sends` is called."""
        frame = pieces[0]
        if len(frame) > _SMALL or len(pieces) > 1:
            self.pack(way.heads[partial], pieces, now)
            return
        filled = self._waiting_size + BUNDLED + len(frame)
        if self._waiting and (way is not self._waiting_way or filled > self.room):
            self._close()
            filled = BUNDLED + len(frame)
        self._waiting.append((frame, partial))
        self._waiting_way, self._waiting_size, self._now = way, filled, now

    def pack(self, head: bytes, frames: list[bytes], now: int) -> None:
        """Queue packets with these first 16 bytes and these contents (equal in length, the last may be shorter)."""
        if self._waiting:
            self._close()
        self._now = now
        self._queue(head, frames)

    def pack_one(self, head: bytes, frame: bytes, now: int) -> bytes:
        """Build one packet without queueing it."""
        (packet,) = self._packets(head, [frame], now)
        return packet

    def _close(self) -> None:
        """Turn the waiting frames into a packet: a single frame as usual, several as one content."""
        waiting, way = self._waiting, self._waiting_way
        assert way is not None
        self._waiting, self._waiting_size = [], 0
        if len(waiting) == 1:
            ((frame, partial),) = waiting
            self._queue(way.heads[partial], [frame])
        else:
            self._queue(way.packed, [bundled(waiting)])

    def _queue(self, head: bytes, frames: list[bytes]) -> None:
        row = self._row
        if row:
            length, first = len(row[0]), len(frames[0])
            if head == self._row_head and len(row[-1]) == length and (
                first == length or (first < length and len(frames) == 1)
            ):  # fmt: skip
                row += frames
                return
            self._end_row()
        self._row_head, self._row = head, frames

    def _end_row(self) -> None:
        """Turn the queued packets into as few sends as the kernel allows."""
        row, self._row = self._row, []
        number = len(row)
        length = len(row[0]) + self.size - self.room
        most = min(MAX_BATCH, max(1, MAX_BATCH_OCTETS // length))
        for start in range(0, number, most):
            part = row[start : start + most] if number > most else row
            packets = self._packets(self._row_head, part, self._now)
            self._sends.append((self.address, packets, length if len(part) > 1 else 0))
        self.sent += number
        self.frames += number

    def _packets(self, head: bytes, frames: list[bytes], now: int) -> list[bytes]:
        """Packets with these first 16 bytes and these contents, as buffers."""
        if self.sealer is None:
            first = self.counter
            self.counter = first + len(frames)
            return [joined(head, first, frames)]
        first, encrypt = self.sealer.reserve(len(frames), now)
        return [
            head + (nonce := number.to_bytes(12, "big"))[4:] + encrypt(nonce, frame, head)
            for number, frame in enumerate(frames, first)
        ]

    def take_sends(self) -> list[Send]:
        """All queued sends."""
        if self._waiting:
            self._close()
        if self._row:
            self._end_row()
        sends, self._sends = self._sends, []
        return sends

    @property
    def counters(self) -> range:
        """The counters of the next packets that need no new key."""
        return self.sealer.free if self.sealer is not None else range(self.counter, 1 << 48)

    def sent_row(self, count: int, now: int) -> None:
        """As many packets were made elsewhere, under the first of `counters`."""
        if self.sealer is not None:
            self.sealer.reserve(count, now)
        else:
            self.counter += count
        self.sent += count
        self.frames += count

    # --- receiving ----------------------------------------------------------------------------------------------------

    @property
    def expected(self) -> range:
        """The counters of new packets, under the current key."""
        return self.opener.expected if self.opener is not None else range(self.window.highest + 1, 1 << 48)

    def received_row(self, counter: int, count: int) -> None:
        """Consecutive packets were opened elsewhere, from one of the `expected` counters on."""
        if self.opener is not None:
            self.opener.mark_train(counter, count)
        else:
            self.window.mark_run(counter, count)
        self.frames += count

    def open_train(self, data: bytes, segment: int) -> list[bytes] | None:
        """Like `seal.Opener.open_train`, with or without keys: the contents of consecutive packets, all new."""
        if self.opener is not None:
            return self.opener.open_train(data, segment, PREFIX)
        window = self.window
        counter = int.from_bytes(data[PREFIX:HEADER], "big")
        if counter >> 48 or counter <= window.highest:
            return None
        frames = parted(data, segment)
        if frames is not None:
            window.mark_run(counter, len(frames))
        return frames
