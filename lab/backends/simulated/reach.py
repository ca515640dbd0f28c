"""Where a packet from a container or a host arrives, and the time of a request and its response.

Owns the routing by kind of address: the overlay (`lab.sim.walk`), the engine's network of one host, published ports and
the hosts themselves. Results are cached until forwarding changes.
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
"""Interval at which a daemon checks what its kernel has forwarded (`overlay.runtime.sleeve`)."""
_ETHERNET = 1500


class Route(Struct, frozen=True):
    """A path there on which the reply comes back. `container` empty: the host itself; `port`: as seen in there."""

    host: str
    container: str
    there: tuple[Hop, ...]
    back: tuple[Hop, ...]
    port: int


class AskedRoute(Struct, frozen=True):
    """The request for a route: the sender (`own`: its address, empty if it is not on the overlay), the receiver, and
    their MACs on the overlay."""

    host: str
    container: str
    own: str
    address: str
    port: int
    protocol: Protocol
    own_mac: str = ""
    mac: str = ""


Crossings = list[tuple[Hop, int, int | None]]
"""Each hop with the times when a packet enters it and arrives; None: it was lost."""
BothCrossings = tuple[Crossings, Crossings]
"""Crossings of the forward path, and of the return path."""
Sizes = tuple[int, int]
"""Bytes of a packet and of its reply."""
Times = tuple[int, int | None, int | None]
"""When a packet is sent, when it arrives, when its reply arrives; None: lost."""
Seen = Callable[[Hop | None, bool, Any], None]
"""(hop, or None: the container; whether the packet is sent there, or arrives; the packet): called as it happens."""


class FlowTap(TypingProtocol):
    """Observes the packets of containers and commands."""

    def exchanged(
        self, asked: AskedRoute, route: Route, times: Times, sizes: Sizes, crossings: BothCrossings, *, refused: bool
    ) -> None:
        """One packet there, and one back."""
        ...

    def unanswered(self, asked: AskedRoute, now: int, size: int) -> None:
        """One packet that does not arrive, or whose reply does not."""
        ...

    def streamed(
        self,
        asked: AskedRoute,
        route: Route,
        times: Times,
        sizes: tuple[int, int],
        crossings: tuple[Crossings, Crossings],
    ) -> None:
        """A request and its response on an open connection."""
        ...

    def asking(self, asked: AskedRoute, route: Route, sizes: tuple[int, int], *, refused: bool) -> tuple[Seen, Seen]:
        """Observers of one packet there, and of the reply."""
        ...

    def flowing(self, asked: AskedRoute, route: Route, *, back: bool) -> tuple[Seen | None, Seen | None]:
        """Observers of the segments of one direction of an open connection, and of their acknowledgements."""
        ...


class _Found(Struct, frozen=True):
    """A cached route, valid until forwarding changes."""

    route: Route | None
    overlay: bool = False
    """It leads over the overlay, where it also depends on neighbour caches."""
    trip: RoundTrip | None = None


class LabRoutes:
    """All routes of a lab. `spoken_to` gets the MACs to which the containers of a host have sent frames recently."""

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
        """Host -> remote MACs to which it has sent frames since its last check."""
        self._known: dict[tuple[str, str, str, int, Protocol], _Found] = {}
        self._decided: dict[Flow, bool] = {}
        """Cached results of both hosts' packet filters."""
        self.passed: Callable[[Flow], None] = lambda flow: None
        """Called for the first packet of each flow that passes."""
        self._cuts = 0
        self.tap: FlowTap | None = None
        """Called for each packet, while packets are captured."""
        self.asked = AskedRoute("", "", "", "", 0, "icmp")
        """The request for the last route, while packets are captured."""
        self.walks = Walks(network, kernels, self.alive, tunnel, EXPOSED)

    def alive(self, host: str, container: str) -> bool:
        """Whether the network of a container exists; the host's own exists while it is switched on."""
        if container == EXPOSED:
            return True
        found = self._engines[host].containers.get(container)
        return found is not None and found.running

    def changed(self) -> None:
        """Forwarding has changed: invalidate the cache."""
        self._known.clear()
        self._decided.clear()
        self.walks.forget()

    def route(
        self, host: str, container: str, address: str, port: int, protocol: Protocol | None = None
    ) -> Route | None:
        """From a container (its id; empty: the host itself) to an address and port; None: no reply comes back.

        By default ports are TCP ports, and port 0 means ICMP.
        """
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
        """A packet of this size is sent now, but the route that was just requested does not exist."""
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
        """The container at the end of a route; None: it ends at a host."""
        return self._engines[route.host].containers.get(route.container) if route.container else None

    def exchange(self, route: Route, now: int, there: int, back: int, *, refused: bool = False) -> int | None:
        """When the reply of `back` bytes to a packet of `there` bytes arrives; None: one of them was lost. `refused`:
        the port is closed, and the reply says so."""
        return self._both_ways(route, now, there, back, refused=refused, deviates=True)[1]

    def round_trip(self, route: Route, now: int, there: int, back: int) -> tuple[int | None, int | None]:
        """When a packet of `there` bytes arrives, and when its reply arrives; None: lost."""
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
        """Additional time of the kernels on a path for this packet; may be negative."""
        usual = 2 * self.model.local_delay + self.model.base_delay * (len(route.there) + len(route.back))
        return self.spread.around(usual) - usual

    def over(self, hops: Sequence[Hop], time: int, size: int, crossings: Crossings) -> int | None:
        """When a packet sent at `time` has crossed these hops; None: it was lost. Appends to `crossings` each hop with
        the packet's send time, and its arrival time if it arrives."""
        for hop in hops:
            way = self._network.way(hop.sender, hop.receiver)
            arrivals = way.arrivals(time, size + hop.overhead, early=self._is_early(time))
            crossings.append((hop, time, min(arrivals) if arrivals else None))
            if not arrivals:
                return None
            time = min(arrivals)
        return time

    def by_packets(self, route: Route) -> bool:
        """Whether the packets of a TCP connection must be simulated one by one, because some get lost or wait."""
        hops = (*route.there, *route.back)
        return any(self._network.way(hop.sender, hop.receiver).packets for hop in hops)

    def shared(self, route: Route) -> bool:
        """Whether its packets cross shared cables, so that arrival times are not known in advance."""
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
        """Send a packet over these hops now; `arrives` is called on arrival, if it arrives. `seen` is called at the
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
        """Send a packet whose reply has `back` bytes. `asked`: the request for the route, if that was not the last one;
        `refused`: the reply says that the port is closed."""
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
        """The same (`back`: default `there` bytes); `answered` also gets the arrival time of the request."""
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
        """When the response on an open TCP connection arrives; None: full packets exceed the MTU. `asked`: the request
        for the route, if that was not the last one."""
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
        """(when the sender learns that everything has arrived, nanoseconds from the first byte's arrival to the last's)
        for `size` bytes on an open TCP connection without loss or rate limit: slow start, one window per round trip."""
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
        """Both directions of an open TCP connection, packet by packet: the other side receives data of the first as
        `heard`, this side data of the second as `answered`. `asked`: the request for the route."""
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
        """Whether a packet of that time is computed before others that are sent earlier."""
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
        """The route of a round trip over the overlay, up to the target host or its container."""
        if trip is None:
            return None
        there, found = trip.there.host, trip.there.container
        if found == EXPOSED:
            found, port = self._engines[there].published(port) or ("", port)
        return Route(there, found, trip.there.hops, trip.back.hops, port)

    def _may(self, flow: Flow) -> bool:
        """Whether the packet filters of both hosts allow this flow; replies pass."""
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
        """Whether a container's route to an address uses its overlay interface: the longest prefix wins."""
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
    """Does nothing, because a probe has its own deadline."""
