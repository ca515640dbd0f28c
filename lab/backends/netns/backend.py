"""The netns backend: a resolved scenario's underlay becomes namespaces, cables and container engines.

Owns the order in which such a lab comes up and goes down, and what this backend refuses. Works only inside
`lab.backends.netns.launch`.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from lab.backends.netns import runtime
from lab.backends.netns.host import HostSpawners, NetnsHost
from lab.backends.netns.init import HostPlan
from lab.backends.netns.paths import HOST_MOUNTS, HOSTS_FILE, STATE, VOLATILE, host_dir, search_path
from lab.backends.netns.room import machine_room, shortages
from lab.backends.netns.spawn import Spawner
from lab.backends.netns.talking import talking
from lab.backends.real.fabric_lab import HOST_SYSCTLS, FabricLab, hosts_file, refusals, underlay_of
from lab.backends.real.observed import DISTURBANCE, Agent
from lab.backends.real.process_images import foreign_images
from lab.backends.real.small_disk import MOST, SmallDisk
from lab.errors import LabError
from lab.fabric.fabric import Fabric
from lab.fabric.mechanisms import lacks
from lab.fabric.relay.process import LINE, RelayLauncher
from lab.fabric.routed import RoutedPlan, refusal
from lab.kinds.overlays import OVERLAYS
from lab.links.topology import EdgeChange
from lab.scenario.engine_pools import bridge_of
from lab.scenario.resolve import Resolved
from lab.this_machine import free_memory
from overlay.runtime.disturbance import VARIABLE

_WAVE = 64
"""Hosts that are prepared at the same time."""
_NO_NAMES = "# a lab has no name server outside of its overlay\n"


def relay_launcher(spawner: Spawner) -> RelayLauncher:
    """Launcher of the relay in the lab's own namespaces."""

    def launch(device: str) -> contextlib.AbstractAsyncContextManager[Agent]:
        call, log = "lab.fabric.relay.worker:main", STATE / "relay.log"
        return talking(spawner, call=call, argv=[device], log=log, limit=LINE)

    return launch


def _disk(index: int, scenario: Resolved) -> SmallDisk | None:
    """The part of a host's disk that survives a power cut, on its own file system; None: it is on the lab's."""
    place = host_dir(index)
    names = [name for name in HOST_MOUNTS if name not in VOLATILE]
    disk = SmallDisk.made(place / "disk", names) if len(scenario.hosts) <= MOST else None
    for name in names if disk is not None else ():
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"disk/{name}")
    return disk


class NetnsLab(FabricLab[NetnsHost]):
    """A running lab of namespaces."""

    def __init__(
        self,
        hosts: Mapping[str, NetnsHost],
        fabric: Fabric,
        spawners: HostSpawners,
        origin: int,
        made: Callable[[Resolved, str], NetnsHost],
    ) -> None:
        """`made` creates a host that the scenario now contains, switched off."""
        super().__init__("netns", hosts, fabric, origin)
        self._spawners = spawners
        self._cables = fabric
        self._made = made

    async def join(self, scenario: Resolved, name: str) -> None:
        """See `lab.contracts.lab.Joinable`. If it fails there is no new host; its slot in the fabric stays empty."""
        if scenario.topology is not None:
            raise LabError("a lab with a topology takes no further hosts so far")
        spec = scenario.hosts[name]
        commands = self._cables.join(
            name, [(place.network, str(ip_address(place.address))) for place in spec.interfaces]
        )
        host = self._made(scenario, name)
        try:
            await host.start()
        except BaseException:
            await host.kill()
            raise
        self.hosts = {**self.hosts, name: host}
        await asyncio.gather(*(self._tell(other, text) for other, text in commands.items()))
        await self.tell_names()

    async def set_cable(self, key: int, change: EdgeChange | None) -> None:
        """See `lab.contracts.lab.Cabled`."""
        await self._cables.set_cable(key, change)

    async def end(self) -> None:
        """End all hosts. Everything else ends with the supervisor, when the runner returns."""
        await self._fabric.close()
        await asyncio.gather(*(host.end() for host in self.hosts.values()), return_exceptions=True)
        self._spawners.commands.close()
        self._spawners.inits.close()


