"""A lab whose hosts are connected by the lab's own fabric: cuts, the clock, and a single tear-down.

Owns what the backends with real packets share above their hosts. Knows nothing of how a host is created.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from lab import this_machine
from lab.backends.real.observed import ObservedHost, write_hosts_file
from lab.backends.real.process_images import lacking_here
from lab.calibration import CALIBRATION
from lab.contracts.lab import Obstacle
from lab.errors import LabError
from lab.fabric import features
from lab.fabric.mechanisms import lacks
from lab.fabric.plan import FabricRouter, Interface, Underlay
from lab.fabric.relay.orders import DirectionCounts, RelayReply
from lab.fabric.translation import unfit
from lab.kinds.backends import BACKENDS, lacking, virtual_backends
from lab.kinds.overlays import OVERLAYS
from lab.kinds.probes import PROBES
from lab.links.changes import LinkChange
from lab.scenario.resolve import Resolved

H = TypeVar("H", bound=ObservedHost)

HOST_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv4/ping_group_range": "0 0",
}
"""A host routes for its containers; duplicate address detection would only delay every interface."""


_PORTS = 1023
"""Maximum ports of a Linux bridge (BR_MAX_PORTS, minus the reserved number 0)."""

_ALWAYS = ("ksahnine/dummy-http", "tutum/curl")
"""Images of the walk-through."""


class CuttableNetwork(Protocol):
    """The cuttable network between hosts: `lab.fabric.fabric` outside the hosts, `lab.fabric.guests` inside."""

    async def set_cut(self, pairs: Iterable[tuple[str, str]]) -> None: ...

    async def set_obstacles(self, obstacles: Iterable[tuple[Sequence[str], str, int, int]]) -> None: ...

    async def set_unplugged(self, plugs: Container[tuple[str, str]]) -> None: ...

    def limit(self, host: str, limited: bool) -> list[list[str]]: ...

    def wire_commands(self, host: str) -> list[list[str]]: ...

    async def set_link(self, key: int, change: LinkChange | None) -> tuple[DirectionCounts, ...]: ...

    async def counts(self) -> RelayReply | None: ...

    def mechanism(self, sender: str, receiver: str) -> str: ...

    async def watch(self) -> None: ...

    async def close(self) -> None: ...


@runtime_checkable
class ReaddressableNetwork(Protocol):
    """A network whose hosts can change addresses (`lab.fabric.fabric`)."""

    interfaces: dict[str, list[Interface]]

    async def readdress(self, host: str, network: str, address: str) -> dict[str, str]: ...


class FabricLab(ABC, Generic[H]):
    """A running lab on a fabric."""

    def __init__(self, backend: str, hosts: Mapping[str, H], fabric: CuttableNetwork, origin: int) -> None:
        self.backend = backend
        self.hosts: Mapping[str, H] = hosts
        self.cut: frozenset[tuple[str, str]] = frozenset()
        """The directions (sender, receiver) that are cut now."""
        self._fabric = fabric
        self._obstacles: dict[int, Obstacle] = {}
        self._unplugged: dict[int, frozenset[tuple[str, str]]] = {}
        self.relayed: Callable[[Sequence[DirectionCounts]], None] = lambda counts: None
        """Counters of relays that have ended."""
        self._origin = origin
        self._down = False

    @abstractmethod
    async def end(self) -> None:
        """End everything; called once."""

    async def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver); all others pass. One atomic switch."""
        for name in sorted({name for pair in pairs for name in pair}):
            if name not in self.hosts:
                raise LabError(f"no host named {name}; hosts: {', '.join(self.hosts)}")
        await self._fabric.set_cut(pairs)
        self.cut = pairs

    async def set_obstacle(self, key: int, obstacle: Obstacle | None) -> None:
        """See `lab.contracts.lab.Obstructed`. An MTU switches offloads off, because a rule must see wire packets."""
        before = self._obstacles.pop(key, None)
        if obstacle is not None:
            self._obstacles[key] = obstacle
            await self._limit(obstacle)
        everything = [(each.hosts, each.protocol, each.port, each.mtu) for each in self._obstacles.values()]
        await self._fabric.set_obstacles(everything)
        if before is not None:
            await self._limit(before)

    async def set_unplugged(self, key: int, plugs: frozenset[tuple[str, str]]) -> None:
        """See `lab.contracts.lab.Plugged`."""
        self._unplugged[key] = plugs
        await self._fabric.set_unplugged(frozenset().union(*self._unplugged.values()))

    async def _limit(self, obstacle: Obstacle) -> None:
        for name in obstacle.hosts if obstacle.mtu else ():
            limited = any(name in each.hosts for each in self._obstacles.values() if each.mtu)
            await self._on_host(name, self._fabric.limit(name, limited))

    async def _on_host(self, name: str, commands: Sequence[Sequence[str]]) -> None:
        """Run the fabric's commands on a host now; a host that boots later runs them at boot."""
        host = self.hosts[name]
        async with host.booting:
            for command in commands if host.booted.is_set() else ():
                result = await host.exec(command)
                if result.code and host.booted.is_set():
                    raise LabError(f"{name}: {' '.join(command)}: {result.err.strip()}")

    async def set_link(self, key: int, change: LinkChange | None) -> None:
        """See `lab.contracts.lab.Linked`. On impaired links offloads are off, so each packet crosses individually."""
        named = {name for pair in change.pairs for name in pair} if change is not None else set()
        if unknown := named - set(self.hosts):
            raise LabError(f"no host named {min(unknown)}; hosts: {', '.join(self.hosts)}")
        before = {name: self._fabric.wire_commands(name) for name in self.hosts}
        self.relayed(await self._fabric.set_link(key, change))
        for name, commands in before.items():
            if (now := self._fabric.wire_commands(name)) != commands:
                await self._on_host(name, now)

    def mechanism(self, sender: str, receiver: str) -> str:
        """The mechanism that impairs a direction now; empty when it is not impaired."""
        return self._fabric.mechanism(sender, receiver)

    async def link_counts(self) -> RelayReply | None:
        """Counters of relayed links so far; None when no link is relayed."""
        return await self._fabric.counts()

    async def watch(self) -> None:
        """Wait until a part of the lab fails, and raise the details."""
        await self._fabric.watch()

    async def set_address(self, host: str, network: str, address: str) -> None:
        """See `lab.contracts.lab.Readdressable`. A host that is off has the new address when it boots."""
        if not isinstance(self._fabric, ReaddressableNetwork):
            raise LabError(f"hosts of the {self.backend} backend keep their addresses")
        first = self.hosts[host].address == self._fabric.interfaces[host][0].address
        commands = await self._fabric.readdress(host, network, address)
        own = commands.pop(host, "")
        await asyncio.gather(*(self._tell(name, text) for name, text in commands.items()))
        await self._tell(host, own)
        self.hosts[host].address = self._fabric.interfaces[host][0].address if first else self.hosts[host].address
        await self.tell_names()

    async def tell_names(self) -> None:
        """Write the names and addresses of all hosts to every host."""
        text = hosts_file({name: one.address for name, one in self.hosts.items()})
        for one in self.hosts.values():
            one.hosts_text = text
        await asyncio.gather(*(self._tell(name, write_hosts_file(text)) for name in self.hosts))

    async def _tell(self, name: str, script: str) -> None:
        """Run this script on a host if it is on; a host that boots later runs it at boot."""
        host = self.hosts[name]
        async with host.booting:
            result = await host.exec(["sh", "-c", script]) if script and host.booted.is_set() else None
        if result is not None and result.code and host.booted.is_set():
            raise LabError(f"{name}: {script.strip()}: {result.err.strip()}")

    def now(self) -> int:
        """Nanoseconds since the run started."""
        return time.monotonic_ns() - self._origin

    def wall_clock(self) -> int:
        """The time of day, in nanoseconds since 1970."""
        return time.time_ns()

    async def sleep_until(self, t: int) -> None:
        """Wait until `now()` is at least `t`."""
        # In a loop, because the event loop's clock may wake a little early.
        while (left := t - self.now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left / 1e9)

    async def down(self) -> None:
        """End everything; idempotent."""
        if not self._down:
            self._down = True
            await self.end()


