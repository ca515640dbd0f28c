"""What every host with a real daemon and a container engine has in common: views and probes.

Owns the loops that survive any failure of daemon, engine and host: the daemon's views over its control socket, and a
probe agent that learns where the containers are. A backend defines how its sockets are reached and how an agent is
started. Knows nothing of how a host is created.
"""

import asyncio
import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec

from lab.backends.real.docker_client import Docker
from lab.backends.real.small_disk import SmallDisk
from lab.contracts.lab import CommandResult, Probe, Sniffing, overdue
from lab.contracts.probe import AgentCommand, encode_command
from lab.errors import LabError
from lab.records.history import PeerGone, Sample, View, decode

_RETRY = 0.01
"""Seconds between two checks for a socket that does not exist (yet)."""
LINE_LIMIT = 1 << 22
"""Maximum bytes of one line of a daemon's or an agent's output."""

_PIECE = 1 << 17
"""Bytes of packets per read."""
_LAST_PACKETS = 10.0
"""Seconds to wait for packets that a host captured before the capture was stopped."""

WEAVE_SOCKET = "/run/weave/router.sock"
"""The daemon's control socket, on the host."""
DISTURBANCE = "/run/overlay-disturbance"
"""The file by which the lab controls the clock and disk of the host's daemon."""
STATE_FILES = "/var/lib/weave"
"""Where the host's daemon keeps its state."""
_TEAR = """\
import os, sys
for entry in os.scandir(sys.argv[1]):
    if entry.name.endswith(".state") and entry.stat().st_mtime_ns >= int(sys.argv[2]):
        os.truncate(entry.path, entry.stat().st_size // 2)
"""
_KILL_DAEMON = """\
import os, signal, socket, struct, sys
with socket.socket(socket.AF_UNIX) as control:
    try:
        control.connect(sys.argv[1])
    except OSError:
        sys.exit(1)
    pid = struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
fd = os.pidfd_open(pid)
os.kill(pid, signal.SIGKILL)
import select
select.select([fd], [], [])
"""

_STRESS = """\
import os, signal, sys, time
MARK = b"\\0overlay-lab-stress\\0"

def ours(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return MARK in file.read()
    except OSError:
        return False

def busy(share, memory):
    held = bytearray(memory)
    for at in range(0, memory, 4096):
        held[at] = 1
    while share == 0:
        time.sleep(3600)
    while True:
        begun = time.monotonic()
        while time.monotonic() - begun < 0.02 * share:
            pass
        if share < 1:
            time.sleep(0.02 * (1 - share))

if len(sys.argv) > 3:
    busy(int(sys.argv[1]) / 1000, int(sys.argv[2]))
cores, memory = int(sys.argv[1]), int(sys.argv[2])
for pid in filter(str.isdigit, os.listdir("/proc")):
    if ours(pid):
        os.kill(int(pid), signal.SIGKILL)
with open(f"/proc/{os.getpid()}/cmdline", "rb") as file:
    program = file.read().split(b"\\0")[2]
while cores or memory:
    share = min(cores, 1000)
    if not os.fork():
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        words = ["python3", "-ISc", program, str(share), str(memory), "overlay-lab-stress", ""]
        os.execv(sys.executable, words)
    cores, memory = cores - share, 0
"""

_SIGNAL = """\
import os, socket, struct, sys
number, what, first = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def parents():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as stat:
                    found[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    return found

def below(tops, tree):
    found = set(tops)
    while True:
        more = {pid for pid, parent in tree.items() if parent in found} - found
        if not more:
            return found
        found |= more

def meant(tree):
    if what == "daemon":
        return {first} & set(tree)
    if what == "container":
        return below({first} & set(tree), tree)
    # Whatever was not started on the host itself, and what has started this program, is the lab's.
    lab = below({pid for pid, parent in tree.items() if pid > 1 and parent == 0}, tree)
    above, pid = set(), os.getpid()
    while pid > 1:
        above.add(pid)
        pid = tree.get(pid, 0)
    starter = os.getppid()
    return set(tree) - {1} - lab - above - (below({starter}, tree) if starter > 1 else set())

if what == "daemon":
    with socket.socket(socket.AF_UNIX) as control:
        try:
            control.connect(sys.argv[4])
        except OSError:
            sys.exit(0)
        first = struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
told = set()
while more := meant(parents()) - told:  # again for those that were being started
    for pid in more:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    told |= more
"""

Agent = tuple[asyncio.StreamReader, Callable[[bytes], object]]
"""An agent's output, and a function that writes to its input."""


