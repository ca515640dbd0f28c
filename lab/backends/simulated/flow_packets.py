"""Packets of simulated containers and commands, for captures: pings, datagrams and connections as frames.

Owns their content, which is generated with the size that the simulator counts, and their form at each interface on the
path: the container's own, and cables within VXLAN, WireGuard or the userspace tunnel.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lab.backends.simulated.engine import SimEngine
from lab.backends.simulated.packets import SEGMENT, SimPackets
from lab.backends.simulated.reach import AskedRoute, BothCrossings, Crossings, Route, Seen, Sizes, Times
from lab.capture.frames import ACK, PUSH, RESET, SYN, Sides, echo, mac_of, tcp, udp, vxlan
from lab.sim.walk import Hop
from overlay.crypto.secure_peer import WIREGUARD_PORT
from overlay.datapath import sleeve
from overlay.datapath.vxlan import INNER_ETHERNET, IPV4_HEADER, IPV6_HEADER, UDP_HEADER, VNI, VXLAN_HEADER, VXLAN_PORT

__all__ = ["FlowPackets"]

_FIRST_PORT = 32768
_PORTS = 28000
_REQUEST = b"GET / HTTP/1.1\r\nHost: simulated\r\nX-Filler: "
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: "


class FlowEnd(Struct, frozen=True):
    """One side of a flow: its container (empty: the host itself), interface and addresses."""

    host: str
    container: str
    interface: str
    mac: str
    address: str

    def sides(self, other: "FlowEnd") -> Sides:
        """Both sides of a frame from here to `other`."""
        return self.mac, other.mac, self.address, other.address


class OpenFlow(Struct):
    """A connection: its source port, and the bytes sent by both sides."""

    port: int
    sent: int
    got: int
    heard: list[int]
    """For each direction, the highest acknowledged byte, when packets are simulated one by one."""


class FlowPackets:
    """Implements `lab.backends.simulated.reach.FlowTap`."""

    def __init__(self, packets: SimPackets, engines: Mapping[str, SimEngine]) -> None:
        self._packets = packets
        self._engines = engines
        self._count = 0
        self._flows: dict[tuple[str, str, str, int], OpenFlow] = {}
        """The most recently opened connections."""

    def exchanged(
        self, asked: AskedRoute, route: Route, times: Times, sizes: Sizes, crossings: BothCrossings, *, refused: bool
    ) -> None:
        """See `FlowTap`."""
        one, other = self._ends(asked, route.host, route.container)
        question, answer = self._opening(asked, one, other, sizes, refused=refused)
        self._crosses(question, one, other, times[0], times[1], crossings[0])
        if times[1] is not None:
            self._crosses(answer, other, one, times[1], times[2], crossings[1])

    def unanswered(self, asked: AskedRoute, now: int, size: int) -> None:
        """See `FlowTap`: it leaves the container; where it is lost is unknown."""
        one, other = self._ends(asked, "", "")
        question, _ = self._opening(asked, one, other, (size, 0), refused=True)
        self._crosses(question, one, other, now, None, [])

    def _opening(
        self, asked: AskedRoute, one: FlowEnd, other: FlowEnd, sizes: tuple[int, int], *, refused: bool
    ) -> tuple[bytes, bytes]:
        """The first packet of a flow, and its reply."""
        self._count += 1
        port, number = _FIRST_PORT + self._count % _PORTS, self._count * 0x9E3779B1
        there, back = one.sides(other), other.sides(one)
        head = IPV6_HEADER if ":" in one.address else IPV4_HEADER
        content = [bytes(max(0, size - head - UDP_HEADER)) for size in sizes]
        if asked.protocol == "icmp":
            ping = echo(there, port, self._count, content[0], answer=False)
            return ping, echo(back, port, self._count, content[1], answer=True)
        if asked.protocol == "udp":
            return udp(there, (port, asked.port), content[0]), udp(back, (asked.port, port), content[1])
        key = (asked.host, asked.container, asked.address, asked.port)
        self._flows.pop(key, None)
        if not refused:
            self._flows[key] = OpenFlow(port, number + 1, ~number + 1, [0, 0])
        begun = tcp(there, (port, asked.port), (number, 0), SYN)
        return begun, tcp(back, (asked.port, port), (~number, number + 1), (RESET if refused else SYN) | ACK)

    def streamed(
        self,
        asked: AskedRoute,
        route: Route,
        times: Times,
        sizes: tuple[int, int],
        crossings: tuple[Crossings, Crossings],
    ) -> None:
        """See `FlowTap`."""
        flow = self._flows.get((asked.host, asked.container, asked.address, asked.port))
        if flow is None:
            return
        one, other = self._ends(asked, route.host, route.container)
        for answer, (size, crossed) in enumerate(zip(sizes, crossings, strict=True)):
            source, target = (other, one) if answer else (one, other)
            ports = (asked.port, flow.port) if answer else (flow.port, asked.port)
            text = _filled(_ANSWER if answer else _REQUEST, size)
            for at in range(0, len(text), SEGMENT):
                part = text[at : at + SEGMENT]
                numbers = (flow.got, flow.sent) if answer else (flow.sent, flow.got)
                frame = tcp(source.sides(target), ports, numbers, PUSH | ACK, part)
                if answer:
                    flow.got += len(part)
                else:
                    flow.sent += len(part)
                begun = times[1] if answer else times[0]
                if begun is not None:
                    self._crosses(frame, source, target, begun, times[2] if answer else times[1], crossed)

    def asking(self, asked: AskedRoute, route: Route, sizes: tuple[int, int], *, refused: bool) -> tuple[Seen, Seen]:
        """See `FlowTap`."""
        one, other = self._ends(asked, route.host, route.container)
        question, answer = self._opening(asked, one, other, sizes, refused=refused)

        def there(hop: Hop | None, out: bool, what: Any) -> None:
            self._seen(question, one, other, hop, out=out)

        def back(hop: Hop | None, out: bool, what: Any) -> None:
            self._seen(answer, other, one, hop, out=out)

        return there, back

    def flowing(self, asked: AskedRoute, route: Route, *, back: bool) -> tuple[Seen | None, Seen | None]:
        """See `FlowTap`: segments come from the model, including retransmissions; their content is generated."""
        flow = self._flows.get((asked.host, asked.container, asked.address, asked.port))
        if flow is None:
            return None, None
        one, other = self._ends(asked, route.host, route.container)
        source, target = (other, one) if back else (one, other)
        ports = (asked.port, flow.port) if back else (flow.port, asked.port)
        first, theirs = (flow.got, flow.sent) if back else (flow.sent, flow.got)
        head = _ANSWER if back else _REQUEST

        def data(hop: Hop | None, out: bool, what: Any) -> None:
            payload = (head[what.start : what.start + what.size]).ljust(what.size, b"x")
            heard = theirs + flow.heard[not back]
            frame = tcp(source.sides(target), ports, (first + what.start, heard), PUSH | ACK, payload)
            self._seen(frame, source, target, hop, out=out)

        def acknowledged(hop: Hop | None, out: bool, what: Any) -> None:
            flow.heard[back] = max(flow.heard[back], what.next)
            sent = theirs + flow.heard[not back]
            frame = tcp(target.sides(source), (ports[1], ports[0]), (sent, first + what.next), ACK)
            self._seen(frame, target, source, hop, out=out)

        return data, acknowledged

    def _seen(self, frame: bytes, source: FlowEnd, target: FlowEnd, hop: Hop | None, *, out: bool) -> None:
        """A frame passes an interface now."""
        packets, now = self._packets, self._packets.world.now
        if hop is None:
            end = source if out else target
            if end.container:
                packets.in_container(end.host, end.container, now, end.interface, frame, out=out)
        elif packets.at(hop.sender if out else hop.receiver):
            own, other = self._addresses(hop)
            host, address = (hop.sender, own) if out else (hop.receiver, other)
            packets.on_cable(host, now, address, _wrapped(frame, hop, own, other), out=out)

    def _ends(self, asked: AskedRoute, host: str, container: str) -> tuple[FlowEnd, FlowEnd]:
        """Sender and receiver (on no host: unknown), with the addresses in the packets."""
        network = self._packets.world.network
        source = self._engines[asked.host].containers.get(asked.container)
        target = self._engines[host].containers.get(container) if host else None
        own = asked.own
        if not own and source is not None and host in ("", asked.host):
            own = source.eth0
        # Over the engine's network, with the host's address if it leaves the host.
        own = own or network.near(asked.host, asked.address) or network.addresses(asked.host)[0]
        interface = "ethwe" if asked.own else "eth0"
        mac, other_mac = asked.own_mac or mac_of(own), asked.mac or mac_of(asked.address)
        one = FlowEnd(asked.host, source.name if source else "", interface, mac, own)
        return one, FlowEnd(host, target.name if target else "", interface, other_mac, asked.address)

    def _crosses(
        self, frame: bytes, source: FlowEnd, target: FlowEnd, begun: int, ended: int | None, crossings: Crossings
    ) -> None:
        """Record one frame at every interface on its path."""
        packets = self._packets
        if source.container:
            packets.in_container(source.host, source.container, begun, source.interface, frame, out=True)
        for hop, sent, arrived in crossings:
            if not packets.at(hop.sender) and not packets.at(hop.receiver):
                continue
            own, other = self._addresses(hop)
            outer = _wrapped(frame, hop, own, other)
            packets.on_cable(hop.sender, sent, own, outer, out=True)
            if arrived is not None:
                packets.on_cable(hop.receiver, arrived, other, outer, out=False)
        if target.container and ended is not None:
            packets.in_container(target.host, target.container, ended, target.interface, frame, out=False)

    def _addresses(self, hop: Hop) -> tuple[str, str]:
        """Addresses of the sender's and the receiver's cable."""
        network = self._packets.world.network
        other = network.addresses(hop.receiver)[0]
        own = network.near(hop.sender, other) or network.addresses(hop.sender)[0]
        return own, network.near(hop.receiver, own) or other


def _wrapped(frame: bytes, hop: Hop, own: str, other: str) -> bytes:
    """A frame with its encapsulation on the cable."""
    if not hop.overhead:
        return frame
    sides = (mac_of(own), mac_of(other), own, other)
    extra = hop.overhead - UDP_HEADER - (IPV6_HEADER if ":" in own else IPV4_HEADER) - INNER_ETHERNET
    if extra == VXLAN_HEADER:
        return vxlan(sides, (49152 + sum(frame[26:34]) % 16384, VXLAN_PORT), VNI, frame)
    if extra == sleeve.HEADER:
        head = sleeve.prefix(
            sleeve.DatagramKind.UNICAST, sleeve.TTL, bytes(4), sleeve.peer_id(own), sleeve.peer_id(other)
        )
        return udp(sides, (6783, 6783), head + bytes(8) + frame)
    return udp(sides, (WIREGUARD_PORT, WIREGUARD_PORT), b"\x04" + bytes(len(frame) + extra - 1))


def _filled(head: bytes, size: int) -> bytes:
    """A text of this size that begins with `head`, and ends like an HTTP header."""
    end = b"\r\n\r\n"
    return (head + b"x" * max(0, size - len(head) - len(end)) + end)[: max(size, 1)] if size else b""
