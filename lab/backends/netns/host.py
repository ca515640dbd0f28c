"""One host of a netns lab, as the runner sees it: power, commands, the daemon's view, probes.

Owns the lifecycle of the host's init and the channels into the host. The zygote forks all processes; the host's sockets
are reached through its disk, which is visible to the runner. Knows nothing of scenarios or partitions.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lab.backends.netns import init
from lab.backends.netns.control import peer_pid
from lab.backends.netns.engine_socket import EngineSocket
from lab.backends.netns.paths import ENGINE_SOCKET, NEIGHBOURS, WEAVE_SOCKET
from lab.backends.netns.spawn import Process, Spawner, preloaded
from lab.backends.netns.talking import conversing, talking
from lab.backends.real.docker_client import Docker
from lab.backends.real.observed import DISTURBANCE, LINE_LIMIT, Agent, ObservedHost
from lab.backends.real.small_disk import SmallDisk
from lab.contracts.lab import CommandResult
from lab.errors import LabError
from lab.fabric.fabric import Fabric
from lab.fabric.host_messages import PlannedInterface
from overlay.runtime import disturbance

_ENGINES = 8


@dataclass(frozen=True)
class HostSpawners:
    """Who forks what is in the hosts of a lab."""

    inits: Spawner
    """The nursery's, for first processes."""
    commands: Spawner
    """The zygote's, for all others."""
    engines: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ENGINES))
    """Engines that may start at the same time."""


