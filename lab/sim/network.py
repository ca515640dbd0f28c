"""The network between simulated hosts: reachability, cuts, obstacles, datagrams. Knows no protocol.

One `LinkModel` per direction between two hosts applies links and obstacles to packets; `Routers` connect networks, if
any. `lab.sim.streams` owns connections.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lab.calibration import CALIBRATION, Calibration
from lab.links import Links
from lab.links.changes import ChangedLinks, LinkChange
from lab.links.topology import EdgeChange
from lab.sim.link_model import LinkModel
from lab.sim.paths import EdgeModel, RoutedPaths
from lab.sim.routers import Fate, Leg, Routers
from lab.sim.scheduler import Scheduler
from lab.sim.spread import Spread
from lab.sim.streams import End, Site, Streams
from overlay.config import Address
from overlay.env import Random

__all__ = ["End", "Obstacle", "SimNetwork", "Site"]

HEADERS = 28
"""Bytes of the IPv4 and UDP headers."""
IPV6_HEADERS = 48

Obstacle = tuple[Sequence[str], str, int, int]
"""Hosts, a protocol (or empty) and port (0: all) that is dropped between them, an MTU (0: no limit)."""


class SimNetwork(Streams):
    """All sites, connected pairwise by `links`."""

    def __init__(
        self, scheduler: Scheduler, links: Links, rng: Random, spread: Spread, model: Calibration = CALIBRATION
    ) -> None:
        super().__init__(scheduler, model)
        self.cuts = 0
        """How often cuts, obstacles and links have changed."""
        self.routers: Routers | None = None
        """The routers between networks; None: all hosts are in one network."""
        self.paths: RoutedPaths | None = None
        """Cables and routers between hosts; None: each pair has its own link."""
        self._links = ChangedLinks(links)
        self._rng = rng
        self._spread = spread
        self._by_address: dict[str, Site] = {}
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._ways: dict[tuple[str, str], LinkModel] = {}
        self._cut_by: Callable[[str, str], bool] = _nothing
        self._held: dict[int, frozenset[tuple[str, str]]] = {}
        self._unplugged: frozenset[tuple[str, str]] = frozenset()
        """(host, network) of unplugged cables."""
        self._obstacles: dict[int, Obstacle] = {}

    def add(self, site: Site, others: Sequence[str] = ()) -> None:
        """Add a host; `others` are its further addresses."""
        assert site.name not in self._sites, f"two hosts are called {site.name}"
        self._sites[site.name] = self._by_address[site.address] = site
        self._addresses[site.name] = (site.address, *others)
        for address in others:
            self._by_address[address] = site
        self._ends[site.name] = {}

    def readdress(self, name: str, before: str, after: str) -> None:
        """Replace an address of a host; connections from the old address lose their path."""
        site = self._sites[name]
        del self._by_address[before]
        self._by_address[after] = site
        self._addresses[name] = tuple(after if one == before else one for one in self._addresses[name])
        if site.address == before:
            site.address = after
        if self.routers is not None:
            self.routers.readdress(name, before, after)
        self.cuts += 1
        own = self._addresses[name]
        for end in self._ends[name].values():
            end.lost = end.other.lost = end.local.host not in own

    # --- cuts -------------------------------------------------------------------------------------------------------

    def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver)."""
        self._switch(lambda sender, receiver: (sender, receiver) in pairs)

    def split(self, groups: Iterable[Sequence[str]]) -> None:
        """Cut every direction between hosts of different groups; hosts of no group form one more."""
        group = {name: number for number, names in enumerate(groups) for name in names}
        self._switch(lambda sender, receiver: group.get(sender, -1) != group.get(receiver, -1))

    def heal(self) -> None:
        """Remove all cuts."""
        self._switch(_nothing)

    def _switch(self, cut_by: Callable[[str, str], bool]) -> None:
        self._cut_by = cut_by
        self.cuts += 1
        for (sender, receiver), way in self._ways.items():
            way.cut = self._is_cut(sender, receiver)

    def _is_cut(self, sender: str, receiver: str) -> bool:
        severed = self.paths is not None and self.way(sender, receiver).severed
        return severed or self._cut_by(sender, receiver) or self._apart(sender, receiver)

    def change_edges(self, key: int, change: EdgeChange | None) -> None:
        """Apply a change to cables of the topology, or remove the change with this key."""
        assert self.paths is not None
        self.paths.change(key, change, self.scheduler.now)
        for pair, way in self._ways.items():
            way.route(self._routed(*pair), self.scheduler.now)
        self._switch(self._cut_by)

    def _routed(self, sender: str, receiver: str) -> tuple[EdgeModel, ...] | None:
        if self.paths is None or sender == receiver:
            return ()
        return self.paths.between(sender, receiver)

    def obstruct(self, key: int, obstacle: Obstacle | None) -> None:
        """Add an obstacle, or remove the obstacle with this key."""
        self._obstacles.pop(key, None)
        if obstacle is not None:
            self._obstacles[key] = obstacle
        self.cuts += 1
        for (sender, receiver), way in self._ways.items():
            way.obstruct(*self._obstructed(sender, receiver))

    def _obstructed(self, sender: str, receiver: str) -> tuple[list[tuple[str, int]], int]:
        found = [each for each in self._obstacles.values() if sender in each[0] and receiver in each[0]]
        found = found if sender != receiver else []
        blocked = [(protocol, port) for _, protocol, port, _ in found if protocol]
        return blocked, min((mtu for *_, mtu in found if mtu), default=0)

    def change_links(self, key: int, change: LinkChange | None) -> None:
        """Apply a change to the links, or remove the change with this key."""
        changed = self._links.set(key, change)
        self.cuts += 1
        for pair, way in self._ways.items():
            if pair in changed:
                way.change(changed[pair], self.scheduler.now)

    def unplug(self, key: int, plugs: frozenset[tuple[str, str]]) -> None:
        """This key unplugs exactly these (host, network)."""
        self._held.pop(key, None)
        if plugs:
            self._held[key] = plugs
        self._unplugged = frozenset(plug for held in self._held.values() for plug in held)
        self._switch(self._cut_by)

    def _apart(self, sender: str, receiver: str) -> bool:
        """Whether every path from one host to the other has an unplugged cable."""
        out = self._unplugged
        if sender == receiver or not out:
            return False
        if self.routers is None:
            return any(host in (sender, receiver) for host, _ in out)
        return self.routers.apart(sender, receiver, out)

    # --- reachability ------------------------------------------------------------------------------------------------

    def leg(self, sender: str, protocol: str, port: int, destination: Address) -> Leg | Fate:
        """The host that a packet is addressed to, even if the packet would get lost; see `Routers.trace`."""
        if self.routers is not None:
            found = self.routers.trace(sender, protocol, port, destination, self.scheduler.now)
            out = self._unplugged
            if out and isinstance(found, Leg) and self.routers.unplugged(sender, destination.host, found.host, out):
                return Fate.SILENT
            return found
        target = self._by_address.get(destination.host)
        if target is None:
            return Fate.SILENT
        return Leg(target.name, destination.port, Address(self._sites[sender].address, port))

    def reached(self, sender: str, protocol: str, destination: Address, port: int = 0) -> Site | None:
        """The host that a small packet reaches now; see `Routers.trace` for its source port."""
        found = self.leg(sender, protocol, port, destination)
        if isinstance(found, Fate) or self.way(sender, found.host).stops(protocol, found.port):
            return None
        site = self._sites[found.host]
        return site if site.powered else None

    def near(self, sender: str, destination: str) -> str:
        """See `Streams`."""
        own = self._sites[sender].address
        return own if self.routers is None else self.routers.near(sender, destination) or own

    def known(self, address: str) -> bool:
        """Whether it is an address of the underlay."""
        return address in self._by_address or (self.routers is not None and self.routers.known(address))

    def way(self, sender: str, receiver: str) -> LinkModel:
        """The direction from one host to another."""
        way = self._ways.get((sender, receiver))
        if way is None:
            base = self.model.base_delay
            base = self._spread.of_pair(sender, receiver, base) if sender != receiver else base // 10
            way = self._ways[sender, receiver] = LinkModel(self._links.between(sender, receiver), base, self._rng)
            if self.paths is not None:
                way.route(self._routed(sender, receiver), self.scheduler.now)
            way.cut = self._is_cut(sender, receiver)
            way.obstruct(*self._obstructed(sender, receiver))
        return way

    def addresses(self, name: str) -> tuple[str, ...]:
        """All addresses of a host."""
        return self._addresses[name]

    # --- datagrams --------------------------------------------------------------------------------------------------

    def send_datagram(self, site: Site, destination: Address, message: Any, size: int) -> None:
        """Send a datagram from the control port; it may get lost."""
        if self.routers is not None:
            found = self.leg(site.name, "udp", site.port, destination)
            if not isinstance(found, Fate):
                self._carry(site, self._sites[found.host], found.port, found.port, found.source, message, size)
            return
        target = self._by_address.get(destination.host)
        if target is not None:
            port = destination.port
            self._carry(site, target, port, port, Address(site.address, site.port), message, size)

    def send_encapsulated(self, site: Site, port: int, destination: Address, message: Any, size: int) -> None:
        """Send a packet of a kernel tunnel between these hosts: it arrives at the daemon's port, whichever that is."""
        found = self.leg(site.name, "udp", port, destination)
        if not isinstance(found, Fate):
            target = self._sites[found.host]
            self._carry(site, target, found.port, target.port, found.source, message, size)

    def _carry(self, site: Site, target: Site, outer: int, port: int, source: Address, message: Any, size: int) -> None:
        way = self._ways.get((site.name, target.name)) or self.way(site.name, target.name)
        if way.cut:
            return
        scheduler = self.scheduler
        if way.plain:
            scheduler.at(scheduler.now + way.delay, self._datagram, target, port, source, message, way)
        elif not way.stops("udp", outer):
            size += IPV6_HEADERS if ":" in source.host else HEADERS
            self.transit(way, size, self._datagram, target, port, source, message, way)

    def transit(self, way: LinkModel, size: int, arrives: Callable[..., None], *arguments: Any) -> None:
        """Send an IP packet over a direction now: `arrives` is called for each copy on its arrival, or never.

        On shared cables the packet moves to the next cable at its own time, so that each queue gets its packets in the
        order of arrival.
        """
        scheduler = self.scheduler
        if way.stepped:
            for arrival in way.arrivals(scheduler.now, size):
                scheduler.at(arrival, self._hop, way.edges, 0, size, arrives, arguments)
        else:
            for arrival in way.arrivals(scheduler.now, size):
                scheduler.at(arrival, arrives, *arguments)

    def _hop(
        self,
        edges: tuple[EdgeModel, ...],
        number: int,
        size: int,
        arrives: Callable[..., None],
        arguments: tuple[Any, ...],
    ) -> None:
        """A packet is at the beginning of a cable."""
        scheduler = self.scheduler
        last = number + 1 == len(edges)
        for arrival in edges[number].arrivals(scheduler.now, size):
            if last:
                scheduler.at(arrival, arrives, *arguments)
            else:
                scheduler.at(arrival, self._hop, edges, number + 1, size, arrives, arguments)

    def _datagram(self, target: Site, port: int, source: Address, message: Any, way: LinkModel) -> None:
        if target.listening and not way.cut and port == target.port:
            target.datagram(source, message)


def _nothing(sender: str, receiver: str) -> bool:
    return False