class NetnsBackend:
    """Hosts are namespaces. `engine=False` omits the container engines, for measurements."""

    name = "netns"

    def __init__(self, *, engine: bool = True) -> None:
        self._engine = engine

    def inside(self, work: Callable[[], int], *, name: str, detach: bool = False) -> int:
        """See `lab.contracts.lab.Housed`."""
        from lab.backends.netns import launch

        return launch(work, detach=detach, name=name)

    def refuse(self, scenario: Resolved) -> list[str]:
        """Features of this scenario that this backend does not support, one sentence each; starts nothing."""
        reasons = [*refusals(scenario, self.name), *foreign_images(scenario, "host made of namespaces")]
        reasons += shortages(scenario, machine_room())
        if (topology := scenario.topology) is not None:
            addresses = [spec.address for spec in scenario.hosts.values()]
            if why := refusal(topology, addresses, free_memory()):
                reasons.append(f"underlay.topology: {why}")
            for edge in topology.edges:
                if why := lacks(edge.link, routed=False):
                    reasons.append(f"underlay.topology: the cable {edge.sender} -> {edge.receiver}: {why}")
                    break
            reasons += [
                f"timeline[{index}].address: routes of a topology's routers do not follow addresses so far; use sim"
                for index, step in enumerate(scenario.timeline)
                if step.verb == "address"
            ]
        return reasons

    async def watch(self, lab: FabricLab[Any], scenario: Resolved) -> None:
        """See `lab.runner.runner`: in parallel with the timeline, for as long as the lab is up."""
        await lab.watch()

    async def up(self, scenario: Resolved) -> NetnsLab:
        """Bring up all hosts, their engines and the network between them; no overlay yet."""
        origin = time.monotonic_ns()
        inside = runtime.current()
        if reasons := self.refuse(scenario):
            raise LabError("\n".join(reasons))
        spawner = Spawner(inside.zygote)
        spawners = HostSpawners(Spawner(inside.nursery), spawner)
        underlay = underlay_of(scenario)
        routed = RoutedPlan(scenario.topology, underlay) if scenario.topology is not None else None
        fabric = Fabric(underlay, relay=relay_launcher(spawner), seed=scenario.seed, routed=routed)

        numbers = {name: number for number, name in enumerate(scenario.hosts)}
        HOSTS_FILE.write_text(
            hosts_file({host: spec.address for host, spec in scenario.hosts.items()}), encoding="utf-8"
        )
        env = _environment()

        def made(now: Resolved, name: str) -> NetnsHost:
            index = numbers.setdefault(name, len(numbers))
            if now is not scenario:
                addresses = {host: spec.address for host, spec in now.hosts.items()}
                HOSTS_FILE.write_text(hosts_file(addresses), encoding="utf-8")
            plan = HostPlan(
                name=name,
                disk=str(host_dir(index)),
                keep=inside.keep,
                files={"hostname": f"{name}\n", "resolv.conf": _NO_NAMES},
                copies={"hosts": str(HOSTS_FILE)},
                sysctls=HOST_SYSCTLS,
                env={**env, "HOSTNAME": name},
                engine=self._engine,
                bridge=bridge,
            )
            return NetnsHost(plan, now.hosts[name].address, spawners, fabric, origin, _disk(index, now))

        bridge = bridge_of(scenario)
        hosts = {name: made(scenario, name) for name in scenario.hosts}
        lab = NetnsLab(hosts, fabric, spawners, origin, made)
        daemons = OVERLAYS.get(scenario.overlay).has_daemons
        try:
            if daemons:  # they are launched at once, so the other cores can prepare for it while hosts boot
                await spawner.warm_up()
            await _boot(list(hosts.values()), fabric)
            if not daemons:
                await spawner.warm_up()
        except BaseException:
            await lab.down()
            raise
        return lab


async def _boot(hosts: Sequence[NetnsHost], fabric: Fabric) -> None:
    """Power on all hosts: one wave is connected while the next one is prepared, so little is in flight at once."""
    connecting = asyncio.create_task(fabric.build())
    try:
        for start in range(0, len(hosts), _WAVE):
            wave = hosts[start : start + _WAVE]
            await asyncio.gather(*(host.prepare() for host in wave))
            await connecting
            connecting = asyncio.create_task(_connect(wave, fabric))
        await connecting
    finally:
        connecting.cancel()
        await asyncio.wait({connecting})


async def _connect(hosts: Sequence[NetnsHost], fabric: Fabric) -> None:
    await fabric.plug([(host.name, host.pid) for host in hosts])
    await asyncio.gather(*(host.finish() for host in hosts))


def _environment() -> dict[str, str]:
    """The environment of commands on every host."""
    env = {
        "PATH": search_path(os.environ.get("PATH", "")),
        "HOME": "/root",
        "USER": "root",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        VARIABLE: DISTURBANCE,
    }
    with contextlib.suppress(KeyError):
        env["PYTHONDONTWRITEBYTECODE"] = os.environ["PYTHONDONTWRITEBYTECODE"]
    return env
