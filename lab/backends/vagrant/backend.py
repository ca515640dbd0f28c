"""The vagrant backend: a resolved scenario's hosts become virtual machines; cuts and links are rules inside them.

Owns the order in which such a lab comes up and goes down, and what this backend refuses. Everything is inside a lab's
namespaces (`lab.backends.netns.launch`): hypervisor, machines and ssh are processes of the lab, so nothing reaches the
machine's own network and nothing outlives the lab.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from lab.backends.netns import runtime
from lab.backends.netns.paths import STATE
from lab.backends.real.fabric_lab import (
    FabricLab,
    hosts_file,
    image_archives,
    images_named,
    step_refusals,
    underlay_of,
    wanted_images,
)
from lab.backends.vagrant import libvirt
from lab.backends.vagrant.guest import Guest
from lab.backends.vagrant.host import Machines, VagrantHost
from lab.errors import LabError
from lab.fabric.guests import GuestFabric
from lab.fabric.mechanisms import KERNEL_MADE
from lab.images import box, store
from lab.kinds.backends import lacking
from lab.scenario.resolve import Resolved

_EMULATED = 4
"""Slow-down factor for scenarios on emulated CPUs: CPU work is about ten times slower there, waits are not."""


class VagrantLab(FabricLab[VagrantHost]):
    """A running lab of machines."""

    def __init__(self, hosts: Mapping[str, VagrantHost], fabric: GuestFabric, origin: int, machines: Machines) -> None:
        super().__init__("vagrant", hosts, fabric, origin)
        self._machines = machines

    async def end(self) -> None:
        """Release all machines, and destroy them."""
        await asyncio.gather(*(host.leave() for host in self.hosts.values()), return_exceptions=True)
        await self._machines.down()

    async def watch(self) -> None:
        """Wait until a machine fails by itself, and raise the details."""
        deaths = [host.died for host in self.hosts.values()]
        done, _ = await asyncio.wait(deaths, return_when=asyncio.FIRST_COMPLETED)
        raise done.pop().result()


def refusals(scenario: Resolved) -> list[str]:
    """Features of a scenario that machines do not support, one sentence each; starts nothing."""
    lacks = lacking("vagrant")
    reasons = [f"underlay.routers.{name}: {lacks['routers']}" for name in scenario.routers]
    reasons += step_refusals(scenario, "vagrant")
    reasons += [
        f"underlay.links: {sender} -> {receiver} asks for {', '.join(more)}: {lacks['models']}"
        for sender, receiver, link in scenario.links.impaired(list(scenario.hosts))
        if (more := [name for name in link.asks() if name not in KERNEL_MADE])
    ][:1]
    reasons += [
        f"services: there is no image {name}: `image:` also takes the path of an archive of `docker save`"
        for name in store.missing(images_named(scenario))
    ]
    return reasons


def _by_vagrant() -> Machines:
    try:
        from lab.backends.vagrant.machines import VagrantMachines
    except ModuleNotFoundError as error:
        raise LabError(f"machines need the Python package {error.name}: pip install 'overlay-lab[vagrant]'") from None
    return VagrantMachines(say=lambda text: print(text, file=sys.stderr))


class VagrantBackend:
    """Hosts are virtual machines. `machines` creates the machine manager; Vagrant by default."""

    name = "vagrant"

    def __init__(self, machines: Callable[[], Machines] | None = None) -> None:
        self._make_machines = machines or _by_vagrant

    def inside(self, work: Callable[[], int], *, name: str, detach: bool = False) -> int:
        """See `lab.contracts.lab.Housed`."""
        from lab.backends.netns import launch

        return launch(work, detach=detach, name=name)

    def refuse(self, scenario: Resolved) -> list[str]:
        """Features of this scenario that this backend does not support, one sentence each; starts nothing."""
        try:
            return refusals(scenario) + self._make_machines().refuse(scenario)
        except LabError as error:
            return [*refusals(scenario), str(error)]

    def pace(self) -> tuple[int, str]:
        """See `lab.contracts.lab.Paced`."""
        found = box.find(docker=True)
        if found is None or asyncio.run(libvirt.kvm_works(found.image)):
            return 1, ""
        return _EMULATED, "emulated processors"

    async def watch(self, lab: Any, scenario: Resolved) -> None:
        """See `lab.runner.runner`: in parallel with the timeline, for as long as the lab is up."""
        await lab.watch()

    async def up(self, scenario: Resolved) -> VagrantLab:
        """Boot all machines and set them up as hosts; no overlay yet."""
        origin = time.monotonic_ns()
        runtime.current()
        if reasons := self.refuse(scenario):
            raise LabError("\n".join(reasons))
        # The top layer of the dind backend's hosts.
        project = (await asyncio.to_thread(store.build, lambda _: None))[0].layers[-1]
        machines = self._make_machines()
        hosts: dict[str, VagrantHost] = {}

        async def shell(host: str, argv: Any) -> str:
            return await hosts[host].shell(argv)

        fabric = GuestFabric(underlay_of(scenario), shell)
        lab = VagrantLab(hosts, fabric, origin, machines)
        try:
            await machines.up(scenario)
            addresses = {name: spec.address for name, spec in scenario.hosts.items()}
            for index, (name, address) in enumerate(addresses.items()):
                guest = Guest(name, machines.ssh_config, STATE / "v" / str(index))
                hosts[name] = VagrantHost(name, address, guest, machines, fabric, hosts_file(addresses), origin)
            wanted, files = wanted_images(scenario), image_archives(scenario)

            async def enter(host: VagrantHost) -> None:
                await host.enter(project)
                await host.load(wanted, files)

            await asyncio.gather(*(enter(host) for host in hosts.values()))
        except BaseException:
            await lab.down()
            raise
        return lab
