"""The sim backend: a resolved scenario's underlay becomes objects in virtual time.

Owns how a lab of simulated hosts is assembled, and what this backend refuses. A run is a function of scenario, seed and
code: it uses no clock, no randomness and no file of this machine.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lab.backends.real.process_images import foreign_images, lacking_here
from lab.backends.simulated.commands import unknown
from lab.backends.simulated.engine import SimEngine
from lab.backends.simulated.flow_packets import FlowPackets
from lab.backends.simulated.host import SimHost
from lab.backends.simulated.loop import current, run_virtual
from lab.backends.simulated.member_host import MemberHost
from lab.backends.simulated.members import Members
from lab.backends.simulated.packets import PeerPackets, SimPackets
from lab.backends.simulated.reach import LabRoutes
from lab.contracts.lab import Obstacle
from lab.errors import LabError, Violation
from lab.kinds.backends import lacking
from lab.kinds.overlays import OVERLAYS
from lab.links.changes import LinkChange
from lab.links.topology import EdgeChange
from lab.records.history import RunFigure
from lab.scenario.engine_pools import bridge_of
from lab.scenario.model import PROCESS
from lab.scenario.resolve import Resolved
from lab.sim.group import MemberGroup
from lab.sim.invariants import Invariants
from lab.sim.kernel import Kernel
from lab.sim.machine import CpuModel
from lab.sim.member import MemberPeer
from lab.sim.memory import estimate
from lab.sim.paths import RoutedPaths
from lab.sim.routers import Routers
from lab.sim.traced_peer import TracedPeer
from lab.sim.tracer import Tracer
from lab.sim.world import EPOCH, Peer, World
from lab.this_machine import free_memory
from overlay.env import Random

__all__ = ["SimBackend", "SimLab"]

T = TypeVar("T")

# Daemons' messages about their engines belong in a host's log, not on the user's terminal.
logging.getLogger("overlay.docker").addHandler(logging.NullHandler())


class SimLab:
    """A running lab of simulated hosts."""

    def __init__(
        self,
        world: World,
        hosts: Mapping[str, SimHost],
        violation: asyncio.Future[Violation],
        invariants: Invariants,
        members: Members | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.hosts: Mapping[str, SimHost] = hosts
        self.world = world
        self.violation = violation
        self.invariants = invariants
        self.members = members
        self.tracer = tracer
        self._loop = current()
        self._down = False

    def figures(self) -> tuple[RunFigure, ...]:
        """Metrics of the run so far, if the overlay is a protocol."""
        return tuple(self.members.figures()) if self.members is not None else ()

    async def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver); all others pass."""
        for name in sorted({name for pair in pairs for name in pair}):
            if name not in self.hosts:
                raise LabError(f"no host named {name}; hosts: {', '.join(self.hosts)}")
        self.world.network.set_cut(pairs)
        self.invariants.moved()

    async def set_obstacle(self, key: int, obstacle: Obstacle | None) -> None:
        """See `lab.contracts.lab.Obstructed`."""
        found = (obstacle.hosts, obstacle.protocol, obstacle.port, obstacle.mtu) if obstacle is not None else None
        self.world.network.obstruct(key, found)
        self.invariants.moved()

    async def set_link(self, key: int, change: LinkChange | None) -> None:
        """See `lab.contracts.lab.Linked`."""
        self.world.network.change_links(key, change)
        self.invariants.moved()

    async def set_cable(self, key: int, change: EdgeChange | None) -> None:
        """See `lab.contracts.lab.Cabled`."""
        self.world.network.change_edges(key, change)
        self.invariants.moved()

    async def set_unplugged(self, key: int, plugs: frozenset[tuple[str, str]]) -> None:
        """See `lab.contracts.lab.Plugged`."""
        self.world.network.unplug(key, plugs)
        self.invariants.moved()

    async def set_address(self, host: str, network: str, address: str) -> None:
        """See `lab.contracts.lab.Readdressable`."""
        self.hosts[host].readdress(network, address)
        self.invariants.moved()

    def now(self) -> int:
        """Nanoseconds of virtual time since the run started."""
        return self.world.now

    def wall_clock(self) -> int:
        """Virtual time of day, in nanoseconds since 1970."""
        return EPOCH + self.world.now

    async def sleep_until(self, t: int) -> None:
        """Advance virtual time until `now()` is at least `t`."""
        await self._loop.until(t)

    async def down(self) -> None:
        """End everything; idempotent."""
        if self._down:
            return
        self._down = True
        for peer in self.world.peers.values():  # what ends now ends with the lab, and is not reported
            if isinstance(peer, TracedPeer):
                peer.tracer = None
        if self.members is not None:
            self.members.close()
        for host in self.hosts.values():
            await host.end()


