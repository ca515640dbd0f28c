"""Which host a packet ends at when networks are joined by routers: routes, filters, and addresses that are translated.

Owns what a router's kernel remembers of datagrams (Linux's connection tracking: a mapping for each flow, the sender's
port kept where it is free, answers let in from where the question went). Pure; packets' fates on the way are the
links' business. The counterpart of `lab.fabric.plan.route_commands` and `lab.fabric.rules.router_rules`.
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
"""Where a translated flow gets its port from if another one has the sender's."""


class Fate(Enum):
    """Why a packet reaches no host."""

    NO_ROUTE = "network is unreachable"
    REFUSED = "connection refused"
    """It is for a router itself, where nobody listens."""
    SILENT = "no answer"


class Leg(Struct, frozen=True):
    """Where a packet ends, at which port, and where it seems to come from there."""

    host: str
    port: int
    source: Address


@dataclass(slots=True, eq=False)
class _Flow:
    """One translated flow: who is hidden, behind which port, and until when it is remembered."""

    host: str
    inside: Address
    port: int
    answered: bool = False
    expires: int = 0

    def used(self, now: int, lifetime: int, model: Calibration, *, answer: bool = False) -> None:
        self.answered |= answer
        self.expires = now + (lifetime or (model.nat_answered if self.answered else model.nat_unanswered))


class Routers:
    """All networks of a lab and what joins them."""

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
        """(router, who answers, the router's port that it answers to) -> flow."""
        self._mappings = {
            router.name: Mappings(router.translation, model) for router in routers if not _is_linux(router)
        }
        self._lifetimes = {router.name: router.translation.timeout for router in routers}

    def readdress(self, host: str, before: str, after: str) -> None:
        """A host has another address in one of its networks; what is remembered of the old one leads nowhere."""
        _, network = self._places.pop(before)
        self._places[after] = (host, network)
        self._own[host][network] = after

    def near(self, host: str, address: str) -> str:
        """The host's own address on the way to another one; empty: there is no way."""
        network = self._places[address][1] if address in self._places else self._gates.get(address, ("", ""))[1]
        own = self._own[host]
        if network not in own:
            found = self._route(own, network)
            network = found[1] if found is not None else ""
        return own.get(network, "")

    def known(self, address: str) -> bool:
        """Whether a host or a router has it."""
        return address in self._places or address in self._gates

    def unplugged(self, sender: str, address: str, receiver: str, out: Container[tuple[str, str]]) -> bool:
        """Whether a cable of those that are `out` (host, network) is on the way to an address of `receiver`."""
        way = self._way(sender, address, receiver)
        return way is not None and (way[0] in out or way[1] in out)

    def apart(self, sender: str, receiver: str, out: Container[tuple[str, str]]) -> bool:
        """Whether that is so for every address by which `sender` reaches `receiver`."""
        addresses = [address for address, (host, _) in self._places.items() if host == receiver] + list(self._gates)
        found = (self._way(sender, address, receiver) for address in addresses)
        ways = [way for way in found if way is not None]
        return bool(ways) and all(way[0] in out or way[1] in out for way in ways)

    def _way(self, sender: str, address: str, receiver: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """The cables (host, network) at both ends of the way to an address; None: it does not lead to `receiver`."""
        own = self._own[sender]
        if (gate := self._gates.get(address)) is not None:  # what answers a hidden host
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
        """Follow a packet from a port of `sender` (0: one that need not be remembered) to `destination`."""
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
        """The router that leads there, and the network in which it is met; of several the last, as `ip route` does."""
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
        """From a hidden host to the router's outer address: to another one behind the same router, if it does that."""
        if not router.translation.hairpin or "udp" in router.drop:
            return Fate.REFUSED
        mappings = self._mappings[router.name]
        seen = Address(target.host, mappings.outgoing(sender, source, target, now).port)
        return self._let_in(mappings, target.port, seen, now)

    def _let_in(self, mappings: Mappings, port: int, source: Address, now: int) -> Leg | Fate:
        """From `source` to a port of a router with mappings."""
        mapping = mappings.incoming(port, source, now)
        if mapping is None or not self._has(mapping.host, mapping.inside.host):
            return Fate.SILENT
        return Leg(mapping.host, mapping.inside.port, source)

    def _has(self, host: str, address: str) -> bool:
        """Whether a host that is remembered with an address has no other one by now."""
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
        """A packet for a router's own address: for a hidden host if it answers one of its, else for nobody."""
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