async def _passed_on(
    reader: asyncio.StreamReader, take: Callable[[bytes], None], until: asyncio.Future[Any] | None = None
) -> None:
    """Pass the data to `take`, until the stream ends or `until` is done."""
    while True:
        reading = asyncio.ensure_future(reader.read(_PIECE))
        try:
            await asyncio.wait({reading} if until is None else {reading, until}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return
            if not (data := reading.result()):
                return
        finally:
            reading.cancel()
        take(data)
        if until is not None and until.done():
            return


class _Sight(msgspec.Struct, frozen=True):
    """One line of the daemon's watch: a clock and its beliefs; the last may say that the daemon was asked to end."""

    t: int = 0
    view: dict[str, Any] = {}
    leaves: bool = False


def write_hosts_file(text: str) -> str:
    """Shell script that replaces a host's /etc/hosts."""
    return f"cat > /etc/hosts <<'END'\n{text}END\n"


class ObservedHost(ABC):
    """The observing half of a `Host`."""

    def __init__(self, name: str, address: str, origin: int) -> None:
        self.name = name
        self.address = address
        self.hosts_text = ""
        """Content of /etc/hosts after an address has changed; empty: the original content."""
        self.booted = asyncio.Event()
        """Set while the host is on."""
        self.booting = asyncio.Lock()
        """Held while the host boots again."""
        self.doorway: tuple[str, ...] = ()
        """The command that enters the host, with the container last, if it cannot be entered through its namespaces."""
        self.patience = _RETRY
        """Seconds between two checks for a daemon that does not run (yet); longer if a check is more than a stat."""
        self.inside = False
        """Whether that command runs in the lab's own namespaces; a whole command line is then appended to it."""
        self.ahead = 0
        """Nanoseconds by which the host's monotonic clock is ahead of this process's; 0 on a shared kernel."""
        self.small_disk: SmallDisk | None = None
        """The file system that can be filled; None: only the daemon can be told that its disk is full."""
        self._lies_since = 0
        """Since when (time of day, ns) the disk has acknowledged writes without making them; 0: it does not."""
        self._origin = origin
        """This process's clock at the start of the run."""

    @property
    @abstractmethod
    def docker(self) -> Docker:
        """The host's container engine."""

    @property
    @abstractmethod
    def weave_socket(self) -> str:
        """The daemon's control socket, as the runner reaches it."""

    @abstractmethod
    def open_agent(self) -> AbstractAsyncContextManager[Agent]:
        """Start a probe agent on the host; it ends with the context. Raises `LabError` on a host that is off."""

    def open_sniffer(self, argv: Sequence[str]) -> AbstractAsyncContextManager[Agent]:
        """Start `lab.capture.sniff` on the host with these arguments; it ends with the context."""
        raise LabError("packets of hosts of this backend cannot be captured")

    @abstractmethod
    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """See `lab.contracts.lab.Host`."""

    async def exec_inside(
        self, container: str, argv: Sequence[str], *, timeout: float, env: Mapping[str, str]
    ) -> CommandResult:
        """Run a command in a container by its engine; after the timeout it is killed from the host."""
        result, pid = await self.docker.exec(container, argv, env=env, timeout=timeout)
        if result is not None:
            return result
        if pid:
            await self.exec(["kill", "-9", str(pid)])
        return overdue(timeout)

    async def kill_daemon(self) -> None:
        """`kill -9` of the overlay's daemon, which a program on the host identifies through its control socket."""
        result = await self.exec(["python3", "-ISc", _KILL_DAEMON, WEAVE_SOCKET])
        if result.code:
            raise LabError(f"no overlay daemon runs on {self.name}")

    async def signal(self, number: int, *, container: str = "", daemon: bool = False) -> None:
        """See `lab.contracts.lab.Host`: a program on the host finds the processes."""
        first = await self.docker.pid(container) if container else 0
        if container and not first:
            return
        what = "container" if container else "daemon" if daemon else "host"
        result = await self.exec(["python3", "-ISc", _SIGNAL, str(number), what, str(first), WEAVE_SOCKET])
        if result.code:
            raise LabError(f"signal {number} on {self.name}: {result.err.strip().rpartition(chr(10))[2]}")

    async def set_clock(self, *, offset: int | None, drift: int) -> None:
        """See `lab.contracts.lab.Adjustable`: only the daemon's clock, because hosts share the machine's."""
        await self.disturb("clock", "-" if offset is None else str(offset), str(drift))

    async def set_disk(self, *, latency: int, full: bool, torn: bool = False) -> None:
        """See `lab.contracts.lab.Adjustable`: affects the daemon's writes; a full disk affects all processes."""
        self._lies_since = (self._lies_since or time.time_ns()) if torn else 0
        if self.small_disk is not None:
            self.small_disk.set_full(full)
        await self.disturb("disk", str(latency), str(int(full and self.small_disk is None)))

    @property
    def fills(self) -> bool:
        """Whether a full disk affects every process on the host, not only the daemon."""
        return self.small_disk is not None

    def has_room(self) -> None:
        """After a power cut, free the disk until it is filled again, because the engine could not start otherwise."""
        if self.small_disk is not None:
            self.small_disk.set_full(False)

    @property
    def cores(self) -> int:
        """See `lab.contracts.lab.Stressed`: the cores of this machine, which hosts share."""
        return os.cpu_count() or 1

    async def set_stress(self, *, millicores: int, memory: int) -> None:
        """See `lab.contracts.lab.Stressed`: starts processes on the host, which end with it."""
        result = await self.exec(["python3", "-ISc", _STRESS, str(millicores), str(memory)])
        if result.code:
            raise LabError(f"{self.name} cannot be kept busy: {result.err.strip().rpartition(chr(10))[2]}")

    async def tear(self) -> None:
        """After a power cut, before anything else runs: truncate unsynced files to half."""
        if since := self._lies_since:
            self._lies_since = 0
            result = await self.exec(["python3", "-ISc", _TEAR, STATE_FILES, str(since)])
            if result.code:
                raise LabError(f"the disk of {self.name} cannot be torn: {result.err.strip()}")

    async def disturb(self, *words: str) -> None:
        """Change the control file of the host's daemon (`overlay.runtime.disturbance`)."""
        result = await self.exec(["python3", "-m", "overlay.runtime.disturbance", DISTURBANCE, *words])
        if result.code:
            raise LabError(f"the daemon of {self.name} cannot be disturbed: {result.err.strip() or result.out.strip()}")

    async def views(self) -> AsyncIterator[View | PeerGone]:
        """Views of the overlay daemon from now on, and `PeerGone` when it stops; waits until a daemon runs."""
        while True:
            seen = asked = False
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async for view in self._watch(self.weave_socket):
                    if view is None:
                        asked = True
                        continue
                    seen = True
                    yield view
            if seen:
                yield PeerGone(t=time.monotonic_ns() - self._origin, host=self.name, asked=asked)
            await asyncio.sleep(self.patience)
            while not os.path.exists(self.weave_socket):  # noqa: ASYNC110, ASYNC240, PTH110  # a stat of a tmpfs, cheap and never slow
                await asyncio.sleep(self.patience)

    async def _watch(self, path: str) -> AsyncIterator[View | None]:
        """Views of a daemon, and None when it reports that it was asked to end."""
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=LINE_LIMIT) as session,
            session.get("http://weave/watch") as response,
        ):
            async for line in response.content:
                sight = msgspec.json.decode(line, type=_Sight)
                if sight.leaves:
                    yield None
                    continue
                fields = {**sight.view, "kind": "view", "host": self.name, "t": self._since(sight.t)}
                yield msgspec.convert(fields, View)

    async def probe(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """Samples of these probes until the iterator is closed. Containers and hosts may start and stop meanwhile."""
        while True:
            await self.booted.wait()
            with contextlib.suppress(LabError, OSError, aiohttp.ClientError):
                async with self.open_agent() as (reader, write):
                    feeder = asyncio.create_task(self._feed(probes, write))
                    try:
                        while line := await reader.readline():
                            record = decode(line)
                            assert isinstance(record, Sample)
                            yield msgspec.structs.replace(record, t=self._since(record.t))
                    finally:
                        feeder.cancel()
            await asyncio.sleep(_RETRY)  # the agent ended, most likely with its host

    async def sniff(self, wanted: Sniffing, take: Callable[[bytes], None], enough: asyncio.Event) -> None:
        """See `lab.contracts.lab.Sniffed`."""
        await self.booted.wait()
        words = ["--told", "--label", wanted.label, "--most", str(wanted.most)]
        words += ["--clock", str(time.time_ns() - time.monotonic_ns() - self.ahead)]
        words += [word for name in wanted.interfaces for word in ("--interface", name)]
        words += ["--filter", wanted.program] if wanted.program else []
        words += ["--between", " ".join(wanted.between)] if wanted.between else []
        if wanted.container:
            words += ["--pid", str(await self._running(wanted.container))]
        async with self.open_sniffer(words) as (reader, write):
            asked = asyncio.create_task(enough.wait())
            try:
                await _passed_on(reader, take, asked)
                if asked.done():
                    write(b"\n")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LAST_PACKETS):
                            await _passed_on(reader, take)
            finally:
                asked.cancel()

    async def _running(self, container: str) -> int:
        """The pid of a container, once it runs."""
        async for name in self.docker.starts():
            if name in ("", container) and (pid := await self.docker.pid(container)):
                return pid
        raise LabError(f"the engine of {self.name} has gone")

    def _since(self, t: int) -> int:
        """Convert a time of the host's clock to nanoseconds of the run."""
        return t - self.ahead - self._origin

    async def _feed(self, probes: Sequence[Probe], write: Callable[[bytes], object]) -> None:
        """Tell the agent where the probes' containers are: the running ones, then each as it starts again."""
        by_container: dict[str, list[Probe]] = {}
        for probe in probes:
            by_container.setdefault(probe.container, []).append(probe)
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, LabError):
                async for name in self.docker.starts():
                    for container in [name] if name else list(by_container):
                        if container in by_container and (pid := await self.docker.pid(container)):
                            there = f"/proc/{pid}/ns/net"
                            add = tuple(msgspec.structs.replace(one, netns=there) for one in by_container[container])
                            write(encode_command(AgentCommand(add=add)))
            await asyncio.sleep(_RETRY)