def underlay_of(scenario: Resolved) -> Underlay:
    """The part of a scenario that the fabric builds."""
    return Underlay(
        networks=scenario.networks,
        hosts={
            name: [(place.network, str(ip_address(place.address))) for place in spec.interfaces]
            for name, spec in scenario.hosts.items()
        },
        links=scenario.links,
        routers=[
            FabricRouter(
                spec.name,
                tuple((place.network, place.address) for place in spec.interfaces),
                spec.nat,
                spec.drop,
                spec.translation,
            )
            for spec in scenario.routers.values()
        ],
    )


def refusals(scenario: Resolved, backend: str) -> list[str]:
    """Features of a scenario that a lab on the fabric does not support, one sentence each; starts nothing."""
    reasons = [*step_refusals(scenario, backend), *_nat_refusals(scenario)]
    plugs = Counter(place.network for spec in scenario.hosts.values() for place in spec.interfaces)
    reasons += [
        f"underlay: {count:,} hosts are in the network {network}, and a bridge of Linux has {_PORTS:,} ports; "
        "give them several networks with routers between, or use sim"
        for network, count in plugs.items()
        if count > _PORTS
    ]
    return [*reasons, *link_refusals(scenario)]


def link_refusals(scenario: Resolved) -> list[str]:
    """Links that no mechanism of this machine can provide; one sentence for the first of them."""
    networks = {name: {place.network for place in spec.interfaces} for name, spec in scenario.hosts.items()}
    lacking = []
    for sender, receiver, link in scenario.links.impaired(list(scenario.hosts)):
        if why := lacks(link, routed=not networks[sender] & networks[receiver]):
            lacking.append((f"{sender} -> {receiver}", link, why))
    reasons = [
        f"timeline[{index}].{step.verb}: {found.serves}: not found ({found.detail}); {found.remedy}"
        for index, step in enumerate(scenario.timeline)
        if "links" in step.kind.needs
        for found in (features.check("relay"),)
        if not found.found
    ]
    if not lacking:
        return reasons
    name, link, why = lacking[0]
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return [*reasons, f"underlay.links: the link {name}{more} asks for {', '.join(link.asks())}, but {why}"]


