"""One Docker-in-Docker host: a container of the outer engine, with its own engine, `weave` command and disk.

Owns the container's lifecycle and the runner's access to the host. Commands run through the outer engine's exec;
sockets of the host are reached by paths from a `HostAccess`. Knows nothing of scenarios or partitions.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from lab.backends.dind.client import client, load
from lab.backends.dind.engine import answers
from lab.backends.real.docker_client import Docker
from lab.backends.real.observed import WEAVE_SOCKET, Agent, ObservedHost, write_hosts_file
from lab.contracts.lab import CommandResult, overdue
from lab.errors import LabError
from lab.fabric.fabric import Fabric
from lab.fabric.relay.process import RelayLauncher
from lab.images import reference

DOCKER_SOCKET = "/run/docker.sock"
_BOOT = 60.0
"""Timeout for the start of a host's engine, in seconds, on a machine that is busy with many of them."""


_END_ENGINE = """\
pid=$(pidof dockerd) || { echo 'no Docker Engine runs' >&2; exit 1; }
touch /run/lab-engine-held
kill -"$1" $pid
while kill -0 $pid 2> /dev/null; do sleep 0.02; done
"""
_START_ENGINE = """\
config=/etc/docker/daemon.json
sed 's/"live-restore": *[a-z]*/"live-restore": '"$1"/ $config > $config.once
rm -f /run/lab-engine-held
until curl -s -f --unix-socket /run/docker.sock http://engine/_ping > /dev/null; do sleep 0.02; done
rm $config.once
"""
"""Only this stop is without `live-restore`: an engine that ends in any other way leaves its containers running."""


class HostAccess(Protocol):
    """The runner's access to the inside of a host."""

    async def tool(self, *argv: str, text: str = "", check: bool = True) -> str:
        """Run a tool in the namespaces of the fabric's bridges and the hosts' pids, like `lab.fabric.fabric.run`."""
        ...

    @property
    def relay(self) -> RelayLauncher:
        """Launcher of the link relay, in the namespace of the fabric's bridges."""
        ...

    async def open(self, pid: int, name: str, path: str) -> str:
        """A local path that connects to the socket `path` of the host with this init."""
        ...


