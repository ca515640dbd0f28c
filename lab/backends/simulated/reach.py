"""Where a packet from a container or a host ends, and how long a question and its answer take on the way.

Owns which kind of address leads where: the overlay (`lab.sim.walk`), the engine's network of one host, published ports
and hosts themselves. What it found is remembered until something that forwards changes.
"""

from collections.abc import Mapping

from msgspec import Struct

from lab.backends.simulated.engine import BRIDGE, SimContainer, SimEngine
from lab.sim.kernel import Kernel
from lab.sim.network import Network
from lab.sim.passage import RTO_MIN
from lab.sim.walk import Tunnel, Walks
from overlay.env import MICROSECOND

LOCAL = 40 * MICROSECOND
"""From one container to another of the same host."""
_ENCAPSULATED = 50
"""Octets that VXLAN, UDP and IP put around a frame."""


class Route(Struct, frozen=True):
    """A way there that the answer comes back on. `container` empty: the host itself; `port`: as seen in there."""

    host: str
    container: str
    hops: tuple[str, ...]
    """Hosts that the packet goes over, the first and the last included."""
    port: int
    overhead: int = 0


class Reach:
    """All routes of a lab."""

    def __init__(
        self, network: Network, kernels: Mapping[str, Kernel], engines: Mapping[str, SimEngine], tunnel: Tunnel
    ) -> None:
        self._network = network
        self._engines = engines
        self._known: dict[tuple[str, str, str, int], Route | None] = {}
        self._cuts = 0
        self.walks = Walks(network, kernels, self.alive, tunnel)

    def alive(self, host: str, container: str) -> bool:
        """Whether the network of a container exists."""
        found = self._engines[host].containers.get(container)
        return found is not None and found.running

    def changed(self) -> None:
        """Something that forwards is not what it was."""
        self._known.clear()
        self.walks.forget()

    def route(self, host: str, container: str, address: str, port: int) -> Route | None:
        """From a container (its id; empty: the host itself) to an address and port; None: no answer comes back."""
        if self._cuts != self._network.cuts:
            self._cuts = self._network.cuts
            self._known.clear()
        key = (host, container, address, port)
        if key not in self._known:
            self.walks.tunnelled = False
            found = self._find(host, container, address, port)
            if self.walks.tunnelled:
                return found
            self._known[key] = found
        return self._known[key]

    def target(self, route: Route) -> SimContainer | None:
        """The container at the end of a route; None: a host."""
        return self._engines[route.host].containers.get(route.container) if route.container else None

    def exchange(self, route: Route, now: int, there: int, back: int) -> int | None:
        """When the answer to a packet of `there` octets is in, if it has `back` octets; None: one of them was lost."""
        time = now + LOCAL
        hops = route.hops
        for index in range(1, len(hops)):
            arrivals = self._network.way(hops[index - 1], hops[index]).packet(time, there + route.overhead)
            if not arrivals:
                return None
            time = min(arrivals)
        for index in range(len(hops) - 1, 0, -1):
            arrivals = self._network.way(hops[index], hops[index - 1]).packet(time, back + route.overhead)
            if not arrivals:
                return None
            time = min(arrivals)
        return time + LOCAL

    def stream(self, route: Route, now: int, there: int, back: int) -> int:
        """When the answer on an open TCP connection is in, retransmissions included."""
        time = now + LOCAL
        hops = route.hops
        pairs = [(hops[index - 1], hops[index], there) for index in range(1, len(hops))]
        pairs += [(hops[index], hops[index - 1], back) for index in range(len(hops) - 1, 0, -1)]
        for sender, receiver, size in pairs:
            way = self._network.way(sender, receiver)
            time = way.segment(time, size + route.overhead, max(RTO_MIN // 2, 2 * way.delay))
        return time + LOCAL

    def _find(self, host: str, container: str, address: str, port: int) -> Route | None:
        if container and not self.alive(host, container):
            return None
        engine = self._engines[host]
        for other in engine.containers.values():
            if other.running and other.eth0 == address:
                return Route(host, other.id, (host,), port)
        if address == BRIDGE:
            return Route(host, "", (host,), port)
        site = self._network.site_at(address)
        if site is not None:
            passes = site.name == host or (
                self._network.passes(host, site.name) and self._network.passes(site.name, host)
            )
            if not (site.powered and passes):
                return None
            hops = (host,) if site.name == host else (host, site.name)
            published = self._engines[site.name].published(port)
            if published is not None:
                return Route(site.name, published[0], hops, published[1])
            return Route(site.name, "", hops, port)
        if not container:
            return None
        arrival = self.walks.round_trip(host, container, address)
        if arrival is None:
            return None
        return Route(arrival.hosts[-1], arrival.container, arrival.hosts, port, _ENCAPSULATED)
