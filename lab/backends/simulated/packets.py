"""Packets of simulated hosts, for captures: frames around the bytes that daemons send and receive.

Owns the active captures, and peers' control connections and datagrams as frames; `flow_packets` owns the packets of
containers. The overlay's own codec encodes messages; headers are generated (docs/capture.md describes how). Must not
change anything: a run with captures equals the run without.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from lab.capture import pcapng
from lab.capture.bpf import passes
from lab.capture.filters import instructions
from lab.capture.frames import ACK, FIN, PUSH, RESET, SYN, Sides, mac_of, tcp, udp, vxlan
from lab.contracts.lab import Sniffing
from lab.sim.streams import End
from lab.sim.world import EPOCH, Peer, World
from overlay.config import Address
from overlay.crypto.secure_peer import WIREGUARD_PORT
from overlay.datapath import fast_probe, sleeve
from overlay.datapath.vxlan import VNI, VXLAN_PORT
from overlay.effects import SendProbe
from overlay.inputs import ProbeHeard
from overlay.mesh.session import HIGHEST_VERSION, LOWEST_VERSION, MAGIC
from overlay.wire.codec import encode_datagram, encode_message

__all__ = ["CONTAINER_INTERFACES", "SEGMENT", "PacketSink", "PeerPackets", "SimPackets"]

SEGMENT = 1448
"""Maximum bytes of a TCP segment."""
CONTAINER_INTERFACES = ("eth0", "ethwe")
_HIDDEN = 32
"""Bytes of WireGuard's header and tag around the encrypted part."""


class PacketSink:
    """One capture at one host or container."""

    def __init__(self, wanted: Sniffing, interfaces: tuple[str, ...], take: Callable[[bytes], None]) -> None:
        chosen = interfaces if wanted.interfaces in ((), ("any",)) else wanted.interfaces
        self._numbers = {name: number for number, name in enumerate(chosen)}
        self._program = instructions(wanted.program)
        self._between = [ip_address(one).packed for one in wanted.between]
        self._take = take
        head = pcapng.section("overlay-lab")
        take(head + b"".join(pcapng.interface(f"{wanted.label} {name}") for name in chosen))

    def packet(self, t: int, interface: str, frame: bytes, out: bool) -> None:
        """A frame passes an interface."""
        number = self._numbers.get(interface)
        if number is None or (self._between and not any(one in frame[12:54] for one in self._between)):
            return
        if passes(self._program, frame):
            flags = pcapng.OUTGOING if out else pcapng.INCOMING
            self._take(pcapng.packet(number, EPOCH + t, frame, 0, flags))


class SimPackets:
    """All captures of a simulated lab."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._sinks: dict[tuple[str, str], list[PacketSink]] = {}

    def interfaces(self, host: str) -> tuple[str, ...]:
        """A host's cables."""
        return tuple(f"eth{number}" for number in range(len(self.world.network.addresses(host))))

    def add(self, host: str, container: str, sink: PacketSink) -> None:
        """Start a capture."""
        self._sinks.setdefault((host, container), []).append(sink)

    def remove(self, host: str, container: str, sink: PacketSink) -> None:
        """Stop a capture."""
        self._sinks[host, container].remove(sink)
        if not self._sinks[host, container]:
            del self._sinks[host, container]

    @property
    def wanted(self) -> bool:
        """Whether any capture is active."""
        return bool(self._sinks)

    def at(self, host: str, container: str = "") -> bool:
        """Whether a capture is active there."""
        return (host, container) in self._sinks

    def on_cable(self, host: str, t: int, own: str, frame: bytes, *, out: bool) -> None:
        """A frame on the cable that has the host's address `own`."""
        for sink in self._sinks.get((host, ""), ()):
            addresses = self.world.network.addresses(host)
            sink.packet(t, f"eth{addresses.index(own) if own in addresses else 0}", frame, out)

    def in_container(self, host: str, container: str, t: int, interface: str, frame: bytes, *, out: bool) -> None:
        """A frame at an interface of a container."""
        for sink in self._sinks.get((host, container), ()):
            sink.packet(t, interface, frame, out)


