"""The lab's connection to a machine: one ssh connection that carries everything else.

Owns the ssh master with its forwarded unix sockets (a call costs a few milliseconds, while a new connection to an
emulated machine costs half a second and `vagrant ssh` five), the installation of this project and the agent, and the
reading of the machine's clock. Works as root, who may open the engine's and the daemon's sockets. Knows nothing of
scenarios.
"""

import asyncio
import contextlib
import gzip
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from lab.backends.netns.spawn import preloaded
from lab.backends.real.observed import LINE_LIMIT, WEAVE_SOCKET, Agent
from lab.backends.vagrant import agent
from lab.backends.vagrant.agent import AgentReply, AgentRequest
from lab.contracts.lab import CommandResult
from lab.errors import LabError
from lab.images.archive import Layer

_OPTIONS = (
    "BatchMode=yes", "ControlPersist=no", "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "ConnectTimeout=30",
    "ServerAliveInterval=5", "ServerAliveCountMax=4", "LogLevel=ERROR", "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null", "Compression=no",
)  # fmt: skip
_DOCKER = "/run/docker.sock"
_CONNECT, _START = 60.0, 90.0
"""Timeouts in seconds for a connection to a running machine, and for the first start of an agent on a busy one."""
_LOOK = 0.02
_MARK = "/var/lib/overlay-lab/project"
"""File on the machine with the digest of its copy of the project."""
_READINGS = 8
_GRACE = 30.0
"""Seconds after a command's own timeout within which the machine must answer."""


class GuestConnectionLost(LabError):
    """A connection ended before its answer: the machine is gone, or its service is not up yet."""


