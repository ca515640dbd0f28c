"""The dind backend: a resolved scenario's underlay becomes containers with engines, connected to the lab's fabric.

Owns the order in which such a lab comes up and goes down, and what this backend refuses. It shares the fabric, cuts,
links, probes and views with the netns backend.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lab.backends.dind import cgroups
from lab.backends.dind.client import ListedContainer, client, containers, remove, tags
from lab.backends.dind.engine import Choice, choose
from lab.backends.dind.host import DindHost, HostAccess
from lab.backends.dind.reach import HELPER, HelperAccess, LocalAccess, sockets, too_long
from lab.backends.netns import runtime
from lab.backends.netns.backend import relay_launcher
from lab.backends.netns.paths import STATE
from lab.backends.netns.spawn import Spawner
from lab.backends.real.fabric_lab import (
    FabricLab,
    hosts_file,
    image_archives,
    images_named,
    refusals,
    underlay_of,
    wanted_images,
)
from lab.backends.real.observed import DISTURBANCE
from lab.backends.real.small_disk import MOST, SmallDisk
from lab.errors import LabError
from lab.fabric.fabric import Fabric
from lab.images import store
from lab.images.archive import BuiltImage, archive
from lab.scenario.engine_pools import bridge_of
from lab.scenario.resolve import Resolved
from overlay.runtime.disturbance import VARIABLE

LABEL = "overlay-lab.lab"
"""Label on every container of a lab: the lab to which it belongs."""
_DISK = {"weave": "/var/lib/weave", "docker": "/var/lib/docker", "tmp": "/tmp", "log": "/var/log"}
"""Directory on a host's small disk -> its path in the host."""
_STARTING = 60
"""Maximum seconds between the creation of a helper and its start."""


class OuterEngine(NamedTuple):
    """The engine that runs the hosts, with the host image loaded."""

    socket: str
    reach: HostAccess
    cgroup: str = ""


class DindLab(FabricLab[DindHost]):
    """A running lab of containers."""

    def __init__(
        self, hosts: Mapping[str, DindHost], fabric: Fabric, origin: int, outer: OuterEngine, label: str
    ) -> None:
        super().__init__("dind", hosts, fabric, origin)
        self._outer, self._label = outer, label

    async def end(self) -> None:
        """Remove all hosts with their disks from a user's engine; the lab's own engine ends with the supervisor."""
        await self._fabric.close()
        if isinstance(self._outer.reach, HelperAccess):
            await asyncio.to_thread(remove_hosts, self._outer.socket, self._label)
            await self._outer.reach.close()


class DindBackend:
    """Hosts are containers with a Docker Engine."""

    name = "dind"

    def __init__(self) -> None:
        self._choice: Choice | None = None
        self._cgroup = ""

    def refuse(self, scenario: Resolved) -> list[str]:
        """Features of this scenario that this backend does not support, one sentence each; starts nothing."""
        reasons = refusals(scenario, self.name)
        try:
            self._choice = choose(os.environ)
        except LabError as error:
            return [*reasons, str(error)]
        if not self._choice.own and (why := too_long(self._cgroup or cgroups.new_name())):
            reasons.append(why)
        if not store.ready():
            reasons.append(f"there is no host image yet: {store.BUILD}")
        for name in store.missing(images_named(scenario)):
            if self._choice.own or not _in_engine(self._choice.socket, name):
                reasons.append(
                    f"services: there is no image {name}: `image:` also takes the path of an archive of `docker save`, "
                    "and images of the engine that runs the hosts are found by their names"
                )
        return reasons

    def inside(self, work: Callable[[], int], *, name: str, detach: bool = False) -> int:
        """Run `work` inside a fresh lab, in which `up` works, and clean up after the lab has ended."""
        from lab.backends.netns import launch

        cgroups.sweep() if os.geteuid() == 0 else None
        self._cgroup = cgroups.new_name()
        return launch(work, detach=detach, name=name, after=self._clean_up)

    def _clean_up(self) -> None:
        cgroups.remove(self._cgroup)
        shutil.rmtree(sockets(self._cgroup), ignore_errors=True)

    async def watch(self, lab: FabricLab[Any], scenario: Resolved) -> None:
        """See `lab.runner.runner`: in parallel with the timeline, for as long as the lab is up."""
        await lab.watch()

    async def up(self, scenario: Resolved) -> DindLab:
        """Bring up all hosts, their engines with the scenario's images, and the network; no overlay yet."""
        origin = time.monotonic_ns()
        inside = runtime.current()
        if reasons := self.refuse(scenario):
            raise LabError("\n".join(reasons))
        images = await asyncio.to_thread(store.build, lambda _: None)
        image = images[0]
        assert self._choice is not None
        label = f"{os.getuid()}/{inside.name}"
        outer = await self._outer(self._choice, image, label)
        fabric = Fabric(underlay_of(scenario), outer.reach.tool, outer.reach.relay, scenario.seed)
        hosts: dict[str, DindHost] = {}
        lab = DindLab(hosts, fabric, origin, outer, label)
        try:
            addresses = {name: spec.address for name, spec in scenario.hosts.items()}
            told = {VARIABLE: DISTURBANCE, "LAB_HOSTS": hosts_file(addresses), "LAB_BRIDGE": bridge_of(scenario)}
            disks = self._disks(list(addresses))
            made = [asyncio.to_thread(_create, outer, image, name, label, told, disks.get(name)) for name in addresses]
            containers = (await asyncio.gather(fabric.build(), *made))[1:]
            for (name, address), container in zip(addresses.items(), containers, strict=True):
                hosts[name] = DindHost(name, address, str(container), outer.socket, fabric, outer.reach, origin)
                hosts[name].small_disk = disks.get(name)
                if isinstance(outer.reach, HelperAccess):
                    hosts[name].doorway = ("docker", "--host", f"unix://{outer.socket}", "exec", str(container))
            await asyncio.gather(*(host.power_on() for host in hosts.values()))
            await fabric.plug([(host.name, host.pid) for host in hosts.values()])
            wanted, files = wanted_images(scenario), image_archives(scenario)
            await asyncio.gather(*(_furnish(host, wanted, files, self._choice.socket) for host in hosts.values()))
        except BaseException:
            await lab.down()
            raise
        return lab

    def _disks(self, names: Sequence[str]) -> dict[str, SmallDisk]:
        """Small disks for hosts of the lab's own engine. A user's engine stores their disks itself."""
        assert self._choice is not None
        if not self._choice.own or len(names) > MOST:
            return {}
        made = {name: SmallDisk.made(STATE / "disks" / str(n), list(_DISK), suid=True) for n, name in enumerate(names)}
        return {name: disk for name, disk in made.items() if disk is not None}

    async def _outer(self, choice: Choice, image: BuiltImage, label: str) -> OuterEngine:
        """The engine: the user's with a helper in it, or one of the lab's own."""
        if choice.own:
            from lab.backends.dind.template import furnished

            own = await furnished(image, self._cgroup)
            relay = relay_launcher(Spawner(runtime.current().zygote))
            return OuterEngine(own.socket, LocalAccess(relay), self._cgroup)
        await asyncio.to_thread(_offer, choice.socket, image)
        await asyncio.to_thread(sweep, choice.socket)
        return OuterEngine(
            choice.socket, await HelperAccess.start(choice.socket, image.name, sockets(self._cgroup), LABEL, label)
        )