class _ControlSide:
    """Bytes that one end of a connection has sent and received."""

    __slots__ = ("got", "sent")

    def __init__(self, end: End) -> None:
        self.sent = _first(end.conn) + 1
        self.got = _first(end.other.conn) + 1


class PeerPackets:
    """Implements `lab.sim.taps.PeerTap`."""

    def __init__(self, packets: SimPackets) -> None:
        self._packets = packets
        self._world = packets.world
        self._sides: dict[End, _ControlSide] = {}

    def opened(self, end: End) -> None:
        """Reconstruct the handshake and both first frames."""
        if not self._packets.at(end.site.name):
            return
        now, side = self._world.now, self._side(end)
        first = _framed(MAGIC + bytes((LOWEST_VERSION, HIGHEST_VERSION)))
        there, back = end.way.delay, end.back.delay
        dialled = end.dialled is not None
        # The dialler gets the other's first frame one round trip after the third packet; the other gets it at once.
        stood = now - there - back if dialled else now
        asked = stood - there - back
        self._segment(end, asked, SYN, side.sent - 1, 0, out=dialled)
        other = side.got - 1
        self._segment(
            end, stood if dialled else asked, SYN | ACK, other if dialled else side.sent - 1, 0, out=not dialled
        )
        self._segment(end, stood, ACK, side.sent, side.got, out=dialled)
        for out in (dialled, not dialled):
            self._data(end, stood if dialled and out else now, first, out=out)

    def wrote(self, end: End, message: Any) -> None:
        """See `PeerTap`."""
        if self._packets.at(end.site.name):
            self._data(end, self._world.now, _framed(encode_message(message)), out=True)

    def got(self, end: End, message: Any) -> None:
        """See `PeerTap`."""
        if self._packets.at(end.site.name):
            self._data(end, self._world.now, _framed(encode_message(message)), out=False)

    def closes(self, end: End) -> None:
        """See `PeerTap`."""
        if end.open:
            self._ended(end, FIN | ACK, out=True)

    def closed(self, end: End, reason: str) -> None:
        """See `PeerTap`."""
        if reason == "closed by the other side":
            self._ended(end, FIN | ACK, out=False)
        elif reason == "connection reset":
            self._ended(end, RESET | ACK, out=False)
        else:
            self._sides.pop(end, None)

    def died(self, peer: Peer) -> None:
        """See `PeerTap`."""
        for end in peer.ends.values():
            self._ended(end, RESET | ACK, out=True)

    def sent(self, peer: Peer, destination: Address, message: Any) -> None:
        """See `PeerTap`."""
        if self._packets.at(peer.name):
            self._datagram(peer, destination, (peer.port, destination.port), encode_datagram(message), out=True)

    def probed(self, peer: Peer, probe: SendProbe) -> None:
        """See `PeerTap`."""
        if not self._packets.at(peer.name) or peer.node is None:
            return
        name = peer.node.config.name
        if not probe.fast:
            towards = peer.node.tunnel.towards(probe.peer)
            if towards is not None:
                found = ProbeHeard(name, False, probe.nonce, probe.size, probe.answer)
                address = Address(*towards[0])
                self._datagram(peer, address, (peer.port, address.port), _in_tunnel(found, probe.peer), out=True)
            return
        found = ProbeHeard(name, True, probe.nonce, probe.size, probe.answer)
        self._fast(peer, probe.address, found, probe.peer, hidden=bool(probe.via), out=True)

    def heard(self, peer: Peer, source: Address, message: Any) -> None:
        """See `PeerTap`."""
        if not self._packets.at(peer.name):
            return
        if not isinstance(message, ProbeHeard):
            self._datagram(peer, source, (source.port, peer.port), encode_datagram(message), out=False)
        elif peer.node is not None:
            config = peer.node.config
            if message.fast:
                self._fast(peer, source, message, config.name, hidden=bool(config.tunnel_key), out=False)
            else:
                payload = _in_tunnel(message, config.name)
                self._datagram(peer, source, (source.port, peer.port), payload, out=False)

    # --- frames -----------------------------------------------------------------------------------------------------

    def _side(self, end: End) -> _ControlSide:
        side = self._sides.get(end)
        if side is None:
            side = self._sides[end] = _ControlSide(end)
        return side

    def _segment(self, end: End, t: int, flags: int, sent: int, got: int, payload: bytes = b"", *, out: bool) -> None:
        """One segment: bytes that this side (or the other) has sent, and has received."""
        if flags & SYN and flags & ACK:
            got = _first(end.other.conn if out else end.conn) + 1
        here, there = (end.local, end.remote) if out else (end.remote, end.local)
        if flags == SYN and not out:
            sent = _first(end.other.conn)
        frame = tcp(_sides(here.host, there.host), (here.port, there.port), (sent, got), flags, payload)
        self._packets.on_cable(end.site.name, t, end.local.host, frame, out=out)

    def _data(self, end: End, t: int, data: bytes, *, out: bool) -> None:
        side = self._side(end)
        for at in range(0, len(data), SEGMENT):
            part = data[at : at + SEGMENT]
            if out:
                self._segment(end, t, PUSH | ACK, side.sent, side.got, part, out=True)
                side.sent += len(part)
            else:
                self._segment(end, t, PUSH | ACK, side.got, side.sent, part, out=False)
                side.got += len(part)

    def _ended(self, end: End, flags: int, *, out: bool) -> None:
        if self._packets.at(end.site.name):
            side = self._side(end)
            numbers = (side.sent, side.got) if out else (side.got, side.sent)
            self._segment(end, self._world.now, flags, *numbers, out=out)
        self._sides.pop(end, None)

    def _datagram(self, peer: Peer, other: Address, ports: tuple[int, int], payload: bytes, *, out: bool) -> None:
        own = self._world.network.near(peer.name, other.host)
        sides = _sides(own, other.host) if out else _sides(other.host, own)
        self._packets.on_cable(peer.name, self._world.now, own, udp(sides, ports, payload), out=out)

    def _fast(self, peer: Peer, other: Address, found: ProbeHeard, receiver: str, *, hidden: bool, out: bool) -> None:
        """A probe of the kernel's path: within VXLAN, or encrypted within WireGuard."""
        inner = fast_probe.encode(fast_probe.FastProbe(found.peer, found.nonce, found.size, found.answer), receiver)
        if hidden:
            payload = b"\x04" + bytes(15 + len(inner) + _HIDDEN)
            self._datagram(peer, other, (WIREGUARD_PORT, WIREGUARD_PORT), payload, out=out)
            return
        own = self._world.network.near(peer.name, other.host)
        sides = _sides(own, other.host) if out else _sides(other.host, own)
        frame = vxlan(sides, (49152 + found.nonce % 16384, VXLAN_PORT), VNI, inner)
        self._packets.on_cable(peer.name, self._world.now, own, frame, out=out)


def _in_tunnel(found: ProbeHeard, receiver: str) -> bytes:
    """A probe as a packet of the userspace tunnel."""
    kind = sleeve.DatagramKind.ANSWER if found.answer else sleeve.DatagramKind.PROBE
    head = sleeve.prefix(kind, sleeve.TTL, bytes(4), sleeve.peer_id(found.peer), sleeve.peer_id(receiver)) + bytes(8)
    data = head + found.nonce.to_bytes(8, "big") + found.size.to_bytes(2, "big")
    return data if found.answer else data.ljust(found.size, b"\0")


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _first(conn: int) -> int:
    """The initial sequence number of a side."""
    return conn * 0x9E3779B1 & 0xFFFFFFFF


def _sides(own: str, other: str) -> Sides:
    return mac_of(own), mac_of(other), own, other
