"""The userspace tunnel of one peer ("sleeve"): frames from the port to packets for neighbours, and back. Bytes alone.

The interface to the driver uses buffers instead of effects, because this is the hot path. The driver passes in what it
read (`outgoing` from the port, `incoming` from the socket), then takes the results (`take_sends`, `take_writes`,
`take_heard`). The route of each MAC and each relayed peer is computed once and cached until `forget` reports a change.
Must not know sockets, clocks, or which path is better.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from overlay.config import PeerName
from overlay.crypto.seal import TAG, Window
from overlay.datapath import inner
from overlay.datapath.delivery import Delivery
from overlay.datapath.inner import ETHERNET, NEEDS_CSUM, VNET, Gso, Layers, layers
from overlay.datapath.sleeve import (
    HEADER,
    ID_BITS,
    PREFIX,
    PROBE_BODY,
    TTL,
    DatagramKind,
    Flag,
    peer_id,
    prefix,
    unbundled,
)
from overlay.datapath.tunnel_session import Send, Socket, TunnelRoute, TunnelSession
from overlay.datapath.tunnel_sessions import TunnelSessions
from overlay.inputs import Neighbour, ProbeHeard
from overlay.mesh.routes import Routes

_MIN_SEGMENT: Final = 64
_MAX_FLOODERS: Final = 8192
_TYPE: Final = 3
# Plain integers, because an enum's operators cost as much as the rest of a packet's handling.
_UNICAST, _FLOOD, _ANSWER = int(DatagramKind.UNICAST), int(DatagramKind.FLOOD), int(DatagramKind.ANSWER)
_PARTIAL, _PACKED, _SEALED, _PASS_ON = int(Flag.PARTIAL), int(Flag.PACKED), int(Flag.SEALED), int(Flag.PASS_ON)
_COUNTER_MASK: Final = (1 << 48) - 1


class Holder(Struct, frozen=True):
    """Queries to the rest of the node about the destinations of floods and unicasts."""

    peer_of: Callable[[str], PeerName | None]
    """The peer that announces a MAC."""
    routes: Routes
    uid_of: Callable[[PeerName], int]
    """The incarnation of a peer, 0 if unknown."""
    carried: Callable[[PeerName], bool]
    """Whether the kernel delivers floods to this neighbour, or to this peer whose connection was lost."""


class Tunnel:
    """See the module's docstring. `counts` has the numbers of packets, by outcome."""

    def __init__(self, own: PeerName, uid: int, holder: Holder, hold: int) -> None:
        """`hold`: how long traffic goes on to a peer that was lost without a farewell, in nanoseconds."""
        self._own = own
        self._own_id = peer_id(own)
        self._holder = holder
        self._sessions = TunnelSessions(hold)
        self._ways: dict[bytes, TunnelRoute | None] = {}
        self._ways_by_peer: dict[PeerName, TunnelRoute | None] = {}
        self._relays: dict[bytes, TunnelRoute | None] = {}
        self._names: dict[bytes, PeerName] = {}
        self._names_of: tuple[PeerName, ...] = ()
        self._flooders: dict[PeerName, tuple[int, Window]] = {}
        self._flood_number = uid // 10_000_000 if uid >> 40 else uid << 20
        self._dirty: dict[PeerName, TunnelSession] = {}
        self._delivery = Delivery()
        self._sends: list[Send] = []
        self._heard: list[ProbeHeard] = []
        self.changes = 0
        """Goes up whenever something may have changed that `overlay.runtime.rows` has copied: routes, sessions, keys,
        counters."""
        self.counts: dict[str, int] = dict.fromkeys(
            ("sent", "received", "relayed", "strange", "refused", "lost", "too_big", "expired", "duplicate"), 0
        )

    # --- from the rest of the node ------------------------------------------------------------------------------------

    def set_neighbours(self, neighbours: tuple[Neighbour, ...], now: int) -> None:
        """Set the neighbours; see `tunnel_sessions` for what becomes of the sessions of those that were lost."""
        self._sessions.set_neighbours(neighbours, now)
        for peer, session in list(self._dirty.items()):
            if self._sessions.of(peer) is not session:
                del self._dirty[peer]
        self.forget(now)

    def drop(self, peer: PeerName, now: int) -> None:
        """A peer has said farewell, or is not known any more: nothing goes on to it."""
        self._sessions.drop(peer)
        self.forget(now)

    def set_size(self, peer: PeerName, size: int) -> None:
        """UDP payloads of up to `size` bytes arrive at this neighbour."""
        session = self._sessions.get(peer)
        if session is not None:
            self.changes += 1
            session.resize(size)

    def towards(self, peer: PeerName) -> tuple[Socket, int] | None:
        """The destination of packets to this neighbour or lost peer, and their maximum UDP payload in bytes."""
        session = self._sessions.of(peer)
        return (session.address, session.size) if session is not None else None

    def found_at(self, peer: PeerName, source: Socket, *, proven: bool = False) -> None:
        """The newest packet of this neighbour came from `source`: a new NAT mapping, or a new address of the host.

        `proven`: a heartbeat proves it. A sealed packet proves itself. An unsealed packet has only a 32-bit tag, which
        an attacker could guess to redirect a peer's traffic to its own host. So it may change only the port, as a NAT
        does; a new host is accepted only with a heartbeat.
        """
        session = self._sessions.of(peer)
        if session is not None and (proven or session.opener is not None or source[0] == session.address[0]):
            self.changes += 1
            session.address = source

    def forget(self, now: int) -> None:
        """Routes, endpoints or paths have changed: clear the cached routes, and end sessions that rest for too long."""
        self.changes += 1
        self._sessions.expire(now)
        self._ways.clear()
        self._ways_by_peer.clear()
        self._relays.clear()

    def probe(self, peer: PeerName, nonce: int, size: int, now: int, answer: bool = False) -> None:
        """Send a probe with a UDP payload of `size` bytes, or the reply to one of that size."""
        session = self._sessions.get(peer)
        if session is None:
            return
        self.changes += 1
        kind = (DatagramKind.ANSWER if answer else DatagramKind.PROBE) | session.sealed
        head = prefix(kind, 1, session.tag, self._own_id, peer_id(peer))
        body = nonce.to_bytes(8, "big") + size.to_bytes(2, "big")
        overhead = HEADER + (TAG if session.sealed else 0)
        if not answer:
            body += bytes(max(0, size - overhead - PROBE_BODY))
        # Not batched: if it does not fit the interface, other packets must not be lost with it.
        self._sends.append((session.address, [session.pack_one(head, body, now)], 0))

    # --- to the driver ------------------------------------------------------------------------------------------------

    def take_sends(self) -> list[Send]:
        """The packets to send, in order for each neighbour."""
        for session in self._dirty.values():
            self._sends += session.take_sends()
            self.counts["sent"] += session.sent - session.counted
            session.counted = session.sent
        self._dirty.clear()
        sends, self._sends = self._sends, []
        return sends

    def take_writes(self) -> list[list[bytes]]:
        """The writes to the port: each is the buffers of one virtio-net header and frame."""
        return self._delivery.take()

    def take_heard(self) -> list[ProbeHeard]:
        """The probes and replies received, for the node."""
        heard, self._heard = self._heard, []
        return heard

    def take_busy(self) -> list[PeerName]:
        """The neighbours that exchanged frames with this peer since the last call."""
        busy = []
        for session in self._sessions.live:
            if session.frames != session.frames_before:
                session.frames_before = session.frames
                busy.append(session.name)
        return busy

    # --- for rows handled in one call ---------------------------------------------------------------------------------

    @property
    def own_id(self) -> bytes:
        """This peer's short id."""
        return self._own_id

    @property
    def sessions(self) -> Collection[TunnelSession]:
        """The sessions with all neighbours."""
        return self._sessions.live

    @property
    def quiet(self) -> bool:
        """Nothing is queued, so packets that others make are in order."""
        return not self._dirty and not self._sends

    def recent_ways(self, most: int) -> Iterator[tuple[bytes, TunnelRoute]]:
        """MACs whose route is known, those that were asked for last first."""
        known = ((mac, way) for mac, way in reversed(self._ways.items()) if way is not None)
        return islice(known, most)

    def sent_row(self, session: TunnelSession, count: int, now: int) -> None:
        """As many packets to this neighbour were made under its next counters."""
        session.sent_row(count, now)
        session.counted += count
        self.counts["sent"] += count

    def received_row(self, session: TunnelSession, counter: int, count: int) -> None:
        """Packets from this neighbour for this host were opened and delivered, the first with this new counter."""
        session.received_row(counter, count)
        self.counts["received"] += count

    def set_join_datagrams(self, join: bool) -> None:
        """Whether the port takes consecutive datagrams as one."""
        self._delivery.join_datagrams = join

    @property
    def joins_datagrams(self) -> bool:
        """See `set_join_datagrams`."""
        return self._delivery.join_datagrams

    # --- from the port ------------------------------------------------------------------------------------------------

    def outgoing(self, data: bytes | memoryview, now: int) -> None:
        """Handle a frame of a container of this host, preceded by its virtio-net header."""
        if len(data) < VNET.size + ETHERNET:
            return
        self.changes += 1
        flags, offload, _, cut, start, offset = VNET.unpack_from(data)
        frame = bytes(data[VNET.size :])
        mac = frame[:6]
        way = self._ways.get(mac)
        if way is None and mac not in self._ways:
            way = self._ways[mac] = self._way_to_mac(mac)
        found: Layers | None = None
        if flags & NEEDS_CSUM:
            found = layers(frame)
            if found is None or not found.transport or found.transport != start:
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
        session.send(way, partial, pieces, now)
        self._dirty[session.name] = session

    def _refuse(self, frame: bytes, room: int) -> None:
        """Tell the sender, on this host, that its frame does not fit."""
        self.counts["too_big"] += 1
        answer = inner.too_big(frame, room - ETHERNET)
        if answer is not None:
            self._delivery.plain(answer)

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
        for lost in self._sessions.lost:
            if holder.routes.next_hop(lost.name) is None and not holder.carried(lost.name):
                self._flood_to(lost, frame, found, 0, TTL, self._own_id, number, now, offload, cut)

    def _flood_to(
        self, session: TunnelSession, frame: bytes, found: Layers | None, flags: int, ttl: int, source: bytes,
        number: bytes, now: int, offload: int = 0, cut: int = 0,
    ) -> None:  # fmt: skip
        partial, pieces = _fit(frame, found, session.room, offload, cut)
        if len(pieces) != 1:
            # A flood has one number, so it must be one packet. Multicasts above the path's MTU get no error reply.
            self.counts["too_big"] += 1
            return
        kind = _FLOOD | flags | (_PARTIAL if partial else 0) | session.sealed
        session.pack(prefix(kind, ttl, session.tag, source, number), pieces, now)
        self._dirty[session.name] = session

    def _way_to_mac(self, mac: bytes) -> TunnelRoute | None:
        if mac[0] & 1:
            return None
        peer = self._holder.peer_of(mac.hex(":"))
        return self._way_to(peer) if peer is not None and peer != self._own else None

    def _way_to(self, peer: PeerName) -> TunnelRoute | None:
        """One for all containers of a peer, so that their small frames share packets."""
        if peer not in self._ways_by_peer:
            self._ways_by_peer[peer] = self._new_way_to(peer)
        return self._ways_by_peer[peer]

    def _new_way_to(self, peer: PeerName) -> TunnelRoute | None:
        hop = self.first_hop(peer)
        session = self._sessions.of(hop) if hop is not None else None
        return TunnelRoute(session, self._own_id, peer_id(peer)) if session is not None else None

    def first_hop(self, peer: PeerName) -> PeerName | None:
        """The peer that gets frames for `peer` first: itself if it is a neighbour, else the next on the route.

        A peer without a route gets them itself as long as its session rests.
        """
        if self._sessions.get(peer) is not None:
            return peer
        hop = self._holder.routes.next_hop(peer)
        if hop is not None:
            return hop if self._sessions.get(hop) is not None else None
        return peer if self._sessions.resting(peer) is not None else None

    def hears(self, other: "Tunnel", own: PeerName) -> bool:
        """Whether packets of `other` for this peer, which is called `own` there, are those of a known session."""
        session = other._sessions.of(own)
        return session is not None and self._sessions.by_tag(session.tag) is not None

    # --- from the socket ----------------------------------------------------------------------------------------------

    def incoming(self, data: bytes, segment: int, source: Socket, now: int) -> None:
        """Handle datagrams of `segment` bytes (0: just one) from one sender; invalid ones are counted and dropped."""
        self.changes += 1
        if not segment or segment >= len(data):
            if not self._train(data, len(data), source, now):
                self._datagram(data, source, now)
        elif not self._train(data, segment, source, now):
            for start in range(0, len(data), segment):
                self._datagram(data[start : start + segment], source, now)

    def _train(self, data: bytes, segment: int, source: Socket, now: int) -> bool:
        """Fast path: packets for one peer, in order, from one sender, all new. Returns False if it does not apply."""
        head = data[:PREFIX]
        session = self._sessions.by_tag(head[2:6])
        if session is None or head[0] & _TYPE != _UNICAST:
            return False
        if head[0] & _SEALED != session.sealed or segment < HEADER or 0 < len(data) % segment < HEADER:
            return False
        frames = session.open_train(data, segment)
        if frames is None:
            return False
        if source != session.address:
            self.found_at(session.name, source)
        session.frames += len(frames)
        self.counts["received"] += len(frames)
        kind = head[0]
        if head[11:16] != self._own_id:
            self._relay_train(head, frames, now)
        elif kind & _PARTIAL and not kind & _PACKED:
            self.counts["refused"] += self._delivery.train(frames)
        else:
            for frame in frames:
                self._deliver(frame, kind)
        return True

    def _deliver(self, content: bytes, kind: int) -> None:
        """Deliver the content of a packet for this host: one frame, or several."""
        entries = unbundled(content) if kind & _PACKED else [(content, kind & _PARTIAL != 0)]
        if entries is None:
            self.counts["refused"] += 1
            return
        for frame, partial in entries:
            if not self._delivery.frame(frame, partial):
                self.counts["refused"] += 1

    def _datagram(self, packet: bytes, source: Socket, now: int) -> None:
        session = self._sessions.by_tag(packet[2:6])
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
        if kind & _PACKED and what != _UNICAST:
            self.counts["refused"] += 1
        elif what == _UNICAST:
            session.frames += 1
            if packet[11:16] == self._own_id:
                self._deliver(frame, kind)
            else:
                self._relay(packet, frame, now)
        elif what == _FLOOD:
            self._pass_on(packet, frame, session, now)
        else:
            self._probed(frame, packet, session, what == _ANSWER)

    def _probed(self, body: bytes, packet: bytes, session: TunnelSession, answer: bool) -> None:
        if len(body) < PROBE_BODY or packet[11:16] != self._own_id:
            self.counts["refused"] += 1
            return
        nonce, said = int.from_bytes(body[:8], "big"), int.from_bytes(body[8:10], "big")
        self._heard.append(ProbeHeard(session.name, False, nonce, said if answer else len(packet), answer))

    # --- relaying -----------------------------------------------------------------------------------------------------

    def _way_on(self, destination: bytes) -> TunnelRoute | None:
        """The route to the peer with this short id."""
        way = self._relays.get(destination)
        if way is None and destination not in self._relays:
            peer = self._name_of(destination)
            # Only existing peers are cached, so that forged ids cannot fill the cache.
            way = self._way_to(peer) if peer is not None else None
            if peer is not None:
                self._relays[destination] = way
        return way

    def _relay_train(self, head: bytes, frames: list[bytes], now: int) -> None:
        """Relay the contents of packets with one prefix (of one length, except the last), unchanged if they fit."""
        way = self._way_on(head[11:16])
        if way is None or head[1] <= 1 or len(frames[0]) > way.session.room:
            for frame in frames:
                self._relay(head, frame, now)
            return
        session = way.session
        kind = _UNICAST | head[0] & (_PACKED | _PARTIAL) | session.sealed
        session.pack(prefix(kind, head[1] - 1, session.tag, head[6:11], head[11:16]), frames, now)
        self._dirty[session.name] = session
        self.counts["relayed"] += len(frames)

    def _relay(self, packet: bytes, frame: bytes, now: int) -> None:
        """Relay a frame to the next hop, as one packet if it fits there."""
        destination = packet[11:16]
        way = self._way_on(destination)
        ttl = packet[1]
        if way is None or ttl <= 1:
            self.counts["expired" if ttl <= 1 else "lost"] += 1
            return
        session = way.session
        if packet[0] & _PACKED and len(frame) > session.room:
            for single, partial in unbundled(frame) or ():
                kind = _UNICAST | (_PARTIAL if partial else 0)
                self._relay(bytes((kind,)) + packet[1:PREFIX], single, now)
            return
        partial = bool(packet[0] & _PARTIAL)
        pieces = [frame]
        if len(frame) > session.room:
            found = layers(frame) if partial else None
            tcp = found is not None and found.protocol == 6
            partial, pieces = _fit(frame, found, session.room, Gso.TCPV4 if tcp else Gso.NONE, len(frame))
            if not pieces:
                self._refuse_relayed(packet[6:11], frame, session.room, now)
                return
        kind = _UNICAST | packet[0] & _PACKED | (_PARTIAL if partial else 0) | session.sealed
        head = prefix(kind, ttl - 1, session.tag, packet[6:11], destination)
        session.pack(head, pieces, now)
        self._dirty[session.name] = session
        self.counts["relayed"] += len(pieces)

    def _refuse_relayed(self, source: bytes, frame: bytes, room: int, now: int) -> None:
        """Tell the sender, on its own host, that its frame does not fit."""
        self.counts["too_big"] += 1
        answer = inner.too_big(frame, room - ETHERNET)
        name = self._name_of(source)
        way = self._way_to(name) if name is not None else None
        if answer is not None and way is not None and len(answer) <= way.session.room:
            way.session.pack(way.heads[0], [answer], now)
            self._dirty[way.session.name] = way.session

    def _pass_on(self, packet: bytes, frame: bytes, session: TunnelSession, now: int) -> None:
        """Deliver a flood and pass it on along its source's tree, each only the first time."""
        source, number = packet[6:11], packet[11:16]
        name = self._name_of(source)
        if name is None and self._sessions.resting(session.name) is session and source == peer_id(session.name):
            name = session.name  # it does not know that it was lost, or is back
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
        """The reachable peer with this short id."""
        reachable = self._holder.routes.reachable
        if self._names_of is not reachable:
            self._names_of = reachable
            self._names = {peer_id(name): name for name in reachable}
        return self._names.get(identity)

    # --- queries ------------------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """JSON-able: each neighbour's session, and the counts."""
        sessions = {
            session.name: {
                "address": f"{session.address[0]} {session.address[1]}",
                "encrypted": session.sealer is not None,
                "mtu": session.room - ETHERNET,
            }
            for session in sorted(self._sessions.live, key=lambda each: each.name)
        }
        resting = sorted(session.name for session in self._sessions.lost)
        return {"sessions": sessions, "resting": resting, "counts": dict(self.counts)}


def _fit(frame: bytes, found: Layers | None, room: int, offload: int, cut: int) -> tuple[bool, list[bytes]]:
    """Cut the frame to frames of at most `room` bytes; also tells whether their checksums are missing.

    Returns no frames if it must not be cut. `found`: the frame's own checksum must be completed. `cut`: the wanted
    payload of a super-packet's segments.
    """
    if found is not None and offload and cut:
        size = min(cut, room - found.end)
        if found.protocol == 6 and size >= min(cut, _MIN_SEGMENT):
            return True, inner.split_tcp(frame, found, size)
        if found.protocol != 6 and size == cut:  # a datagram of a container must stay one datagram
            return True, inner.split_udp(frame, found, cut)
        return False, []
    if len(frame) <= room:
        return found is not None, [frame]
    if found is not None:
        frame = inner.finished(frame, found)
    return False, inner.fragments(frame, room - ETHERNET)
