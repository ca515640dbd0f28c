"""One machine of a lab, as the runner sees it: power, commands, the daemon's view, probes, its clock.

Owns the set-up of a machine after each boot, and detects when it is gone without a request. `Machines` hides the
hypervisor; commands go through `Guest`. Knows nothing of scenarios or partitions.
"""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lab.backends.dind.client import client, load, tags
from lab.backends.dind.engine import answers
from lab.backends.real.docker_client import Docker
from lab.backends.real.fabric_lab import HOST_SYSCTLS
from lab.backends.real.observed import Agent, ObservedHost
from lab.backends.vagrant.guest import Guest
from lab.contracts.lab import CommandResult
from lab.errors import LabError
from lab.fabric.guests import GuestFabric
from lab.images import reference, store
from lab.images.archive import Layer

_ENGINE = 180.0
"""Timeout for a machine's engine, in seconds, on an emulated CPU while many machines boot at once."""
_PATIENCE = 0.2
_WATCH_CLOCK = 5.0
"""Seconds between two readings of a machine's clock: an emulated time stamp counter is calibrated only roughly."""
_READY = """\
hostname {name}
echo {name} > /etc/hostname
cat > /etc/hosts <<'END'
{hosts}END
modprobe vxlan 2>/dev/null || true
{sysctls}
"""


_FILL = """\
echo 'r! /var/lib/overlay-lab/filler' > /etc/tmpfiles.d/overlay-lab.conf
mkdir -p /var/lib/overlay-lab
sync
for share in 1 2 4 8 16; do
    free=$(($(df --output=avail -k /var/lib | tail -n 1) / share))
    [ $free -gt 0 ] && fallocate -l ${free}K -o $(stat -c %s /var/lib/overlay-lab/filler 2> /dev/null || echo 0) \
        /var/lib/overlay-lab/filler 2> /dev/null || true
done
cat /dev/zero >> /var/lib/overlay-lab/filler 2> /dev/null || true
sync
"""
"""Writes the rest that no extent takes. A booting machine removes the file, so that its engine can start."""
_MAKE_ROOM = "rm -f /var/lib/overlay-lab/filler /etc/tmpfiles.d/overlay-lab.conf"
_END_ENGINE = """\
pid=$(systemctl show --property MainPID --value docker)
[ "$pid" -gt 0 ] || {{ echo 'no Docker Engine runs' >&2; exit 1; }}
systemctl mask --runtime --quiet docker.service docker.socket
kill -{number} $pid
while kill -0 $pid 2> /dev/null; do sleep 0.1; done
systemctl stop docker.socket 2> /dev/null || true
"""
_START_ENGINE = """\
config=/etc/docker/daemon.json
grep -q live-restore $config 2> /dev/null || echo '{{"live-restore": true}}' > $config
sed -i 's/"live-restore": *[a-z]*/"live-restore": {live_restore}/' $config
systemctl unmask --runtime --quiet docker.service docker.socket
systemctl reset-failed docker.service docker.socket 2> /dev/null || true
systemctl start docker.socket docker.service
sed -i 's/"live-restore": *[a-z]*/"live-restore": true/' $config
"""
"""Only this stop is without `live-restore`: an engine that ends in any other way leaves its containers running."""


class Machines(Protocol):
    """The machines of a lab, independent of the hypervisor. Every method raises `LabError` that names the machine."""

    @property
    def ssh_config(self) -> Path:
        """A file for `ssh -F` with every machine by its name, once they are up."""
        ...

    def refuse(self, scenario: Any) -> list[str]:
        """Missing requirements for machines of this scenario, one sentence each with a remedy; starts nothing."""
        ...

    async def up(self, scenario: Any) -> None:
        """Boot all machines; returns when the last one's sshd answers."""
        ...

    async def power_off(self, name: str) -> None:
        """Cut a machine's power; its disk stays."""
        ...

    async def off(self, name: str) -> None:
        """Wait until it has no power, for whatever reason."""
        ...

    async def power_on(self, name: str) -> None:
        """Boot it again; returns when its sshd answers."""
        ...

    async def console_tail(self, name: str) -> str:
        """The last lines of its console."""
        ...

    async def down(self) -> None:
        """Destroy all machines with their disks; idempotent."""
        ...


