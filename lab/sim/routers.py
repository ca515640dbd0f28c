"""Which host a packet reaches when routers connect networks: routes, filters, and address translation.

Owns a router kernel's datagram state (Linux connection tracking: one mapping per flow, the sender's port kept if it is
free, replies accepted from the flow's destination). Pure; links own the fate of packets on the path. The counterpart of
`lab.fabric.plan.route_commands` and `lab.fabric.rules.router_rules`.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from msgspec import Struct

from lab.calibration import CALIBRATION, Calibration
from lab.scenario.resolve import HostInterface, RouterSpec
from lab.sim.mappings import Mappings
from overlay.config import Address

__all__ = ["Fate", "Leg", "Routers"]

_OTHER_PORTS: Final = range(1024, 65536)
"""The range from which a translated flow gets its port if another flow uses the sender's port."""


class Fate(Enum):
    """Why a packet reaches no host."""

    NO_ROUTE = "network is unreachable"
    REFUSED = "connection refused"
    """It is addressed to a router itself, which does not listen."""
    SILENT = "no answer"


class Leg(Struct, frozen=True):
    """The host and port where a packet arrives, and its source address as seen there."""

    host: str
    port: int
    source: Address


@dataclass(slots=True, eq=False)
class _Flow:
    """One translated flow: the hidden host, the router's port, and the expiry time."""

    host: str
    inside: Address
    port: int
    answered: bool = False
    expires: int = 0

    def used(self, now: int, lifetime: int, model: Calibration, *, answer: bool = False) -> None:
        self.answered |= answer
        self.expires = now + (lifetime or (model.nat_answered if self.answered else model.nat_unanswered))


