"""`address`: a host's underlay address changes while it runs: roaming, or the failover of an uplink.

The interface stays, with its MAC. What the overlay makes of it is in docs/design.md, "When an address changes".
"""

from collections.abc import Iterator
from typing import cast

from pydantic import Field

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Readdressable
from lab.errors import LabError
from lab.kinds.verbs import Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem, listed
from lab.scenario.check import Known, misplaced, nearest
from lab.scenario.model import Address
from lab.scenario.resolve import host_networks, network_subnets, taken_addresses
from lab.scenario.values import Duration


class Readdress(Model):
    """A host has another address from now on in one of its networks; with `for` until then."""

    host: Name
    """Whose address."""
    to: Address
    """The new address."""
    network: Name | None = None
    """In which of its networks; need not be said if it is in one."""
    for_: Duration | None = Field(None, alias="for")
    """The old address comes back after this time."""


class AddressFault(Fault):
    """The host is found at another address."""

    what = "address"
    mark = Mark("other address", "#3a7ca5")

    def __init__(self, body: Readdress) -> None:
        self.victim = ("address", f"{body.host} {body.network or ''}".strip())
        self.label = f"address {body.host} {body.to}"
        self._body = body

    async def inject(self, bench: Bench, step: int) -> None:
        """Replace the address."""
        network = self._network(bench)
        bench.live.addresses[step] = (self._body.host, network, self._body.to)
        await self._settle(bench, network)

    async def heal(self, bench: Bench, step: int) -> None:
        """Back to the address before, or the one that another fault in force has given it."""
        bench.live.addresses.pop(step, None)
        await self._settle(bench, self._network(bench))

    def _network(self, bench: Bench) -> str:
        return self._body.network or bench.scenario.hosts[self._body.host].interfaces[0].network

    async def _settle(self, bench: Bench, network: str) -> None:
        """Give the host the latest address that a fault in force wants, else its own."""
        host = self._body.host
        places = bench.scenario.hosts[host].interfaces
        address = next(place.address for place in places if place.network == network)
        for named, where, wanted in bench.live.addresses.values():
            address = wanted if (named, where) == (host, network) else address
        for name, spec in bench.scenario.hosts.items():
            others = [place.address for place in spec.interfaces]
            others += [wanted for named, _, wanted in bench.live.addresses.values() if named == name]
            if name != host and address in others:
                raise LabError(f"{address} is an address of {name}: {host} needs one of its own")
        if not hasattr(bench.lab, "set_address"):
            raise LabError("this backend's hosts keep their addresses")
        await cast(Readdressable, bench.lab).set_address(host, network, address)


class _Address(Verb[Readdress]):
    name = "address"
    model = Readdress
    form = "`address: {host: a, to: 192.168.0.99, for: 20s}`"
    about = (
        "replace the underlay address of a running host (`network` says in which of its networks), and update "
        "/etc/hosts; with `for` the old address comes back"
    )
    examples = ("address a 192.168.0.99 --for 20s",)
    takes_for = "lasts"
    needs = ("address",)
    changes = "both"

    def check(self, where: Where, body: Readdress, known: Known) -> Iterator[Problem]:
        yield from known.host((*where, "host"), body.host)
        underlay = known.scenario.underlay
        networks = network_subnets(underlay)
        places = host_networks(underlay, body.host) if body.host in known.hosts else {}
        if not places or any(network not in networks for network in places):
            return
        if body.network is None and len(places) > 1:
            yield Problem(where, "no network", f"`network`, one of {listed(places)}")
            return
        network = body.network or next(iter(places))
        if network not in places:
            place = (*where, "network")
            yield Problem(place, repr(network), f"a network of {body.host}: {listed(places)}", nearest(network, places))
            return
        if why := misplaced(body.to, networks[network]):
            yield Problem((*where, "to"), body.to, why)
            return
        taken = taken_addresses(underlay)
        owner = taken.get(body.to)
        if owner not in (None, body.host):
            yield Problem((*where, "to"), body.to, f"an address of its own: {owner} has it already")
        elif owner == body.host and self._steps(known, body.host) < 2:
            yield Problem((*where, "to"), body.to, f"another address: {body.host} has this one from the beginning")

    @staticmethod
    def _steps(known: Known, host: str) -> int:
        return sum(isinstance(step.body, Readdress) and step.body.host == host for step in known.scenario.timeline)

    def plan(self, body: Readdress, planning: Planning) -> Fault:
        return AddressFault(body)


KIND = _Address()
