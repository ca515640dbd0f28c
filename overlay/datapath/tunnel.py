"""The userspace tunnel of one peer ("sleeve"): frames from the port to packets for neighbours, and back. Bytes alone.

The border to the driver is at buffers, not at effects, for this is the hot path: the driver hands in what it read
(`outgoing` from the port, `incoming` from the socket), then takes what is to be sent, written and told (`take_sends`,
`take_writes`, `take_heard`). Where a frame goes is decided once for each MAC and each relayed peer and remembered until
`forget` says that something has changed. Must not know sockets, clocks, or which path is the better one.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from overlay.config import PeerName
from overlay.datapath import inner
from overlay.datapath.inner import ETHERNET, NEEDS_CSUM, VNET, Gso, Layers, layers
from overlay.datapath.seal import TAG, Opener, Sealer, Window
from overlay.datapath.sleeve import (
    HEADER,
    ID_BITS,
    PREFIX,
    PROBE_BODY,
    TTL,
    Flag,
    Kind,
    connection_tag,
    peer_id,
    prefix,
)
from overlay.inputs import Neighbour, ProbeHeard
from overlay.mesh.derive import Keys
from overlay.mesh.routes import Routes

Socket = tuple[str, int]
"""Host and port of the underlay."""
Send = tuple[Socket, list[bytes], int]
"""Where to, datagrams (of equal length, the last may be shorter)."""

MAX_BATCH: Final = 64
"""Datagrams that one system call carries: the kernel's UDP_MAX_SEGMENTS before 6.9."""
MAX_BATCH_OCTETS: Final = 65_000
FIRST_SIZE: Final = 1452
"""UDP payload that is tried before a path is known: Ethernet's 1,500 less the headers of IPv6 and UDP."""
_MIN_SEGMENT: Final = 64
_MAX_JOINED: Final = 65_000
_MAX_FLOODERS: Final = 8192
_TYPE: Final = 3
# Plain numbers: an enum's operators cost as much as all the rest of a packet.
_UNICAST, _FLOOD, _ANSWER = int(Kind.UNICAST), int(Kind.FLOOD), int(Kind.ANSWER)
_PARTIAL, _SEALED, _PASS_ON = int(Flag.PARTIAL), int(Flag.SEALED), int(Flag.PASS_ON)
_COUNTER_MASK: Final = (1 << 48) - 1
_NO_KEY: Final = bytes(4)


class Holder(Struct, frozen=True):
    """Where floods and unicasts go, as the rest of the node knows it."""

    peer_of: Callable[[str], PeerName | None]
    """The peer that announces a MAC."""
    routes: Routes
    uid_of: Callable[[PeerName], int]
    """The incarnation of a peer, 0 if unknown."""
    carried: Callable[[PeerName], bool]
    """Whether the kernel brings floods to this neighbour."""


class _Session:
    """One neighbour: its connection's tag and keys, its address, and how much fits into a packet to it."""

    __slots__ = (
        "address", "counter", "frames", "frames_before", "name", "opener", "queue", "room", "sealed", "sealer", "size",
        "tag", "window",
    )  # fmt: skip

    def __init__(self, neighbour: Neighbour, now: int) -> None:
        self.name = neighbour.peer
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
        self.resize(FIRST_SIZE)

    def resize(self, size: int) -> None:
        """UDP payloads of up to `size` octets arrive."""
        self.size = size
        self.room = size - HEADER - (TAG if self.sealer is not None else 0)

    def pack(self, head: bytes, frames: list[bytes], now: int) -> None:
        """Queue packets with these first 16 octets and these contents."""
        queue = self.queue
        if self.sealer is not None:
            first, encrypt = self.sealer.reserve(len(frames), now)
            for number, frame in enumerate(frames, first):
                counter = number.to_bytes(8, "big")
                queue.append(head + counter + encrypt(_NO_KEY + counter, frame, head))
        else:
            first = self.counter
            self.counter = first + len(frames)
            for number, frame in enumerate(frames, first):
                queue.append(head + number.to_bytes(8, "big") + frame)

    def pack_one(self, head: bytes, frame: bytes, now: int) -> bytes:
        """One packet, not queued."""
        self.pack(head, [frame], now)
        return self.queue.pop()