class DindHost(ObservedHost):
    """A machine made of a container. `create` makes it, `boot` powers it on."""

    def __init__(
        self, name: str, address: str, container: str, outer: str, fabric: Fabric, reach: HostAccess, origin: int
    ) -> None:
        super().__init__(name, address, origin)
        self.container = container
        """Id of the container in the outer engine."""
        self.outer = outer
        """Path of the outer engine's socket."""
        self.pid = 0
        """Pid of the host's init, as the outer engine sees it; 0 when it is switched off."""
        self._engine = Docker(outer)
        self._inner = Docker("")
        self._weave = ""
        self._fabric = fabric
        self._reach = reach

    @property
    def docker(self) -> Docker:
        """The host's own engine."""
        return self._inner

    @property
    def weave_socket(self) -> str:
        """The daemon's control socket, as the runner reaches it."""
        return self._weave

    @property
    def environment(self) -> dict[str, str]:
        """Environment of commands that enter the host."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "HOSTNAME": self.name}

    # Power

    async def power_on(self) -> None:
        """First half of booting: the init runs; no cables yet."""
        if self.pid:
            raise LabError(f"host {self.name} is running already")

        def work() -> int:
            with client(self.outer) as engine:
                container = engine.containers.get(self.container)
                container.start()
                container.reload()
                return int(container.attrs["State"]["Pid"])

        self.pid = await asyncio.to_thread(work)
        if not self.pid:
            raise LabError(f"host {self.name} ended at once: {await self._log()}")

    async def finish(self) -> None:
        """Second half, once the cables are connected: addresses, sockets, and the engine answers."""
        text = self._fabric.host_commands(self.name)
        await self._reach.tool("nsenter", "--target", str(self.pid), "--net", "ip", "-batch", "-", text=text)
        self._inner = Docker(await self._reach.open(self.pid, self.name, DOCKER_SOCKET))
        self._weave = await self._reach.open(self.pid, self.name, WEAVE_SOCKET)
        try:
            async with asyncio.timeout(_BOOT):
                await answers(self._inner.path)
        except TimeoutError:
            raise LabError(f"the engine of {self.name} does not answer; its log ends: {await self._log()}") from None
        self.booted.set()
        if self.hosts_text:
            await self.exec(["sh", "-c", write_hosts_file(self.hosts_text)])

    async def load(self, archives: Iterable[Iterable[bytes]]) -> None:
        """Load these images into the host's engine."""
        await asyncio.to_thread(load, self._inner.path, archives)

    async def take(self, names: Iterable[str], outer: str) -> None:
        """Copy these images from another engine into the host's engine."""

        def work() -> None:
            with client(outer) as source, client(self._inner.path) as engine:
                for name in map(":".join, map(reference, names)):
                    engine.images.load(source.images.get(name).save(named=name))

        await asyncio.to_thread(work)

    async def start(self) -> None:
        """Power on again after `kill`; the disk is unchanged."""
        async with self.booting:
            await self.power_on()
            await self._fabric.plug([(self.name, self.pid)])
            await self.finish()
            await self.tear()

    async def kill(self) -> None:
        """Power off: every process and the cables disappear at once; the disk stays."""
        self.booted.clear()
        self.has_room()
        pid, self.pid = self.pid, 0
        if not pid:
            return

        def work() -> None:
            with client(self.outer) as engine:
                container = engine.containers.get(self.container)
                container.kill(signal=signal.SIGKILL)
                container.wait(timeout=30)

        await asyncio.gather(asyncio.to_thread(work), self._fabric.unplug(self.name))

    # The engine

    async def end_engine(self, number: int, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`: only `dockerd` ends; containerd's shims keep the containers meanwhile."""
        await self._engine_command(_END_ENGINE, str(number))

    async def start_engine(self, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`."""
        await self._engine_command(_START_ENGINE, str(live_restore).lower())

    async def _engine_command(self, script: str, *words: str) -> None:
        result = await self.exec(["sh", "-c", script, "sh", *words], timeout=_BOOT)
        if result.code:
            raise LabError(f"the engine of {self.name}: {result.err.strip() or await self._log()}")

    # Commands

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """Run a command on the host, or inside one of its containers; its output is collected."""
        if not self.booted.is_set():
            raise LabError(f"host {self.name} is switched off")
        if container:
            result, pid = await self._inner.exec(container, argv, env=env, timeout=timeout)
            kill = ["nsenter", "--target", str(self.pid), "--pid", "--mount", "kill", "-9", str(pid)]
        else:
            result, pid = await self._engine.exec(self.container, argv, env=env, timeout=timeout)
            kill = ["kill", "-9", str(pid)]
        if result is not None:
            return result
        if pid:
            await self._reach.tool(*kill, check=False)
        return overdue(timeout)

    @contextlib.asynccontextmanager
    async def converse(
        self, argv: Sequence[str], *, env: Mapping[str, str], complain: Callable[[str], None], limit: int
    ) -> AsyncIterator[Agent]:
        """See `lab.contracts.lab.Conversing`; the program must be in the host's image, and writes errors to its log."""
        if not self.booted.is_set():
            raise LabError(f"host {self.name} is switched off")
        words = ["env", *(f"{key}={value}" for key, value in env.items()), *argv]
        async with self._engine.attached(self.container, words) as pipes:
            yield pipes

    @contextlib.asynccontextmanager
    async def open_agent(self) -> AsyncIterator[Agent]:
        """See `ObservedHost`: the agent of the host image, run by the outer engine's exec."""
        if not self.booted.is_set():
            raise LabError(f"host {self.name} is switched off")
        async with self._engine.attached(self.container, ["python3", "-m", "lab.probes.agent"]) as (reader, write):
            yield reader, write

    @contextlib.asynccontextmanager
    async def open_sniffer(self, argv: Sequence[str]) -> AsyncIterator[Agent]:
        """See `ObservedHost`: the sniffer of the host image, run by the outer engine's exec."""
        if not self.booted.is_set():
            raise LabError(f"host {self.name} is switched off")
        async with self._engine.attached(self.container, ["python3", "-m", "lab.capture.sniff", *argv]) as stream:
            yield stream

    async def _log(self) -> str:
        with contextlib.suppress(LabError):
            result, _ = await self._engine.exec(
                self.container, ["tail", "-n", "5", "/var/log/docker.log"], env={}, timeout=5
            )
            if result is not None:
                return result.out.strip()
        return "it has ended"