class Routers:
    """All networks of a lab and the routers between them."""

    def __init__(
        self, hosts: Mapping[str, Sequence[HostInterface]], routers: Sequence[RouterSpec],
        model: Calibration = CALIBRATION,
    ) -> None:  # fmt: skip
        self._model = model
        self._own = {
            name: {place.network: place.address for place in reversed(places)} for name, places in hosts.items()
        }
        self._places = {place.address: (name, place.network) for name, places in hosts.items() for place in places}
        self._gates = {place.address: (router, place.network) for router in routers for place in router.interfaces}
        self._routers = tuple(routers)
        self._flows: dict[tuple[str, Address, Address], _Flow] = {}
        """(router, hidden sender, destination) -> flow."""
        self._back: dict[tuple[str, Address, int], _Flow] = {}
        """(router, remote, router's port that the remote answers to) -> flow."""
        self._mappings = {
            router.name: Mappings(router.translation, model) for router in routers if not _is_linux(router)
        }
        self._lifetimes = {router.name: router.translation.timeout for router in routers}

    def readdress(self, host: str, before: str, after: str) -> None:
        """A host changes its address in one of its networks; state of the old address becomes unusable."""
        _, network = self._places.pop(before)
        self._places[after] = (host, network)
        self._own[host][network] = after

    def near(self, host: str, address: str) -> str:
        """The host's own address on the path to another address; empty: there is no path."""
        network = self._places[address][1] if address in self._places else self._gates.get(address, ("", ""))[1]
        own = self._own[host]
        if network not in own:
            found = self._route(own, network)
            network = found[1] if found is not None else ""
        return own.get(network, "")

    def known(self, address: str) -> bool:
        """Whether a host or a router has this address."""
        return address in self._places or address in self._gates

    def unplugged(self, sender: str, address: str, receiver: str, out: Container[tuple[str, str]]) -> bool:
        """Whether a cable in `out` (host, network) is on the path to an address of `receiver`."""
        way = self._way(sender, address, receiver)
        return way is not None and (way[0] in out or way[1] in out)

    def apart(self, sender: str, receiver: str, out: Container[tuple[str, str]]) -> bool:
        """Whether `unplugged` holds for every address by which `sender` reaches `receiver`."""
        addresses = [address for address, (host, _) in self._places.items() if host == receiver] + list(self._gates)
        found = (self._way(sender, address, receiver) for address in addresses)
        ways = [way for way in found if way is not None]
        return bool(ways) and all(way[0] in out or way[1] in out for way in ways)

    def _way(self, sender: str, address: str, receiver: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """The cables (host, network) at both ends of the path to an address; None: it does not lead to `receiver`."""
        own = self._own[sender]
        if (gate := self._gates.get(address)) is not None:  # a router address that forwards to a hidden host
            router, network = gate
            hidden = router.nat if router.nat in self._own[receiver] and router.nat != network else ""
            return ((sender, network), (receiver, hidden)) if hidden and network in own else None
        host, network = self._places.get(address, ("", ""))
        if host != receiver:
            return None
        if network in own:
            return (sender, network), (receiver, network)
        found = self._route(own, network)
        return ((sender, found[1]), (receiver, network)) if found is not None else None

    def trace(self, sender: str, protocol: str, port: int, destination: Address, now: int) -> Leg | Fate:
        """Follow a packet from a port of `sender` (0: no state is kept for it) to `destination`."""
        own = self._own[sender]
        host, network = self._places.get(destination.host, ("", ""))
        gate = None
        if not host:
            if destination.host not in self._gates:
                return Fate.SILENT
            gate, network = self._gates[destination.host]
        if host == sender:
            return Leg(host, destination.port, Address(destination.host, port))
        if (near := own.get(network)) is not None:
            source = Address(near, port)
            if host:
                return Leg(host, destination.port, source)
            return self._answer(gate, protocol, source, destination, now)
        found = self._route(own, network)
        if found is None:
            return Fate.NO_ROUTE
        router, network_before = found
        source = Address(own[network_before], port)
        if gate is not None:
            if gate is router and protocol == "udp" and port and network_before == router.nat:
                return self._hairpin(router, network, sender, source, destination, now)
            return Fate.REFUSED if gate is router else Fate.SILENT
        if protocol in router.drop:
            return Fate.SILENT
        if router.nat == network_before:
            source = self._translated(router, network, sender, source, protocol, destination, now)
        return Leg(host, destination.port, source)

    def _route(self, own: Mapping[str, str], network: str) -> tuple[RouterSpec, str] | None:
        """The router towards this network, and the network on its near side; the last wins, as with `ip route`."""
        for router in reversed(self._routers):
            joined = [place.network for place in router.interfaces]
            near = next((one for one in joined if one in own), None)
            if near is not None and network in joined and network != router.nat:
                return router, near
        return None

    def _translated(
        self, router: RouterSpec, network: str, sender: str, source: Address, protocol: str, target: Address, now: int
    ) -> Address:
        outside = next(place.address for place in router.interfaces if place.network == network)
        if protocol != "udp" or not source.port:
            return Address(outside, source.port)
        if (mappings := self._mappings.get(router.name)) is not None:
            return Address(outside, mappings.outgoing(sender, source, target, now).port)
        flow = self._flows.get((router.name, source, target))
        if flow is None or flow.expires <= now:
            flow = self._remember(router.name, sender, source, target, now)
        flow.used(now, self._lifetimes[router.name], self._model)
        return Address(outside, flow.port)

    def _hairpin(
        self, router: RouterSpec, network: str, sender: str, source: Address, target: Address, now: int
    ) -> Leg | Fate:
        """From a hidden host to the router's outer address: to a host behind the same router, if it hairpins."""
        if not router.translation.hairpin or "udp" in router.drop:
            return Fate.REFUSED
        mappings = self._mappings[router.name]
        seen = Address(target.host, mappings.outgoing(sender, source, target, now).port)
        return self._let_in(mappings, target.port, seen, now)

    def _let_in(self, mappings: Mappings, port: int, source: Address, now: int) -> Leg | Fate:
        """A packet from `source` to a port of a router with mappings."""
        mapping = mappings.incoming(port, source, now)
        if mapping is None or not self._has(mapping.host, mapping.inside.host):
            return Fate.SILENT
        return Leg(mapping.host, mapping.inside.port, source)

    def _has(self, host: str, address: str) -> bool:
        """Whether the host of a stored flow still has this address."""
        return address in self._own[host].values()

    def _remember(self, router: str, sender: str, source: Address, target: Address, now: int) -> _Flow:
        for port in (source.port, *_OTHER_PORTS):
            other = self._back.get((router, target, port))
            if other is None or other.expires <= now or other.inside == source:
                break
        flow = _Flow(sender, source, port)
        self._flows[router, source, target] = self._back[router, target, port] = flow
        return flow

    def _answer(
        self, gate: RouterSpec | None, protocol: str, source: Address, destination: Address, now: int
    ) -> Leg | Fate:
        """A packet for a router's own address: to a hidden host if it answers one of its flows, else to nobody."""
        assert gate is not None
        if protocol == "udp" and "udp" not in gate.drop and (mappings := self._mappings.get(gate.name)) is not None:
            return self._let_in(mappings, destination.port, source, now)
        flow = self._back.get((gate.name, source, destination.port)) if protocol == "udp" else None
        if flow is None or flow.expires <= now or protocol in gate.drop:
            return Fate.REFUSED if protocol == "tcp" else Fate.SILENT
        if not self._has(flow.host, flow.inside.host):
            return Fate.SILENT
        flow.used(now, self._lifetimes[gate.name], self._model, answer=True)
        return Leg(flow.host, flow.inside.port, source)


def _is_linux(router: RouterSpec) -> bool:
    return router.translation.linux or not router.nat
