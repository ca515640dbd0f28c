"""Where a packet from a container or a host ends, and how long a question and its answer take on the way.

Owns which kind of address leads where: the overlay (`lab.sim.walk`), the engine's network of one host, published ports
and hosts themselves. What it found is remembered until something that forwards changes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_interface
from typing import Any
from typing import Protocol as TypingProtocol

from msgspec import Struct

from lab.backends.simulated.engine import SimContainer, SimEngine
from lab.sim.flows import Flow
from lab.sim.kernel import Kernel
from lab.sim.network import SimNetwork
from lab.sim.reno import HEADERS, INITIAL_WINDOW, MSS, RECEIVE_WINDOW
from lab.sim.spread import Spread
from lab.sim.tcp import TcpFlow
from lab.sim.walk import Hop, RoundTrip, Tunnel, Walks
from overlay.compiled_policy import Protocol
from overlay.config import Address
from overlay.docker.containers import EXPOSED
from overlay.env import MICROSECOND, MILLISECOND, SECOND

_LOOK = SECOND
"""How often a daemon looks at what its kernel has forwarded (`overlay.runtime.sleeve`)."""
_ETHERNET = 1500


class Route(Struct, frozen=True):
    """A way there that the answer comes back on. `container` empty: the host itself; `port`: as seen in there."""

    host: str
    container: str
    there: tuple[Hop, ...]
    back: tuple[Hop, ...]
    port: int


class AskedRoute(Struct, frozen=True):
    """What a route was asked for: from whom (`own`: the address, empty where it is not on the overlay), to whom, with
    which MACs on the overlay."""

    host: str
    container: str
    own: str
    address: str
    port: int
    protocol: Protocol
    own_mac: str = ""
    mac: str = ""


Crossings = list[tuple[Hop, int, int | None]]
"""Hops with when a packet sets out there, and when it arrives; None: it was lost."""
BothCrossings = tuple[Crossings, Crossings]
"""Of the way there, and of the way back."""
Sizes = tuple[int, int]
"""Of a packet and of its answer."""
Times = tuple[int, int | None, int | None]
"""When a packet sets out, when it arrives, when its answer is in; None: lost."""
Seen = Callable[[Hop | None, bool, Any], None]
"""(hop, or None: the container; whether it sets out there, or arrives; what the packet is): told as it happens."""


class FlowTap(TypingProtocol):
    """Told of what containers and commands send."""

    def exchanged(
        self, asked: AskedRoute, route: Route, times: Times, sizes: Sizes, crossings: BothCrossings, *, refused: bool
    ) -> None:
        """One packet there, and one back."""
        ...

    def unanswered(self, asked: AskedRoute, now: int, size: int) -> None:
        """One packet that gets nowhere, or whose answer does not."""
        ...

    def streamed(
        self,
        asked: AskedRoute,
        route: Route,
        times: Times,
        sizes: tuple[int, int],
        crossings: tuple[Crossings, Crossings],
    ) -> None:
        """A request and its answer on an open connection."""
        ...

    def asking(self, asked: AskedRoute, route: Route, sizes: tuple[int, int], *, refused: bool) -> tuple[Seen, Seen]:
        """Who is told of one packet there, and of the one back."""
        ...

    def flowing(self, asked: AskedRoute, route: Route, *, back: bool) -> tuple[Seen | None, Seen | None]:
        """Who is told of the segments of one direction of an open connection, and of their acknowledgements."""
        ...


class _Found(Struct, frozen=True):
    """What was found out about a route, as long as nothing that forwards changes."""

    route: Route | None
    overlay: bool = False
    """It leads over the overlay, where it depends on neighbour caches too."""
    trip: RoundTrip | None = None


class LabRoutes:
    """All routes of a lab. `spoken_to` is told which MACs the containers of a host have sent to lately."""

    def __init__(
        self,
        network: SimNetwork,
        kernels: Mapping[str, Kernel],
        engines: Mapping[str, SimEngine],
        tunnel: Tunnel,
        spoken_to: Callable[[str, tuple[str, ...]], None],
        spread: Spread,
    ) -> None:
        self._network = network
        self.model = network.model
        self._kernels = kernels
        self._engines = engines
        self._spoken_to = spoken_to
        self.spread = spread
        self._spoken: dict[str, dict[str, None]] = {}
        """Host -> MACs elsewhere that it has sent frames to since it looked last."""
        self._known: dict[tuple[str, str, str, int, Protocol], _Found] = {}
        self._decided: dict[Flow, bool] = {}
        """What the packet filters of both hosts say, as long as nothing changes."""
        self.passed: Callable[[Flow], None] = lambda flow: None
        """Told of each packet that opens a flow and gets through."""
        self._cuts = 0
        self.tap: FlowTap | None = None
        """Told of each packet, while packets are captured."""
        self.asked = AskedRoute("", "", "", "", 0, "icmp")
        """What the last route was asked for, while packets are captured."""
        self.walks = Walks(network, kernels, self.alive, tunnel, EXPOSED)

    def alive(self, host: str, container: str) -> bool:
        """Whether the network of a container exists; that of the host itself does as long as it is switched on."""
        if container == EXPOSED:
            return True
        found = self._engines[host].containers.get(container)
        return found is not None and found.running

    def changed(self) -> None:
        """Something that forwards is not what it was."""
        self._known.clear()
        self._decided.clear()
        self.walks.forget()

    def route(
        self, host: str, container: str, address: str, port: int, protocol: Protocol | None = None
    ) -> Route | None:
        """From a container (its id; empty: the host itself) to an address and port; None: no answer comes back.

        By default ports are TCP's, and port 0 is ICMP."""
        protocol = protocol or ("tcp" if port else "icmp")
        if self._cuts != self._network.cuts:
            self._cuts = self._network.cuts
            self._known.clear()
        key = (host, container, address, port, protocol)
        if key in self._known:
            found = self._known[key]
        else:
            self.walks.tunnelled = False
            found = self._find(host, container, address, port, protocol)
            if not self.walks.tunnelled:
                self._known[key] = found
        route = found.route
        if self.tap is not None:
            self.asked = self._told(host, container, address, port, protocol, found.trip)
        if found.overlay:
            heard = self.walks.heard(host, container or EXPOSED, address, found.trip)
            if heard is not found.trip:
                route = self._along(heard, port)
            if route is not None and heard is not None:
                there = heard.there
                flow = Flow(host, container or EXPOSED, heard.own, there.host, there.container, address, port, protocol)
                route = route if self._may(flow) else None
        self._note(host, container or EXPOSED, address, route)
        return route

    def lost(self, now: int, size: int) -> None:
        """A packet of this size sets out now on a route that was just asked for and is none."""
        if self.tap is not None:
            self.tap.unanswered(self.asked, now, size)

    def _told(
        self, host: str, container: str, address: str, port: int, protocol: Protocol, trip: RoundTrip | None
    ) -> AskedRoute:
        if trip is not None:
            return AskedRoute(host, container, trip.own, address, port, protocol, trip.own_mac, trip.mac)
        own = self._kernels[host].ports.get(container)
        if own is None or not self._on_overlay(host, container, address):
            return AskedRoute(host, container, "", address, port, protocol)
        return AskedRoute(host, container, own.addresses[0], address, port, protocol, own.mac)

    def target(self, route: Route) -> SimContainer | None:
        """The container at the end of a route; None: a host."""
        return self._engines[route.host].containers.get(route.container) if route.container else None

    def exchange(self, route: Route, now: int, there: int, back: int, *, refused: bool = False) -> int | None:
        """When the answer to a packet of `there` bytes is in, if it has `back` bytes; None: one of them was lost.
        `refused`: nobody listens at the port, so the answer says that."""
        return self._both_ways(route, now, there, back, refused=refused, deviates=True)[1]

    def round_trip(self, route: Route, now: int, there: int, back: int) -> tuple[int | None, int | None]:
        """When a packet of `there` bytes arrives, and when its answer is in; None: lost."""
        return self._both_ways(route, now, there, back, refused=False, deviates=False)

    def _both_ways(
        self, route: Route, now: int, there: int, back: int, *, refused: bool, deviates: bool
    ) -> tuple[int | None, int | None]:
        crossings: tuple[Crossings, Crossings] = ([], [])
        arrived = self.over(route.there, now + self.model.local_delay, there, crossings[0])
        answered = self.over(route.back, arrived, back, crossings[1]) if arrived is not None else None
        if answered is not None:
            answered += self.model.local_delay + (self._deviation(route) if deviates else 0)
        if self.tap is not None:
            times = (now, arrived, answered)
            self.tap.exchanged(self.asked, route, times, (there, back), crossings, refused=refused)
        return arrived, answered

    def _deviation(self, route: Route) -> int:
        """How much longer than usual the kernels on a way take this time; may be negative."""
        usual = 2 * self.model.local_delay + self.model.base_delay * (len(route.there) + len(route.back))
        return self.spread.around(usual) - usual

    def over(self, hops: Sequence[Hop], time: int, size: int, crossings: Crossings) -> int | None:
        """When a packet that sets out at `time` is at the end of these hops; None: it was lost. `crossings` gets each
        hop with when the packet sets out there, and when it arrives, if it does."""
        for hop in hops:
            way = self._network.way(hop.sender, hop.receiver)
            arrivals = way.arrivals(time, size + hop.overhead, early=self._is_early(time))
            crossings.append((hop, time, min(arrivals) if arrivals else None))
            if not arrivals:
                return None
            time = min(arrivals)
        return time

    def by_packets(self, route: Route) -> bool:
        """Whether the packets of a TCP connection have to be simulated one by one: some get lost, or wait."""
        hops = (*route.there, *route.back)
        return any(self._network.way(hop.sender, hop.receiver).packets for hop in hops)

    def shared(self, route: Route) -> bool:
        """Whether its packets cross cables with others, so that it is not known beforehand when they arrive."""
        hops = (*route.there, *route.back)
        return any(self._network.way(hop.sender, hop.receiver).stepped for hop in hops)

    def send(
        self,
        hops: Sequence[Hop],
        size: int,
        arrives: Callable[[Any], None],
        what: Any,
        number: int = 0,
        seen: Seen | None = None,
    ) -> None:
        """Send a packet over these hops now; `arrives` is called if and when it is there. `seen` is told of it at the
        sender, at both ends of each hop and at the receiver."""
        if seen is not None:
            seen(hops[number - 1] if number else None, not number, what)
            seen(hops[number] if number < len(hops) else None, number < len(hops), what)
        if number == len(hops):
            arrives(what)
            return
        hop = hops[number]
        way = self._network.way(hop.sender, hop.receiver)
        if way.cut:
            return
        self._network.transit(way, size + hop.overhead, self.send, hops, size, arrives, what, number + 1, seen)

    def ask(
        self,
        route: Route,
        there: int,
        back: int,
        answered: Callable[[], None],
        asked: AskedRoute | None = None,
        *,
        refused: bool = False,
    ) -> None:
        """Send a packet that is answered by one of `back` bytes. `asked`: what the route was asked for, if that was not
        just now; `refused`: the answer says that nobody listens."""
        self.ask_timed(route, there, lambda arrived: answered(), back, asked, refused=refused)

    def ask_timed(
        self,
        route: Route,
        there: int,
        answered: Callable[[int], None],
        back: int = 0,
        asked: AskedRoute | None = None,
        *,
        refused: bool = False,
    ) -> None:
        """The same (`back`: of `there` bytes unless said); `answered` is told when the question was there."""
        scheduler = self._network.scheduler
        question, answer = None, None
        if self.tap is not None:
            question, answer = self.tap.asking(asked or self.asked, route, (there, back or there), refused=refused)

        def arrived(what: None) -> None:
            now = scheduler.now
            late = max(0, self.model.local_delay + self._deviation(route))
            self.send(route.back, back or there, lambda what: scheduler.after(late, answered, now), None, 0, answer)

        scheduler.after(self.model.local_delay, self.send, route.there, there, arrived, None, 0, question)

    def stream(self, route: Route, now: int, there: int, back: int, asked: AskedRoute | None = None) -> int | None:
        """When the answer on an open TCP connection is in; None: full packets are too big. `asked`: what the route was
        asked for, if that was not just now."""
        time, arrived = now + self.model.local_delay, now
        told: tuple[Crossings, Crossings] = ([], [])
        for hops, size, crossings in ((route.there, there, told[0]), (route.back, back, told[1])):
            for hop in hops:
                way = self._network.way(hop.sender, hop.receiver)
                if way.limit and min(size + HEADERS + hop.overhead, hop.largest) > way.limit:
                    return None
                sent, time = time, way.in_order(time)
                crossings.append((hop, sent, time))
            arrived = time if crossings is told[0] else arrived
        answered = time + self.model.local_delay + self._deviation(route)
        if self.tap is not None:
            self.tap.streamed(asked or self.asked, route, (now, arrived, answered), (there, back), told)
        return answered

    def transfer(self, route: Route, now: int, size: int) -> tuple[int, int]:
        """(when the sender hears that all is there, nanoseconds from the first byte's arrival to the last's) of so many
        bytes on an open TCP connection that loses and limits nothing: slow start, a round for each round trip."""
        ways = [self._network.way(hop.sender, hop.receiver) for hop in (*route.there, *route.back)]
        trip = 4 * self.model.local_delay + sum(way.delay for way in ways)
        left, window, rounds = -(-size // MSS), INITIAL_WINDOW, 0
        while left > 0:
            left -= window
            window = min(2 * window, RECEIVE_WINDOW // MSS)
            rounds += 1
        return now + rounds * trip, max((rounds - 1) * trip, MICROSECOND)

    def flows(
        self,
        route: Route,
        heard: Callable[[Any], None],
        answered: Callable[[Any], None],
        asked: AskedRoute | None = None,
    ) -> tuple[TcpFlow, ...]:
        """Both directions of an open TCP connection, packet by packet: what is written to the first one is `heard` by
        the other side, what is written to the second `answered`. `asked`: what the route was asked for."""
        ways = [self._network.way(hop.sender, hop.receiver) for hop in (*route.there, *route.back)]
        trip = 2 * self.model.local_delay + sum(way.delay for way in ways)
        found: list[TcpFlow] = []
        for hops, other, delivered in ((route.there, route.back, heard), (route.back, route.there, answered)):
            seen: tuple[Seen | None, Seen | None] = (None, None)
            if self.tap is not None:
                seen = self.tap.flowing(asked or self.asked, route, back=bool(found))
            largest = min([MSS, *(hop.largest - hop.overhead - HEADERS for hop in hops)])
            found.append(
                TcpFlow(
                    self._network.scheduler,
                    trip,
                    partial(self.send, hops, seen=seen[0]),
                    partial(self.send, other, seen=seen[1]),
                    lambda message, size, delivered=delivered: delivered(message),  # type: ignore[misc]
                    _nothing,
                    largest,
                )
            )
        return tuple(found)

    def _is_early(self, time: int) -> bool:
        """Whether a packet of that time is asked for before others that are sent earlier."""
        return time - self._network.scheduler.now > MILLISECOND

    def _find(self, host: str, container: str, address: str, port: int, protocol: Protocol) -> _Found:
        if container and not self.alive(host, container):
            return _Found(None)
        engine = self._engines[host]
        if not (container and self._on_overlay(host, container, address)):
            for other in engine.containers.values():
                if other.running and other.eth0 == address:
                    return _Found(Route(host, other.id, (), (), port))
            if address == str(engine.bridge.ip):
                return _Found(Route(host, "", (), (), port))
            if self._network.known(address):
                return _Found(self._over_underlay(host, address, port, protocol))
        trip = self.walks.round_trip(host, container or EXPOSED, address)
        return _Found(self._along(trip, port), True, trip)

    def _along(self, trip: RoundTrip | None, port: int) -> Route | None:
        """The route that a round trip over the overlay is, up to the host that is meant or a container of it."""
        if trip is None:
            return None
        there, found = trip.there.host, trip.there.container
        if found == EXPOSED:
            found, port = self._engines[there].published(port) or ("", port)
        return Route(there, found, trip.there.hops, trip.back.hops, port)

    def _may(self, flow: Flow) -> bool:
        """Whether the packet filters of both hosts let somebody open this flow; answers pass."""
        decided = self._decided.get(flow)
        if decided is None:
            source, destination = ip_address(flow.source), ip_address(flow.destination)
            hosts = dict.fromkeys((flow.sender, flow.receiver))
            decided = self._decided[flow] = all(
                self._kernels[host].policy.decide(source, destination, flow.protocol, flow.port)[0] for host in hosts
            )
        if decided:
            self.passed(flow)
        return decided

    def _on_overlay(self, host: str, container: str, address: str) -> bool:
        """Whether a container's route to an address goes by its interface on the overlay: the longest prefix wins."""
        own = self._kernels[host].ports.get(container)
        asked, bridge = ip_address(address), self._engines[host].bridge.network
        nets = [ip_interface(cidr).network for cidr in own.cidrs] if own is not None else []
        longest = max((net.prefixlen for net in nets if asked in net), default=-1)
        return longest >= 0 and not (asked in bridge and bridge.prefixlen >= longest)

    def _over_underlay(self, host: str, address: str, port: int, protocol: Protocol) -> Route | None:
        site = self._network.reached(host, protocol, Address(address, port))
        if site is None or self._network.way(site.name, host).stops(protocol, 0):
            return None
        there: tuple[Hop, ...] = ()
        back: tuple[Hop, ...] = ()
        if site.name != host:
            there, back = (Hop(host, site.name, 0, _ETHERNET),), (Hop(site.name, host, 0, _ETHERNET),)
        published = self._engines[site.name].published(port)
        if published is not None:
            return Route(site.name, published[0], there, back, published[1])
        return Route(site.name, "", there, back, port)

    # --- traffic ----------------------------------------------------------------------------------------------------

    def _note(self, host: str, container: str, address: str, route: Route | None) -> None:
        """A frame was sent to this address, and answered if there is a route."""
        known = self._kernels[host].by_address.get(address)
        if known is not None:
            self._sent(host, known.mac)
        if route is not None and route.back and (port := self._kernels[host].ports.get(container)) is not None:
            self._sent(route.host, port.mac)

    def _sent(self, host: str, mac: str) -> None:
        spoken = self._spoken.get(host)
        if spoken is None:
            spoken = self._spoken[host] = {}
            self._network.scheduler.after(_LOOK, self._look, host)
        spoken[mac] = None

    def _look(self, host: str) -> None:
        self._spoken_to(host, tuple(self._spoken.pop(host)))


def _nothing() -> None:
    """A probe has its own deadline."""