class VagrantHost(ObservedHost):
    """A virtual machine. `Machines.up` boots it the first time, `enter` sets the booted machine up as a host."""

    def __init__(
        self, name: str, address: str, guest: Guest, machines: Machines, fabric: GuestFabric, hosts: str, origin: int
    ) -> None:
        super().__init__(name, address, origin)
        self.died: asyncio.Future[LabError] = asyncio.get_running_loop().create_future()
        """Set when the machine is gone without a request to switch it off."""
        self.doorway, self.inside = guest.doorway, True
        self.patience = _PATIENCE
        self._guest, self._machines, self._fabric, self._hosts = guest, machines, fabric, hosts
        self._docker = Docker(guest.docker)
        self._project: Layer | None = None
        self._watchers: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        """Pid of the connection to the machine; 0 while it is off."""
        connection = self._guest.connection
        return connection.pid if connection is not None and self.booted.is_set() else 0

    @property
    def docker(self) -> Docker:
        """The machine's engine."""
        return self._docker

    @property
    def weave_socket(self) -> str:
        """The daemon's control socket; without a running daemon a connection ends at once."""
        return self._guest.weave

    @property
    def environment(self) -> dict[str, str]:
        """Environment of commands on the machine."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "HOSTNAME": self.name}

    # Power

    async def enter(self, project: Layer) -> None:
        """Set up a booted machine as a host: the connection, its name and addresses, its engine."""
        self._project = project
        try:
            await self._furnish(project)
        except BaseException:
            await self.leave()
            raise
        self.booted.set()
        self._watchers = [asyncio.create_task(self._notice()), asyncio.create_task(self._follow_clock())]

    async def _furnish(self, project: Layer) -> None:
        await self._guest.connect()
        await self._guest.furnish(project)
        sysctls = "\n".join(f"echo {shlex.quote(value)} > /proc/sys/{key}" for key, value in HOST_SYSCTLS.items())
        await self._guest.shell(_READY.format(name=self.name, hosts=self._hosts, sysctls=sysctls))
        await self._fabric.plug(self.name)
        try:
            async with asyncio.timeout(_ENGINE):
                await answers(self._guest.docker)
        except TimeoutError:
            log = await self._guest.shell("journalctl -u docker -n 5 --no-pager -o cat 2>&1 || true")
            raise LabError(f"the Docker Engine of {self.name} does not answer; its log ends: {log.strip()}") from None
        await self._guest.ready()
        self.ahead = sum(await self._guest.ahead()) // 2

    async def load(self, names: Sequence[str], files: Sequence[Path]) -> None:
        """Load into its engine those images that are missing or outdated there, and these archives."""

        def work() -> None:
            missing = []
            with client(self._guest.docker) as engine:
                have = tags(engine)
                for name in names:
                    image = have.get(":".join(reference(name)))
                    if image is None or store.outdated(name, engine.images.get(image).attrs["RootFS"]["Layers"]):
                        missing.append(name)
            load(self._guest.docker, [*store.archives_of(missing), *map(store.read, files)])

        await asyncio.to_thread(work)

    async def start(self) -> None:
        """Power on again after `kill`; the disk is unchanged."""
        if self.booted.is_set():
            raise LabError(f"host {self.name} is running already")
        assert self._project is not None
        async with self.booting:
            await self._machines.power_on(self.name)
            await self.enter(self._project)

    async def kill(self) -> None:
        """Power off: every process dies at once; the disk stays."""
        await self.leave()
        await self._fabric.unplug(self.name)
        await self._machines.power_off(self.name)

    async def leave(self) -> None:
        """Close the connection to the machine, which keeps running."""
        self.booted.clear()
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        await self._guest.disconnect()

    async def _notice(self) -> None:
        """The machine is gone when it has no power, or when its connection ends: it crashed, or was switched off."""
        if self._guest.connection is None:
            return
        ends = [asyncio.create_task(self._guest.connection.wait()), asyncio.create_task(self._machines.off(self.name))]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        self.booted.clear()
        with contextlib.suppress(LabError):
            await self._fabric.unplug(self.name)
        try:
            tail = (await self._machines.console_tail(self.name)).strip()
        except LabError as error:
            tail = str(error)
        if not self.died.done():
            words = f"; its console ends:\n{tail}" if tail else ""
            self.died.set_result(LabError(f"the machine {self.name} died, and nobody had switched it off{words}"))

    async def _follow_clock(self) -> None:
        """Keep the offset of the machine's clock up to date."""
        while True:
            await asyncio.sleep(_WATCH_CLOCK)
            with contextlib.suppress(LabError, OSError):
                # Keep the known offset while it is within the bounds of the new reading, because bounds are wide on a
                # busy machine.
                least, most = await self._guest.ahead()
                self.ahead = min(max(self.ahead, least), most)

    # Devices

    async def set_clock(self, *, offset: int | None, drift: int) -> None:
        """See `lab.contracts.lab.Adjustable`: the machine's own clock, wall and monotonic."""
        self._powered()
        await self._guest.skew(offset, drift)

    async def set_disk(self, *, latency: int, full: bool, torn: bool = False) -> None:
        """See `lab.contracts.lab.Adjustable`; a slow disk is refused in scenarios. Full means really full."""
        self._powered()
        if torn or (latency and not full):
            raise LabError(f"the disk of {self.name} cannot be slowed: a hypervisor's disks have no such knob")
        await self._guest.shell(_FILL if full else _MAKE_ROOM)

    @property
    def fills(self) -> bool:
        """See `ObservedHost`."""
        return True

    # The engine

    async def end_engine(self, number: int, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`: masked, so that neither systemd nor its socket unit starts it again."""
        self._powered()
        await self._guest.shell(_END_ENGINE.format(number=number))

    async def start_engine(self, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`."""
        self._powered()
        await self._guest.shell(_START_ENGINE.format(live_restore=str(live_restore).lower()))

    # Commands

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """Run a command on the machine, or in one of its containers, and collect its output."""
        self._powered()
        if container:
            return await self.exec_inside(container, argv, timeout=timeout, env=env)
        return await self._guest.exec(argv, env={**self.environment, **env}, timeout=timeout)

    async def shell(self, argv: Sequence[str]) -> str:
        """Run a command on the machine, also during boot; returns its output, raises `LabError` with its errors."""
        return await self._guest.shell(shlex.join(argv))

    @contextlib.asynccontextmanager
    async def open_agent(self) -> AsyncIterator[Agent]:
        """See `ObservedHost`: a fork in the machine."""
        self._powered()
        async with self._guest.probes(self.environment) as agent:
            yield agent

    def _powered(self) -> None:
        if not self.booted.is_set():
            raise LabError(f"host {self.name} is switched off")