def step_refusals(scenario: Resolved, backend: str) -> list[str]:
    """Steps, probes and machine settings of a scenario that these hosts do not support, with the reason."""
    lacks = lacking(backend)
    reasons = [
        f"timeline[{index}].{step.verb}: {lacks[need]}"
        for index, step in enumerate(scenario.timeline)
        for need in step.kind.needed(step.body)
        if need in lacks
    ]
    reasons += lacking_here(scenario)
    if OVERLAYS.get(scenario.overlay).protocol is not None:
        able = " or ".join(virtual_backends())
        reasons.append(f"overlay: {scenario.overlay} is a protocol for simulated hosts; use {able}")
    hosts = BACKENDS.find(backend)
    for index, plan in enumerate(scenario.probes):
        package = PROBES.package_of(plan.kind)
        if package and hosts is not None and not hosts.shares_python:
            able = " or ".join(kind.name for kind in BACKENDS if kind.shares_python)
            text = f"{plan.kind} is in the package {package}, which hosts of {backend} do not have; use {able}"
            reasons.append(f"probes[{index}].kind: {text}")
    if scenario.topology is not None and "topology" in lacks:
        reasons.append(f"underlay.topology: {lacks['topology']}")
    overlay = OVERLAYS.get(scenario.overlay)
    if why := overlay.not_on(backend):
        reasons.append(why)
    elif hosts is not None and not hosts.shares_python and "programs" in (needs := overlay.needs(scenario.options)):
        able = " or ".join(kind.name for kind in BACKENDS if kind.shares_python and not kind.virtual)
        reasons.append(f"{needs['programs']}, and those of {backend} do not: use {able}")
    else:
        reasons += [
            f"overlay.kind: {overlay.name} needs the program {program}, which is not installed: apt install {package}"
            for program, package in overlay.programs.items()
            if this_machine.program(program) is None
        ]
    if scenario.machine is not None and "machine" in lacks:
        reasons.append(f"underlay.machine: {lacks['machine']}")
    if scenario.model != CALIBRATION and "machine" in lacks:
        reasons.append(f"model: {lacks['machine']}")
    return reasons


def images_named(scenario: Resolved) -> list[str]:
    """The images that services reference by name."""
    return list(dict.fromkeys(service.image for service in scenario.services.values() if not service.archive))


def wanted_images(scenario: Resolved) -> list[str]:
    """The images that the engines of all hosts get: the walk-through's, and those that services name."""
    return list(dict.fromkeys([*_ALWAYS, *images_named(scenario)]))


def image_archives(scenario: Resolved) -> list[Path]:
    """The archives of `docker save` that services reference."""
    return [Path(path) for path in dict.fromkeys(one.archive for one in scenario.services.values()) if path]


def hosts_file(addresses: Mapping[str, str]) -> str:
    """/etc/hosts of every host: name -> first underlay address of all of them."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [f"{address} {_names(host)}" for host, address in addresses.items()]
    return "\n".join(lines) + "\n"


def _names(host: str) -> str:
    short = host.partition(".")[0]
    return host if short == host else f"{host} {short}"


def _nat_refusals(scenario: Resolved) -> list[str]:
    """Address translation of routers that this kernel does not support."""
    hiding = {name: spec for name, spec in scenario.routers.items() if spec.nat}
    reasons = [
        f"underlay.routers.{name}.nat: {why}"
        for name, spec in hiding.items()
        if (why := unfit(spec.translation, scenario.networks, spec.nat))
    ]
    if len({spec.translation.timeout for spec in hiding.values()}) > 1:
        reasons.append(
            "underlay.routers: real routers share one kernel, whose mappings time out alike: say the same `timeout` "
            "for all that have `nat`, or use sim"
        )
    kinds = [name for name, spec in hiding.items() if not spec.translation.linux]
    if kinds and not (feature := features.check("nft-nat-maps")).found:
        reasons.append(
            f"underlay.routers.{kinds[0]}.nat: this kernel's nft has no maps that translation could fill "
            f"({feature.detail}); {feature.remedy}, leave `kind` out, or use sim"
        )
    return reasons