class Guest:
    """One machine. `folder` belongs to this machine only, and is short because unix socket paths are limited."""

    def __init__(self, name: str, config: Path, folder: Path) -> None:
        self.name = name
        self.docker = str(folder / "d")
        self.weave = str(folder / "w")
        self._orders = str(folder / "o")
        self._control = str(folder / "m")
        self._config, self._folder = config, folder
        self._master: asyncio.subprocess.Process | None = None

    @property
    def doorway(self) -> tuple[str, ...]:
        """A command prefix that runs a command on the machine, on the caller's own terminal."""
        return ("ssh", "-F", "/dev/null", "-S", self._control, "-o", "LogLevel=ERROR", self.name, "--")

    @property
    def connection(self) -> asyncio.subprocess.Process | None:
        """The process that holds the connection: if it ends by itself, the machine is gone."""
        return self._master

    # The connection

    async def connect(self) -> None:
        """Open the connection to a machine whose sshd answers. Raises `LabError` with ssh's error output."""
        self._clear()
        command = ["ssh", "-F", str(self._config), "-l", "root", "-M", "-N", "-S", self._control]
        command += [word for option in _OPTIONS for word in ("-o", option)]
        for here, there in ((self.docker, _DOCKER), (self.weave, WEAVE_SOCKET), (self._orders, agent.ORDERS)):
            command += ["-L", f"{here}:{there}"]
        null = asyncio.subprocess.DEVNULL
        self._master = await asyncio.create_subprocess_exec(
            *command, self.name, stdin=null, stdout=null, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(_CONNECT):
                while not os.path.exists(self._control):  # noqa: ASYNC240, PTH110  # a stat of a tmpfs
                    if self._master.returncode is not None:
                        assert self._master.stderr is not None
                        words = (await self._master.stderr.read()).decode(errors="replace").strip()
                        raise LabError(f"ssh to {self.name} failed: {words}")
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            await self.disconnect()
            raise LabError(f"ssh to {self.name} did not get in within {_CONNECT:g} s") from None

    def _clear(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for socket in (self._control, self.docker, self.weave, self._orders):
            Path(socket).unlink(missing_ok=True)

    async def disconnect(self) -> None:
        """Close the connection, and everything that uses it."""
        master, self._master = self._master, None
        if master is not None and master.returncode is None:
            master.kill()
            await master.wait()

    async def shell(self, script: str, data: bytes = b"", *, timeout: float = 120.0) -> str:
        """Run a script by plain ssh, before there is an agent; returns its output."""
        process = await asyncio.create_subprocess_exec(
            *self.doorway,
            f"sh -ec {shlex.quote(script)}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(data)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise LabError(f"{self.name} did not do in {timeout:g} s: {script.strip().splitlines()[0]}") from None
        if process.returncode:
            raise LabError(f"{self.name}: {err.decode(errors='replace').strip()[-2000:] or script}")
        return out.decode(errors="replace")

    async def furnish(self, project: Layer) -> None:
        """Copy this project to the machine, unless it is there already, and start the agent."""
        mark = await self.shell(f"cat {_MARK} 2>/dev/null || true")
        if mark.strip() != project.digest:
            packed = await asyncio.to_thread(lambda: gzip.compress(Path(project.path).read_bytes(), 1))
            # The digest is written and synced last, so a machine that loses power in between gets the project again.
            script = (
                f"tar -C / -xzf -\nsync\nmkdir -p {_MARK.rpartition('/')[0]}\necho {project.digest} > {_MARK}\nsync"
            )
            await self.shell(script, packed, timeout=300)
        start = f"setsid python3 -m {agent.__name__} </dev/null >>{agent.LOG} 2>&1 &"
        await self.shell(f"[ -S {agent.ORDERS} ] || {start}")

    async def ready(self) -> None:
        """Wait until the agent answers requests: its imports take a while on an emulated CPU."""
        try:
            async with asyncio.timeout(_START):
                while True:
                    with contextlib.suppress(OSError, GuestConnectionLost):
                        await self.exec(["true"], env={"PATH": "/bin:/usr/bin"}, timeout=_START)
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            log = await self.shell(f"tail -n 5 {agent.LOG}")
            raise LabError(f"the lab's agent on {self.name} did not start:\n{log.strip()}") from None

    # Orders

    async def exec(self, argv: Sequence[str], *, env: Mapping[str, str], timeout: float) -> CommandResult:
        """Run a command; after `timeout` seconds it is killed (exit code 124)."""
        call, words = preloaded(argv)
        order = AgentRequest(do="exec", call=call, argv=tuple(words), env=dict(env), timeout=timeout)
        done = await self._ask(order, timeout + _GRACE)
        return CommandResult(done.code, done.out, done.err)

    async def skew(self, offset: int | None, drift: int) -> None:
        """Set the machine's clock wrong."""
        await self._ask(AgentRequest(do="skew", offset=offset, drift=drift), _GRACE)

    @contextlib.asynccontextmanager
    async def probes(self, env: Mapping[str, str]) -> AsyncIterator[Agent]:
        """A probe agent on the machine; it ends with the context."""
        async with self._order(AgentRequest(do="probe", env=dict(env))) as (reader, writer):
            if not await reader.readline():
                raise self._broken()
            write: Callable[[bytes], object] = writer.write
            yield reader, write

    async def ahead(self) -> tuple[int, int]:
        """Nanoseconds by which the machine's monotonic clock is ahead of ours: lower and upper bound."""
        best = None
        sent = time.monotonic_ns()
        async with self._order(AgentRequest(do="clock")) as (reader, writer):
            for reading in range(_READINGS):
                if reading:  # the request itself is answered first, possibly before we are back here
                    sent = time.monotonic_ns()
                    writer.write(b"\n")
                if not (line := await reader.readline()):
                    raise self._broken()
                least, most = int(line) - time.monotonic_ns(), int(line) - sent
                if best is None or most - least < best[1] - best[0]:
                    best = least, most
        assert best is not None
        return best

    async def _ask(self, order: AgentRequest, timeout: float) -> AgentReply:
        try:
            async with asyncio.timeout(timeout), self._order(order) as (reader, _):
                line = await reader.readline()
        except TimeoutError:
            raise LabError(f"{self.name} does not answer any more (waited {timeout:g} s)") from None
        except OSError:
            raise self._broken() from None
        if not line:
            raise self._broken()
        done = msgspec.json.decode(line, type=AgentReply)
        if done.error:
            raise LabError(f"{self.name}: {done.error}")
        return done

    @contextlib.asynccontextmanager
    async def _order(self, order: AgentRequest) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(self._orders, limit=LINE_LIMIT)
        try:
            writer.write(msgspec.json.encode(order) + b"\n")
            yield reader, writer
        finally:
            writer.close()

    def _broken(self) -> LabError:
        return GuestConnectionLost(f"the connection to {self.name} broke off")