class _Way:
    """The way to a peer: the neighbour that comes next and the packets' first octets, by kind."""

    __slots__ = ("destination", "heads", "session")

    def __init__(self, session: _Session, own: bytes, destination: bytes) -> None:
        self.session = session
        self.destination = destination
        sealed = session.sealed
        self.heads = tuple(
            prefix(Kind.UNICAST | partial | sealed, TTL, session.tag, own, destination) for partial in (0, Flag.PARTIAL)
        )


class _Run:
    """Consecutive TCP packets of one flow that become one super-packet for the port."""

    __slots__ = ("found", "frames", "length", "next", "octets", "open")

    def __init__(self, frame: bytes, found: Layers) -> None:
        self.frames = [frame]
        self.found = found
        self.length = self.octets = len(frame)
        self.next = int.from_bytes(frame[found.transport + 4 : found.transport + 8], "big") + len(frame) - found.end
        self.open = len(frame) > found.end


class Tunnel:
    """See the module's text. `counts` says what was dropped and why; all in packets."""

    def __init__(self, own: PeerName, uid: int, holder: Holder) -> None:
        self._own = own
        self._own_id = peer_id(own)
        self._holder = holder
        self._sessions: dict[PeerName, _Session] = {}
        self._connections: dict[PeerName, int] = {}
        self._tags: dict[bytes, _Session] = {}
        self._ways: dict[bytes, _Way | None] = {}
        self._relays: dict[bytes, _Way | None] = {}
        self._names: dict[bytes, PeerName] = {}
        self._names_of: tuple[PeerName, ...] = ()
        self._flooders: dict[PeerName, tuple[int, Window]] = {}
        self._flood_number = uid // 10_000_000 if uid >> 40 else uid << 20
        self._dirty: dict[PeerName, _Session] = {}
        self._run: _Run | None = None
        self._sends: list[Send] = []
        self._writes: list[list[bytes]] = []
        self._heard: list[ProbeHeard] = []
        self.counts: dict[str, int] = dict.fromkeys(
            ("sent", "received", "relayed", "strange", "refused", "lost", "too_big", "expired", "duplicate"), 0
        )

    # --- what the rest of the node says -------------------------------------------------------------------------------

    def set_neighbours(self, neighbours: tuple[Neighbour, ...], now: int) -> None:
        """The neighbours are now these; a session lasts as long as its connection."""
        wanted = {neighbour.peer: neighbour for neighbour in neighbours}
        for peer, session in list(self._sessions.items()):
            if peer not in wanted or wanted[peer].connection != self._connections[peer]:
                del self._sessions[peer], self._connections[peer], self._tags[session.tag]
                self._dirty.pop(peer, None)
        for peer, neighbour in wanted.items():
            if peer not in self._sessions:
                session = self._sessions[peer] = _Session(neighbour, now)
                self._connections[peer] = neighbour.connection
                self._tags[session.tag] = session
        self.forget()

    def set_size(self, peer: PeerName, size: int) -> None:
        """UDP payloads of up to `size` octets arrive at this neighbour."""
        if peer in self._sessions:
            self._sessions[peer].resize(size)

    def towards(self, peer: PeerName) -> tuple[Socket, int] | None:
        """Where packets to this neighbour are sent to, and how many octets of UDP payload they may have."""
        session = self._sessions.get(peer)
        return (session.address, session.size) if session is not None else None

    def found_at(self, peer: PeerName, source: Socket) -> None:
        """The newest genuine packet of this neighbour came from there: a NAT's mapping, or the host's new address."""
        session = self._sessions.get(peer)
        if session is not None:
            session.address = source

    def forget(self) -> None:
        """Routes, endpoints or paths have changed: decide anew where things go."""
        self._ways.clear()
        self._relays.clear()

    def probe(self, peer: PeerName, nonce: int, size: int, now: int, answer: bool = False) -> None:
        """Send a probe so that the UDP payload has `size` octets, or the answer to one of that size."""
        session = self._sessions.get(peer)
        if session is None:
            return
        kind = (Kind.ANSWER if answer else Kind.PROBE) | session.sealed
        head = prefix(kind, 1, session.tag, self._own_id, peer_id(peer))
        body = nonce.to_bytes(8, "big") + size.to_bytes(2, "big")
        overhead = HEADER + (TAG if session.sealed else 0)
        if not answer:
            body += bytes(max(0, size - overhead - PROBE_BODY))
        # Not in a batch: one that does not fit the interface must not take others along.
        self._sends.append((session.address, [session.pack_one(head, body, now)], 0))

    # --- what the driver takes ----------------------------------------------------------------------------------------

    def take_sends(self) -> list[Send]:
        """What is to be sent, in order for each neighbour."""
        for session in self._dirty.values():
            self._batch(session)
        self._dirty.clear()
        sends, self._sends = self._sends, []
        return sends

    def take_writes(self) -> list[list[bytes]]:
        """What is to be written to the port: each the buffers of one virtio-net header and frame."""
        self._end_run()
        writes, self._writes = self._writes, []
        return writes

    def take_heard(self) -> list[ProbeHeard]:
        """Probes and answers that came, for the node."""
        heard, self._heard = self._heard, []
        return heard

    def take_busy(self) -> list[PeerName]:
        """The neighbours with which frames were exchanged since the last call."""
        busy = []
        for name, session in self._sessions.items():
            if session.frames != session.frames_before:
                session.frames_before = session.frames
                busy.append(name)
        return busy

    def _batch(self, session: _Session) -> None:
        queue = session.queue
        session.frames += len(queue)
        start, number = 0, len(queue)
        while start < number:
            length = len(queue[start])
            end = start + 1
            limit = min(number, start + min(MAX_BATCH, max(1, MAX_BATCH_OCTETS // length)))
            while end < limit and len(queue[end]) == length:
                end += 1
            if end < limit and len(queue[end]) < length:
                end += 1
            self._sends.append((session.address, queue[start:end], length if end > start + 1 else 0))
            start = end
        self.counts["sent"] += number
        session.queue = []

    # --- from the port ------------------------------------------------------------------------------------------------

    def outgoing(self, data: bytes, now: int) -> None:
        """A frame of a container of this host, led by its virtio-net header."""
        if len(data) < VNET.size + ETHERNET:
            return
        flags, offload, _, cut, start, offset = VNET.unpack_from(data)
        frame = data[VNET.size :]
        mac = frame[:6]
        way = self._ways.get(mac)
        if way is None and mac not in self._ways:
            way = self._ways[mac] = self._way_to_mac(mac)
        found: Layers | None = None
        if flags & NEEDS_CSUM:
            found = layers(frame)
            if found is None or found.transport != start:
                if offload:
                    self.counts["lost"] += 1
                    return
                found = None
                try:
                    frame = inner.completed(frame, start, offset)
                except IndexError:
                    self.counts["lost"] += 1
                    return
        if way is None:
            self._flood(frame, found, offload, cut, now)
            return
        session = way.session
        partial, pieces = _fit(frame, found, session.room, offload, cut)
        if not pieces:
            self._refuse(frame, session.room)
            return
        session.pack(way.heads[partial], pieces, now)
        self._dirty[session.name] = session

    def _refuse(self, frame: bytes, room: int) -> None:
        """A frame that does not fit: tell its sender on this host."""
        self.counts["too_big"] += 1
        answer = inner.too_big(frame, room - ETHERNET)
        if answer is not None:
            self._writes.append(inner.plain(answer))

    def _flood(self, frame: bytes, found: Layers | None, offload: int, cut: int, now: int) -> None:
        holder = self._holder
        hops = holder.routes.broadcast_next_hops(self._own)
        sparse = len(holder.routes.reachable) > len(hops) + 1
        number = (self._flood_number % (1 << ID_BITS)).to_bytes(ID_BITS // 8, "big")
        self._flood_number += 1
        for peer in hops:
            session = self._sessions.get(peer)
            carried = holder.carried(peer)
            if session is not None and (sparse or not carried):
                flags = Flag.PASS_ON if carried else 0
                self._flood_to(session, frame, found, flags, TTL, self._own_id, number, now, offload, cut)

    def _flood_to(
        self, session: _Session, frame: bytes, found: Layers | None, flags: int, ttl: int, source: bytes, number: bytes,
        now: int, offload: int = 0, cut: int = 0,
    ) -> None:  # fmt: skip
        partial, pieces = _fit(frame, found, session.room, offload, cut)
        if len(pieces) != 1:
            # Each flood has one number, so it is one packet; multicasts above the path's MTU are nobody's.
            self.counts["too_big"] += 1
            return
        kind = _FLOOD | flags | (_PARTIAL if partial else 0) | session.sealed
        session.pack(prefix(kind, ttl, session.tag, source, number), pieces, now)
        self._dirty[session.name] = session

    def _way_to_mac(self, mac: bytes) -> _Way | None:
        if mac[0] & 1:
            return None
        peer = self._holder.peer_of(mac.hex(":"))
        return self._way_to(peer) if peer is not None and peer != self._own else None

    def _way_to(self, peer: PeerName) -> _Way | None:
        session = self._sessions.get(peer)
        if session is None:
            hop = self._holder.routes.next_hop(peer)
            session = self._sessions.get(hop) if hop is not None else None
        return _Way(session, self._own_id, peer_id(peer)) if session is not None else None

    # --- from the socket ----------------------------------------------------------------------------------------------

    def incoming(self, data: bytes, segment: int, source: Socket, now: int) -> None:
        """Datagrams of `segment` octets (0: just one) from one sender; whatever is not right is counted and dropped."""
        if not segment or segment >= len(data):
            self._datagram(data, source, now)
            return
        if not self._train(data, segment, source):
            for start in range(0, len(data), segment):
                self._datagram(data[start : start + segment], source, now)

    def _train(self, data: bytes, segment: int, source: Socket) -> bool:
        """The usual case in one go: packets for this peer in order, from one sender, all new. False: it is not that."""
        head = data[:PREFIX]
        session = self._tags.get(head[2:6])
        if session is None or head[11:16] != self._own_id or head[0] & _TYPE != _UNICAST:
            return False
        if head[0] & _SEALED != session.sealed or (len(data) % segment < HEADER and len(data) % segment):
            return False
        opener = session.opener
        frames = opener.open_train(data, segment, PREFIX) if opener is not None else _opened(data, segment, session)
        if frames is None:
            return False
        session.address = source
        session.frames += len(frames)
        self.counts["received"] += len(frames)
        kind = head[0]
        if kind & _PARTIAL:
            self._deliver_train(frames, kind)
        else:
            for frame in frames:
                self._deliver(frame, kind)
        return True

    def _deliver_train(self, frames: list[bytes], kind: int) -> None:
        """As `_deliver` for each; packets that only differ in their sequence number are recognised cheaply."""
        run: _Run | None = None
        for frame in frames:
            if run is not None and self._run is run and run.open and len(frame) == run.length:
                transport, end, first = run.found.transport, run.found.end, run.frames[0]
                if (
                    frame[transport + 8 : end] == first[transport + 8 : end]
                    and frame[: transport + 4] == first[: transport + 4]
                    and int.from_bytes(frame[transport + 4 : transport + 8], "big") == run.next & 0xFFFFFFFF
                    and run.octets < _MAX_JOINED - len(frame)
                    and not frame[transport + 13] & 9
                ):
                    run.frames.append(frame)
                    run.next += len(frame) - end
                    run.octets += len(frame) - end
                    continue
            self._deliver(frame, kind)
            run = self._run

    def _datagram(self, packet: bytes, source: Socket, now: int) -> None:
        session = self._tags.get(packet[2:6])
        if session is None or len(packet) < HEADER:
            self.counts["strange"] += 1
            return
        kind = packet[0]
        opener = session.opener
        if opener is not None:
            frame: bytes | None = opener.open(packet[PREFIX:], packet[:PREFIX]) if kind & _SEALED else None
            newest = opener.newest
        else:
            window = session.window
            counter = int.from_bytes(packet[PREFIX:HEADER], "big") & _COUNTER_MASK
            frame = None
            newest = counter > window.highest
            if not kind & _SEALED and window.fresh(counter):
                window.mark(counter)
                frame = packet[HEADER:]
        if frame is None:
            self.counts["refused"] += 1
            return
        if newest and source != session.address:
            self.found_at(session.name, source)
        self.counts["received"] += 1
        what = kind & _TYPE
        if what == _UNICAST:
            session.frames += 1
            if packet[11:16] == self._own_id:
                self._deliver(frame, kind)
            else:
                self._relay(packet, frame, now)
        elif what == _FLOOD:
            self._pass_on(packet, frame, session, now)
        else:
            self._probed(frame, packet, session, what == _ANSWER)

    def _probed(self, body: bytes, packet: bytes, session: _Session, answer: bool) -> None:
        if len(body) < PROBE_BODY or packet[11:16] != self._own_id:
            self.counts["refused"] += 1
            return
        nonce, said = int.from_bytes(body[:8], "big"), int.from_bytes(body[8:10], "big")
        self._heard.append(ProbeHeard(session.name, False, nonce, said if answer else len(packet), answer))

    def _deliver(self, frame: bytes, kind: int) -> None:
        if len(frame) < ETHERNET:
            self.counts["refused"] += 1
            return
        if not kind & _PARTIAL:
            self._end_run()
            self._writes.append(inner.plain(frame))
            return
        run = self._run
        if run is not None:
            found = run.found
            here = int.from_bytes(frame[found.transport + 4 : found.transport + 8], "big")
            if (
                run.open
                and here == run.next & 0xFFFFFFFF
                and found.end < len(frame) <= run.length
                and run.octets < _MAX_JOINED - len(frame)
                and inner.same_flow(run.frames[0], frame, found)
            ):
                run.frames.append(frame)
                run.next += len(frame) - found.end
                run.octets += len(frame) - found.end
                run.open = len(frame) == run.length and not frame[found.transport + 13] & 9
                return
            self._end_run()
        other = layers(frame)
        if other is None or not other.transport:
            self.counts["refused"] += 1
            return
        if other.protocol == 6:
            self._run = _Run(frame, other)
        else:
            self._writes.append(inner.join([frame], other, 0))

    def _end_run(self) -> None:
        run = self._run
        if run is not None:
            self._run = None
            self._writes.append(inner.join(run.frames, run.found, run.length - run.found.end))

    # --- relaying -----------------------------------------------------------------------------------------------------

    def _relay(self, packet: bytes, frame: bytes, now: int) -> None:
        """A frame for another peer: to the next hop, as one packet if it fits there."""
        destination = packet[11:16]
        way = self._relays.get(destination)
        if way is None and destination not in self._relays:
            peer = self._name_of(destination)
            # Only peers that exist have a place here, so that nobody fills it.
            way = self._way_to(peer) if peer is not None else None
            if peer is not None:
                self._relays[destination] = way
        ttl = packet[1]
        if way is None or ttl <= 1:
            self.counts["expired" if ttl <= 1 else "lost"] += 1
            return
        session = way.session
        partial = bool(packet[0] & _PARTIAL)
        pieces = [frame]
        if len(frame) > session.room:
            found = layers(frame) if partial else None
            tcp = found is not None and found.protocol == 6
            partial, pieces = _fit(frame, found, session.room, Gso.TCPV4 if tcp else Gso.NONE, len(frame))
            if not pieces:
                self._refuse_relayed(packet[6:11], frame, session.room, now)
                return
        kind = _UNICAST | (_PARTIAL if partial else 0) | session.sealed
        head = prefix(kind, ttl - 1, session.tag, packet[6:11], destination)
        session.pack(head, pieces, now)
        self._dirty[session.name] = session
        self.counts["relayed"] += len(pieces)

    def _refuse_relayed(self, source: bytes, frame: bytes, room: int, now: int) -> None:
        """Tell the sender of a frame that does not fit, at its own host."""
        self.counts["too_big"] += 1
        answer = inner.too_big(frame, room - ETHERNET)
        name = self._name_of(source)
        way = self._way_to(name) if name is not None else None
        if answer is not None and way is not None and len(answer) <= way.session.room:
            way.session.pack(way.heads[0], [answer], now)
            self._dirty[way.session.name] = way.session

    def _pass_on(self, packet: bytes, frame: bytes, session: _Session, now: int) -> None:
        """A flood: deliver it and pass it on along its source's tree, each the first time only."""
        source, number = packet[6:11], packet[11:16]
        name = self._name_of(source)
        if name is None or name == self._own:
            self.counts["duplicate" if name is not None else "lost"] += 1
            return
        uid = self._holder.uid_of(name)
        known = self._flooders.get(name)
        if known is None or known[0] != uid:
            if len(self._flooders) >= _MAX_FLOODERS:
                self._flooders.clear()
            known = self._flooders[name] = (uid, Window())
        sequence = int.from_bytes(number, "big")
        if not known[1].fresh(sequence):
            self.counts["duplicate"] += 1
            return
        known[1].mark(sequence)
        ttl = packet[1]
        found = layers(frame) if packet[0] & _PARTIAL else None
        if ttl > 1:
            for peer in self._holder.routes.broadcast_next_hops(name):
                other = self._sessions.get(peer)
                if other is not None and other is not session:
                    self._flood_to(other, frame, found, 0, ttl - 1, source, number, now)
                    self.counts["relayed"] += 1
        if not packet[0] & _PASS_ON:
            self._deliver(frame, packet[0])

    def _name_of(self, identity: bytes) -> PeerName | None:
        """The reachable peer behind a short number."""
        reachable = self._holder.routes.reachable
        if self._names_of is not reachable:
            self._names_of = reachable
            self._names = {peer_id(name): name for name in reachable}
        return self._names.get(identity)

    # --- queries ------------------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """JSON-able: each neighbour's session, and the counts."""
        sessions = {
            name: {
                "address": f"{session.address[0]} {session.address[1]}",
                "encrypted": session.sealer is not None,
                "mtu": session.room - ETHERNET,
            }
            for name, session in sorted(self._sessions.items())
        }
        return {"sessions": sessions, "counts": dict(self.counts)}


def _opened(data: bytes, segment: int, session: _Session) -> list[bytes] | None:
    """As `seal.Opener.open_train`, of packets in clear."""
    window = session.window
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


def _fit(frame: bytes, found: Layers | None, room: int, offload: int, cut: int) -> tuple[bool, list[bytes]]:
    """The frame as frames of at most `room` octets, none if it must not be cut, and whether checksums are missing.

    `found`: the frame's own is left to be completed. `cut`: the wanted payload of the segments of a super-packet.
    """
    if found is not None and offload:
        size = min(cut, room - found.end)
        if found.protocol == 6 and size >= min(cut, _MIN_SEGMENT):
            return True, [head + payload for head, payload in inner.split_tcp(frame, found, size)]
        if found.protocol != 6 and size == cut:  # a datagram of the container's must stay one
            return True, [head + payload for head, payload in inner.split_udp(frame, found, cut)]
        return False, []
    if len(frame) <= room:
        return found is not None, [frame]
    if found is not None:
        frame = inner.finished(frame, found)
    return False, inner.fragments(frame, room - ETHERNET)