async def _furnish(host: DindHost, images: Sequence[str], files: Sequence[Path], outer: str) -> None:
    """Finish a host's boot and load its images: those of the lab, of the scenario, and of a user's engine."""
    await host.finish()
    await host.load([*store.archives_of(images), *map(store.read, files)])
    theirs = store.missing(images)
    if theirs and outer:
        await host.take(theirs, outer)


def _offer(outer: str, image: BuiltImage) -> None:
    """Load the host image into a user's engine, if this version is missing; remove older unused versions."""
    with client(outer) as engine:
        names = tags(engine, store.HOST)
        if image.name in names:
            return
        engine.images.load(archive([image], store.architecture()))
        for name in names:
            with contextlib.suppress(LabError), client(outer) as again:
                again.images.remove(name)


def sweep(outer: str) -> None:
    """Remove hosts of past labs whose helper does not run any more, because both were killed."""
    with client(outer) as engine:
        found = containers(engine, LABEL)
        alive = {one.labels[LABEL] for one in found if HELPER in one.labels and _lives(one)}
        for one in found:
            if one.labels[LABEL] not in alive:
                remove(engine, one.id)


def _lives(helper: ListedContainer) -> bool:
    """The helper runs, or is about to: another lab is just starting."""
    return helper.state == "running" or (helper.state == "created" and helper.created > time.time() - _STARTING)


def _in_engine(outer: str, name: str) -> bool:
    """Whether the engine that runs the hosts has this image."""
    try:
        with client(outer) as engine:
            engine.images.get(name)
    except LabError:
        return False
    return True


def _create(
    outer: OuterEngine, image: BuiltImage, name: str, label: str, told: dict[str, str], disk: SmallDisk | None
) -> str:
    """Create a host's container, switched off; returns its id.

    Does not use `--privileged`, which requests every capability: engines that run without CAP_SYS_RESOURCE refuse it.
    """
    with client(outer.socket) as engine:
        settings = engine.api.create_host_config(
            network_mode="none",
            cap_add=["ALL"],
            cap_drop=["SYS_RESOURCE"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            devices=["/dev/net/tun:/dev/net/tun:rwm"] if Path("/dev/net/tun").exists() else [],
            device_cgroup_rules=["c *:* rwm", "b *:* rwm"],
            binds=[f"{disk.path / folder}:{place}" for folder, place in _DISK.items()] if disk is not None else [],
            **({"cgroup_parent": f"/{outer.cgroup}"} if outer.cgroup else {}),
        )
        settings |= {"MaskedPaths": [], "ReadonlyPaths": []}  # `--security-opt systempaths=unconfined`
        labels = {LABEL: label, "overlay-lab.host": name}
        made: dict[str, str] = engine.api.create_container(
            image.name, hostname=name, environment=told, labels=labels, host_config=settings
        )
        return made["Id"]


def remove_hosts(outer: str, label: str) -> None:
    """Remove every host of a lab with its disk, but not the helper, which ends by itself."""
    with client(outer) as engine:
        for one in containers(engine, f"{LABEL}={label}"):
            if HELPER not in one.labels:
                remove(engine, one.id)