class NetnsHost(ObservedHost):
    """A machine made of namespaces. Created switched off; `NetnsLab` boots all hosts at once, `start` boots one."""

    def __init__(
        self,
        plan: init.HostPlan,
        address: str,
        spawners: HostSpawners,
        fabric: Fabric,
        origin: int,
        disk: SmallDisk | None = None,
    ) -> None:
        super().__init__(plan.name, address, origin)
        self.small_disk = disk
        self._plan = plan
        self._run = Path(plan.disk, "run")
        self._spawners = spawners
        self._spawner = spawners.commands
        self._fabric = fabric
        self._init: Process | None = None
        self._channel: socket.socket | None = None
        self._docker = Docker(str(self._run / Path(ENGINE_SOCKET).name))
        self._engine = EngineSocket(Path(self._docker.path), Path(plan.disk, "docker"), self._begin_engine)

    @property
    def pid(self) -> int:
        """Pid of the host's init in the lab's pid namespace; 0 when it is switched off."""
        return self._init.pid if self._init is not None and not self._init.ended.done() else 0

    @property
    def environment(self) -> dict[str, str]:
        """Environment of commands on this host."""
        return self._plan.env

    @property
    def docker(self) -> Docker:
        """The host's container engine."""
        return self._docker

    @property
    def weave_socket(self) -> str:
        """The daemon's control socket, as the runner reaches it."""
        return str(self._run / WEAVE_SOCKET)

    # Power

    async def prepare(self) -> None:
        """First half of booting: the init runs, has its namespaces, and waits for its cables."""
        if self.pid:
            raise LabError(f"host {self.name} is running already")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            routes = self._fabric.routes_of(self.name)
            plan = msgspec.structs.replace(self._plan, interfaces=self._interfaces(), routes=routes)
            if self.hosts_text:
                plan = msgspec.structs.replace(plan, files={**plan.files, "hosts": self.hosts_text})
            self._init = await self._spawners.inits.spawn(init=plan, fds=(null, null, null, theirs.fileno()))
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(null)
            theirs.close()
        self._channel = ours
        await self._hear(init.MADE)

    def _interfaces(self) -> tuple[PlannedInterface, ...]:
        """The interfaces to set up at this boot. Tables of neighbours are written once for all hosts."""
        found = []
        for one in self._fabric.interfaces[self.name]:
            name, place = self._fabric.neighbours.place(one)
            table = NEIGHBOURS / name
            if not table.exists():
                table.parent.mkdir(exist_ok=True)
                table.write_bytes(self._fabric.neighbours.messages(one))
            whole = not self._fabric.impaired(self.name, one)
            found.append(PlannedInterface(one.name, one.address, one.prefix, whole, str(table), place))
        return tuple(found)

    async def finish(self) -> None:
        """Second half, once the cables are connected: addresses; then the container engine may start."""
        assert self._channel is not None
        self._channel.send(init.GO)
        await self._hear(init.UP)
        self._channel.close()
        self._channel = None
        self.booted.set()
        if self._plan.engine:
            await self._engine.open()

    async def start(self) -> None:
        """Power on again after `kill`; the disk is unchanged."""
        async with self.booting:
            await self.prepare()
            await self._fabric.plug([(self.name, self.pid)])
            await self.finish()
            await self.tear()

    async def kill(self) -> None:
        """Power off: every process and the cables disappear at once; the disk stays."""
        await asyncio.gather(self.end(), self._fabric.unplug(self.name))

    async def end(self) -> None:
        """End every process; the cables are removed with the lab."""
        self.booted.clear()
        self._engine.close()
        self.has_room()
        if self._init is not None:
            self._init.kill()
            await self._init.ended
            self._init = None

    async def kill_daemon(self) -> None:
        """`kill -9` of the overlay's daemon, which is identified through its control socket."""
        if not await _end(self.weave_socket, signal.SIGKILL):
            raise LabError(f"no overlay daemon runs on {self.name}")

    async def end_engine(self, number: int, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`: the engine is identified through its socket. Its containers end with it."""
        self._powered()
        await self._engine.settled()
        if self._engine.idle:  # it would start at the next connection, which is refused instead
            self._engine.close()
        elif not await _end(self._docker.path, number):
            raise LabError(f"no container engine runs on {self.name}")

    async def start_engine(self, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`."""
        self._powered()
        await self._engine.open()

    async def _begin_engine(self, listener: socket.socket | None) -> None:
        """Start the engine's process, and wait until it listens, at this socket if clients wait there already."""
        words = [self.name, self._plan.bridge, *(["taken"] if listener is not None else [])]
        async with self._spawners.engines:
            done = await self._spawner.collect(
                host=self._powered(),
                call="lab.backends.netns.engine_start:start",
                argv=words,
                env=self._plan.env,
                timeout=90,
                stdin=listener.fileno() if listener is not None else -1,
            )
        if done.code:
            raise LabError(done.err.strip() or f"the container engine of {self.name} did not come up")

    async def disturb(self, *words: str) -> None:
        """See `ObservedHost`: the runner can access the host's files."""
        self._powered()
        if disturbance.main([str(self._run / Path(DISTURBANCE).name), *words]):
            raise LabError(f"the daemon of {self.name} cannot be disturbed")

    # Commands

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """Run a command on the host, or in one of its containers, and collect its output.

        `weave …` runs in a fork of the preloaded process, without a new interpreter. A command that exceeds `timeout`
        seconds is killed (exit code 124).
        """
        if container:
            self._powered()
            return await self.exec_inside(container, argv, timeout=timeout, env=env)
        call, words = preloaded(argv)
        return await self._spawner.collect(
            host=self._powered(), call=call, argv=words, env={**self._plan.env, **env}, timeout=timeout
        )

    def converse(
        self, argv: Sequence[str], *, env: Mapping[str, str], complain: Callable[[str], None], limit: int
    ) -> contextlib.AbstractAsyncContextManager[Agent]:
        """See `lab.contracts.lab.Conversing`."""
        return conversing(
            self._spawner,
            argv=argv,
            host=self._powered(),
            env={**self._plan.env, **env},
            complain=complain,
            limit=limit,
        )

    def open_agent(self) -> contextlib.AbstractAsyncContextManager[Agent]:
        """See `ObservedHost`: a fork of the preloaded process."""
        return talking(
            self._spawner,
            host=self._powered(),
            call="lab.probes.agent:main",
            env=self._plan.env,
            log=Path(self._plan.disk, "log", "probes.log"),
            limit=LINE_LIMIT,
        )

    def open_sniffer(self, argv: Sequence[str]) -> contextlib.AbstractAsyncContextManager[Agent]:
        """See `ObservedHost`: a fork of the preloaded process."""
        return talking(
            self._spawner,
            host=self._powered(),
            call="lab.capture.sniff:main",
            argv=argv,
            env=self._plan.env,
            log=Path(self._plan.disk, "log", "captures.log"),
            limit=LINE_LIMIT,
        )

    # Internals

    def _powered(self) -> int:
        if not self.pid or not self.booted.is_set():
            raise LabError(f"host {self.name} is switched off")
        return self.pid

    async def _hear(self, expected: bytes) -> None:
        """Wait for the init's next word; raises `LabError` with its error message if it is a different one."""
        assert self._channel is not None
        word = await asyncio.get_running_loop().sock_recv(self._channel, 65536)
        if word == expected:
            return
        self._channel.close()
        self._channel = None
        if word.startswith(init.FAILED):
            raise LabError(f"host {self.name} did not come up:\n{word.removeprefix(init.FAILED).decode()}")
        raise LabError(f"host {self.name} died while it came up")


async def _end(path: str, number: int) -> bool:
    """Send a signal to the process that listens at a socket, and wait until it ends; False: there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            pid = peer_pid(connection)
        except OSError:
            return False
    if pid <= 1:
        return False
    pidfd = os.pidfd_open(pid)
    try:
        os.kill(pid, number)
        await _readable(pidfd)
    finally:
        os.close(pidfd)
    return True


async def _readable(fd: int) -> None:
    """Wait until a descriptor is readable."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        loop.remove_reader(fd)