class SimBackend:
    """Hosts are objects, and time is virtual."""

    name = "sim"
    virtual = True

    traced = False
    """Whether the next run is traced (`lab.records.trace`)."""
    tracer: Tracer | None = None
    """Trace of the last traced run."""

    def traces(self) -> Mapping[str, Sequence[Sequence[Any]]]:
        """See `lab.contracts.lab.Traceable`."""
        return self.tracer.tables() if self.tracer is not None else {}

    def refuse(self, scenario: Resolved) -> list[str]:
        """Features of this scenario that this backend does not support, one sentence each; starts nothing."""
        return list(_refusals(scenario))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in virtual time, on the loop that `up` needs."""
        return run_virtual(work)

    async def watch(self, lab: SimLab, scenario: Resolved) -> None:
        """While the lab is up, wait for a violated invariant; raises `Violation`."""
        raise await asyncio.shield(lab.violation)

    async def up(self, scenario: Resolved) -> SimLab:
        """Create all hosts and the network between them; no overlay yet."""
        if reasons := self.refuse(scenario):
            raise LabError("\n".join(reasons))
        loop = current()
        world = World(scenario.seed, scenario.links, loop.scheduler, scenario.model)
        if (cost := scenario.machine) is not None:
            world.machine = CpuModel(world.scheduler, cost.cores, cost.per_message, cost.per_byte)
        if scenario.topology is not None:
            world.network.paths = RoutedPaths(scenario.topology, Random(f"{scenario.seed} topology"))
        kernels: dict[str, Kernel] = {}
        engines: dict[str, SimEngine] = {}
        reach = LabRoutes(world.network, kernels, engines, world.carriers, world.spoken_to, world.spread)
        if len(scenario.networks) > 1:
            places = {name: spec.interfaces for name, spec in scenario.hosts.items()}
            world.network.routers = Routers(places, tuple(scenario.routers.values()), scenario.model)
        violation: asyncio.Future[Violation] = loop.create_future()
        invariants = Invariants(world, kernels, reach.alive, violation.set_result)
        reach.passed = invariants.flow_passed

        def changed() -> None:
            reach.changed()
            invariants.forwarding_changed()

        names = {name: spec.address for name, spec in scenario.hosts.items()}
        port_of, bridge = _port_of(scenario), bridge_of(scenario)
        kind = OVERLAYS.get(scenario.overlay)
        peer_kind: type[Peer] | None = TracedPeer if self.traced else None
        host_kind = SimHost
        if kind.protocol is not None:
            peer_kind, host_kind = MemberPeer, MemberHost
        tracer = Tracer(MemberGroup(kind.partial)) if self.traced else None
        hosts: dict[str, SimHost] = {}
        for name, spec in scenario.hosts.items():
            peer = world.add(name, spec.address, [place.address for place in spec.interfaces[1:]], peer_kind)
            kernels[name] = Kernel(changed, scenario.model)
            engines[name] = SimEngine(name, scenario.seed, port_of, changed, bridge)
            parts = (kernels[name], engines[name], reach, names, invariants, loop)
            hosts[name] = host_kind(peer, spec.interfaces, *parts)
            hosts[name].cost = scenario.machine
            if isinstance(peer, TracedPeer):
                peer.tracer = tracer
        packets = SimPackets(world)
        taps = PeerPackets(packets), FlowPackets(packets, engines)

        def tapped() -> None:
            """Observe messages only while somebody captures."""
            world.tap, reach.tap = taps if packets.wanted else (None, None)

        for host in hosts.values():
            host.packets, host.tapped = packets, tapped
        members = None
        if kind.protocol is not None:
            group = tracer.group if tracer is not None else MemberGroup(kind.partial)
            holders = {name: host for name, host in hosts.items() if isinstance(host, MemberHost)}
            members = Members(world, group, holders, tracer)
        lab = SimLab(world, hosts, violation, invariants, members, tracer)
        self.tracer = tracer
        await lab.sleep_until(scenario.model.boot_time)
        return lab


def _port_of(scenario: Resolved) -> Callable[[str], int]:
    """The HTTP port of the container with this name."""

    def port(name: str) -> int:
        service = scenario.services.get(name) or scenario.services.get(name.rpartition("-")[0])
        return service.port if service is not None else 0

    return port


def _too_many(scenario: Resolved) -> str:
    """Why this machine has too little memory for these peers; empty if it has enough."""
    hosts = len(scenario.hosts)
    pairs = len(scenario.edges) if scenario.edges is not None else hosts * (hosts - 1) // 2
    containers = sum(service.replicas for service in scenario.services.values())
    wanted, free = estimate(hosts, pairs, containers), free_memory()
    if wanted <= free:
        return ""
    return (
        f"underlay: {hosts} simulated peers with {pairs} connections would take about {wanted / 2**30:.1f} GiB "
        f"of memory ({wanted // hosts // 1000} kB each), "
        f"and {free / 2**30:.1f} GiB are free; use fewer hosts or fewer edges"
    )


def _refusals(scenario: Resolved) -> Iterator[str]:
    lacks = lacking("sim")
    if why := _too_many(scenario):
        yield why
    yield from foreign_images(scenario, "simulated host")
    yield from lacking_here(scenario)
    if why := OVERLAYS.get(scenario.overlay).not_on("sim"):
        yield why
    for words in OVERLAYS.get(scenario.overlay).needs(scenario.options).values():
        yield f"{words}, which a simulated host has not; use netns or dind"
    for index, step in enumerate(scenario.timeline):
        place = f"timeline[{index}].{step.verb}"
        yield from (f"{place}: {lacks[need]}" for need in step.kind.needed(step.body) if need in lacks)
        for part, url in step.kind.urls(step.body):
            if name := _own_program(scenario, url):
                yield (
                    f"{place}{part}: {name} is a program of one's own, and what it answers cannot be simulated; "
                    "ask for `reachable` instead, or run it on netns"
                )
        for part, command, in_container in step.kind.commands(step.body):
            if why := unknown(command, container=in_container):
                yield f"{place}{part}: {why}"


def _own_program(scenario: Resolved, url: str) -> str:
    """The service that a URL addresses, if it runs a user's own command."""
    place = url.removeprefix("http://").partition("/")[0]
    host = place.rpartition(":")[0] or place
    for service in scenario.services.values():
        if service.image == PROCESS and host in (service.hostname, service.name, service.address.partition("/")[0]):
            return service.name
    return ""
