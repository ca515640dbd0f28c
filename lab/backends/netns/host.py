"""One host of a netns lab, as the runner sees it: power, commands, the daemon's view, probes.

Owns the life of the host's init and the channels into the host. All processes come from the zygote; sockets of the host
are reached through its disk, which the runner sees. Knows nothing of scenarios or partitions.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from lab.backends.base import Probe, Result
from lab.backends.netns import init
from lab.backends.netns.control import peer_pid
from lab.backends.netns.docker import Docker
from lab.backends.netns.paths import ENGINE_SOCKET, WEAVE_SOCKET
from lab.backends.netns.spawn import KILLED_BY_TIMEOUT, Process, Spawner
from lab.errors import LabError
from lab.fabric.fabric import Fabric
from lab.history import Gone, Sample, View, decode
from lab.probes.protocol import Command, encode_command

_RETRY = 0.01
"""Seconds between two looks for a socket that is not there (yet)."""
_LINE_LIMIT = 1 << 22


class _Sight(msgspec.Struct, frozen=True):
    """One line of the daemon's watch: a monotonic clock and what it believes."""

    t: int
    view: dict[str, Any]


class NetnsHost:
    """A machine made of namespaces. Made switched off; `NetnsLab` boots all at once, `start` one again."""

    def __init__(self, plan: init.HostPlan, address: str, spawner: Spawner, fabric: Fabric, origin: int) -> None:
        self.name = plan.name
        self.address = address
        self._plan = plan
        self._run = Path(plan.disk, "run")
        self._spawner = spawner
        self._fabric = fabric
        self._origin = origin
        """What the clock showed when the run started."""
        self._init: Process | None = None
        self._channel: socket.socket | None = None
        self._booted = asyncio.Event()
        self._docker = Docker(str(self._run / Path(ENGINE_SOCKET).name))

    @property
    def pid(self) -> int:
        """Pid of the host's init in the lab's pid namespace; 0 when it is switched off."""
        return self._init.pid if self._init is not None and not self._init.ended.done() else 0

    @property
    def environment(self) -> dict[str, str]:
        """Of commands on this host."""
        return self._plan.env

    @property
    def docker(self) -> Docker:
        """The host's container engine."""
        return self._docker

    # Power

    async def prepare(self) -> None:
        """First half of booting: the init runs and has its namespaces, and waits to be plugged in."""
        if self.pid:
            raise LabError(f"host {self.name} is running already")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            self._init = await self._spawner.spawn(init=self._plan, fds=(null, null, null, theirs.fileno()))
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(null)
            theirs.close()
        self._channel = ours
        await self._hear(init.MADE)

    async def finish(self) -> None:
        """Second half, once the cables are plugged in: addresses and the container engine."""
        assert self._channel is not None
        self._channel.send(init.GO)
        await self._hear(init.UP)
        self._channel.close()
        self._channel = None
        self._booted.set()

    async def start(self) -> None:
        """Power on again after `kill`; the disk is what it was."""
        await self.prepare()
        await self._fabric.plug([(self.name, self.pid)])
        await self.finish()

    async def kill(self) -> None:
        """Power off: every process dies at once, the cables with them; the disk stays."""
        await asyncio.gather(self.end(), self._fabric.unplug(self.name))

    async def end(self) -> None:
        """End every process; the cables are left to go with the lab."""
        self._booted.clear()
        if self._init is not None:
            self._init.kill()
            await self._init.ended
            self._init = None

    async def kill_daemon(self) -> None:
        """`kill -9` of the overlay's daemon, which is found through its control socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._run / WEAVE_SOCKET))
                pid = peer_pid(connection)
            except OSError:
                pid = 0
        if pid <= 1:
            raise LabError(f"no overlay daemon runs on {self.name}")
        pidfd = os.pidfd_open(pid)
        try:
            os.kill(pid, 9)
            await _readable(pidfd)
        finally:
            os.close(pidfd)

    # Commands

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> Result:
        """Run a command on the host, or inside one of its containers; its output is collected.

        `weave …` runs in a fork of the preloaded process, without a new interpreter. A command that is not done after
        `timeout` seconds is killed (exit code 124).
        """
        if container:
            self._powered()
            result, pid = await self._docker.exec(container, argv, env=env, timeout=timeout)
            if result is not None:
                return result
            if pid:
                await self.exec(["kill", "-9", str(pid)])
            return Result(KILLED_BY_TIMEOUT, "", f"killed: not done after {timeout:g} s\n")
        words = list(argv)
        if words[0] == "sudo" and len(words) > 1 and words[1] == "weave":
            del words[0]
        call = ""
        if words[0] == "weave":
            call, words = "overlay.cli:main", words[1:]
        return await self._spawner.collect(
            host=self._powered(), call=call, argv=words, env={**self._plan.env, **env}, timeout=timeout
        )

    # Observation

    async def views(self) -> AsyncIterator[View | Gone]:
        """The overlay daemon's view from now on, and `Gone` when it stops; waits for a daemon that does not run."""
        path = str(self._run / WEAVE_SOCKET)
        while True:
            seen = False
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async for view in self._watch(path):
                    seen = True
                    yield view
            if seen:
                yield Gone(t=time.monotonic_ns() - self._origin, host=self.name)
            await asyncio.sleep(_RETRY)
            while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110  # a stat of a tmpfs, cheap and never slow
                await asyncio.sleep(_RETRY)

    async def _watch(self, path: str) -> AsyncIterator[View]:
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_LINE_LIMIT) as session,
            session.get("http://weave/watch") as response,
        ):
            async for line in response.content:
                sight = msgspec.json.decode(line, type=_Sight)
                fields = {**sight.view, "kind": "view", "host": self.name, "t": sight.t - self._origin}
                yield msgspec.convert(fields, View)

    async def probe(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """Samples of these probes until the iterator is closed. Containers and hosts may come and go meanwhile."""
        while True:
            await self._booted.wait()
            async with contextlib.AsyncExitStack() as stack:
                with contextlib.suppress(LabError, OSError):
                    async for sample in self._agent(probes, stack):
                        yield sample
            await asyncio.sleep(_RETRY)  # the agent ended, with its host most likely

    async def _agent(self, probes: Sequence[Probe], stack: contextlib.AsyncExitStack) -> AsyncIterator[Sample]:
        """One life of a probe agent."""
        their_input, commands = os.pipe2(os.O_CLOEXEC)
        samples, their_output = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, commands)
        output = stack.enter_context(os.fdopen(samples, "rb", 0))
        try:
            process = await self._spawner.spawn(
                host=self._powered(),
                call="lab.probes.agent:main",
                env=self._plan.env,
                fds=(their_input, their_output, self._log("probes.log", stack)),
            )
        finally:
            os.close(their_input)
            os.close(their_output)
        stack.callback(process.kill)
        reader = asyncio.StreamReader(limit=_LINE_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), output
        )
        stack.callback(transport.close)
        feeder = asyncio.create_task(self._feed(probes, lambda data: os.write(commands, data)))
        stack.callback(feeder.cancel)
        while line := await reader.readline():
            record = decode(line)
            assert isinstance(record, Sample)
            yield msgspec.structs.replace(record, t=record.t - self._origin)

    async def _feed(self, probes: Sequence[Probe], write: Callable[[bytes], object]) -> None:
        """Tell the agent where the probes' containers are: those that run, then each as it starts again."""
        by_container: dict[str, list[Probe]] = {}
        for probe in probes:
            by_container.setdefault(probe.container, []).append(probe)
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, LabError):
                async for name in self._docker.starts():
                    for container in [name] if name else list(by_container):
                        if container in by_container and (pid := await self._docker.pid(container)):
                            there = f"/proc/{pid}/ns/net"
                            add = tuple(msgspec.structs.replace(one, netns=there) for one in by_container[container])
                            write(encode_command(Command(add=add)))
            await asyncio.sleep(_RETRY)

    # Internals

    def _powered(self) -> int:
        if not self.pid or not self._booted.is_set():
            raise LabError(f"host {self.name} is switched off")
        return self.pid

    def _log(self, name: str, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> int:
        log = os.open(Path(self._plan.disk, "log", name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        stack.callback(os.close, log)
        return log

    async def _hear(self, expected: bytes) -> None:
        """The init's next word; raises `LabError` with its complaint when it is another."""
        assert self._channel is not None
        word = await asyncio.get_running_loop().sock_recv(self._channel, 65536)
        if word == expected:
            return
        self._channel.close()
        self._channel = None
        if word.startswith(init.FAILED):
            raise LabError(f"host {self.name} did not come up:\n{word.removeprefix(init.FAILED).decode()}")
        raise LabError(f"host {self.name} died while it came up")


async def _readable(fd: int) -> None:
    """Wait until a descriptor is readable."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        loop.remove_reader(fd)
