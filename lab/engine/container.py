"""One container's lifecycle: from create to remove, through any number of runs.

Owns the state of one container, its run's process and streams, and its restart policy. A run is one task from lease to
release, so that all resources are released in one place, whatever ends the run. Knows its engine only through
`EngineServices`; knows nothing of HTTP.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Protocol

from lab.engine import files, spec
from lab.engine.errors import ApiError, conflict
from lab.engine.inside import ContainerPlan, ContainerProgram, first_process, read_failure
from lab.engine.logs import ContainerLog, ContainerRecord, ContainerStore
from lab.engine.namespaces import fork_child
from lab.engine.network import BridgeNetwork, Lease
from lab.engine.reaper import Reaper
from lab.engine.streams import OutputFanOut, StandardInput, Stdio
from lab.fabric.syscalls import pidfd_open
from lab.images import Image, search_path

__all__ = ["EngineServices", "ProcessContainer", "Status", "read_to_end"]

_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 60.0
_STEADY = 10_000_000_000
"""A run of at least this many nanoseconds resets the restart back-off."""


class Status(Enum):
    """The states of `docker ps -a`."""

    CREATED = "created"
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"


class EngineServices(Protocol):
    """What a container needs from its engine."""

    store: ContainerStore
    network: BridgeNetwork
    reaper: Reaper
    loop: asyncio.AbstractEventLoop
    hostname: str
    resolv_conf: str

    def now(self) -> int: ...

    def find(self, name: str) -> "ProcessContainer": ...

    def emit(self, container: "ProcessContainer", action: str, attributes: Mapping[str, str] = ...) -> None: ...

    def forget(self, container: "ProcessContainer") -> None: ...


class ProcessContainer:
    """See the module. The public coroutines may be called in any state, and raise `ApiError` where Docker would."""

    def __init__(
        self, engine: EngineServices, record: ContainerRecord, request: spec.CreateRequest, image: Image
    ) -> None:
        self._engine = engine
        self.record = record
        self.request = request
        self.image = image
        self.entrypoint, self.cmd = spec.command(request, image)
        self.folder: Path = engine.store.folder(record.id)
        self.log = ContainerLog(self.folder / "json.log", engine.now)
        self.output = OutputFanOut()
        self.stdin = self._new_stdin()
        self.size = (0, 0)
        """Rows and columns of the terminal, as last requested."""
        self.status = Status(record.status)
        self.pid = 0
        self.pidfd = -1
        self.lease: Lease | None = None
        self._stdio: Stdio | None = None
        self._run: asyncio.Task[None] | None = None
        self._pausing = False
        """The run waits for its next try; it may be cancelled only then."""
        self._backoff = _FIRST_BACKOFF
        self._waiters: dict[str, list[asyncio.Future[int]]] = {"not-running": [], "next-exit": [], "removed": []}
        self.removed = False

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def running(self) -> bool:
        return self.status is Status.RUNNING

    @property
    def hostname(self) -> str:
        if self.request.host.network_mode == "host":
            return self.request.hostname or self._engine.hostname
        return self.request.hostname or self.id[:12]

    @property
    def env(self) -> dict[str, str]:
        """The command's environment variables."""
        home = "/root" if os.access("/root", os.W_OK | os.X_OK) else "/"
        env = {"PATH": search_path(), "HOSTNAME": self.hostname, "HOME": home}
        if self.request.tty:
            env["TERM"] = "xterm"
        for line in (*self.image.env, *(self.request.env or ())):
            key, separator, value = line.partition("=")
            if separator:
                env[key] = value
            else:
                env.pop(key, None)  # a name without a value unsets it
        return env

    async def start(self) -> None:
        """Run the command; returns when it has been started. Raises `ApiError`, 304 when it runs already."""
        if self.status is Status.REMOVING:
            raise conflict("container is marked for removal and cannot be started")
        if self._run is not None:
            if self.status is not Status.RESTARTING:
                raise ApiError(304, "")
            await self.halt()  # it waits for its next try
        self.record.stopped_by_hand = False
        self.record.restarts = 0
        self._backoff = _FIRST_BACKOFF
        started: asyncio.Future[None] = self._engine.loop.create_future()
        self._run = self._engine.loop.create_task(self._live(started), name=f"container {self.name}")
        await asyncio.shield(started)

    async def stop(self, patience: float | None = None) -> None:
        """Ask the command to end, and kill it after `patience` seconds; returns when all resources are released."""
        if self._run is None:
            raise ApiError(304, "")
        self.record.stopped_by_hand = True
        if not self.running:
            await self.halt()
            return
        if patience is None:
            patience = 10.0 if self.request.stop_timeout is None else float(self.request.stop_timeout)
        ended = asyncio.ensure_future(self.wait("not-running"))
        self._signal(spec.parse_signal(self.request.stop_signal or "SIGTERM"))
        done, _ = await asyncio.wait([ended], timeout=patience if patience >= 0 else None)
        if not done:
            self._signal(signal.SIGKILL)
            await ended
        self._engine.emit(self, "stop")

    async def kill(self, number: signal.Signals) -> None:
        """Send a signal to the command. SIGKILL ends the whole container, and then this returns when it has ended."""
        if not self.running:
            raise conflict(f"Cannot kill container: {self.name}: Container {self.id} is not running")
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            self.record.stopped_by_hand = True
        self._signal(number)
        self._engine.emit(self, "kill", {"signal": str(int(number))})
        if number is signal.SIGKILL:
            await self.wait("not-running")

    async def wait(self, condition: str = "not-running") -> int:
        """The exit code, once the condition holds: `not-running`, `next-exit` or `removed`."""
        if condition == "not-running" and self._run is None:
            return self.record.exit_code
        future: asyncio.Future[int] = self._engine.loop.create_future()
        self._waiters[condition].append(future)
        try:
            return await future
        finally:
            if future in self._waiters[condition]:
                self._waiters[condition].remove(future)

    async def remove(self, *, force: bool) -> None:
        """Remove it from the disk; a running container only with `force`."""
        if self.status is Status.REMOVING:
            raise conflict(f"removal of container {self.name} is already in progress")
        if self.running and not force:
            raise conflict(
                f"You cannot remove a running container {self.id}. "
                "Stop the container before attempting removal or force remove"
            )
        await self.halt()
        if not self.removed:
            self._drop()

    async def halt(self) -> None:
        """End the run at once, because of removal or the engine's end."""
        self.record.stopped_by_hand = True
        run = self._run
        if run is None:
            return
        if self._pausing:
            run.cancel()
        while not run.done():
            self._signal(signal.SIGKILL)  # not forked yet: handled in the next iteration
            await asyncio.wait([run], timeout=0.1)

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size, now and for later runs."""
        self.size = (rows, columns)
        if self._stdio is not None:
            self._stdio.resize(rows, columns)

    def recover(self) -> bool:
        """After a restart of the host, mark it stopped. Returns whether the policy restarts it."""
        record, policy = self.record, self.request.host.restart_policy or spec.RestartPolicy()
        if self.status in (Status.RUNNING, Status.RESTARTING, Status.REMOVING):
            record.finished = self._engine.now()
            record.exit_code = 255  # Docker's value when the code is unknown
            self._become(Status.EXITED)
        if record.started == 0 and record.finished == 0:
            return False
        if policy.name == "on-failure":
            return record.exit_code != 0 and not record.stopped_by_hand
        return policy.name == "always" or (policy.name == "unless-stopped" and not record.stopped_by_hand)

    async def _live(self, started: asyncio.Future[None]) -> None:
        """One start and the restarts that follow it."""
        try:
            while True:
                begun = self._engine.now()
                await self._run_once(started)
                if not self._restart_wanted():
                    break
                if self._engine.now() - begun > _STEADY:
                    self._backoff = _FIRST_BACKOFF
                self._become(Status.RESTARTING)
                self._pausing = True
                await asyncio.sleep(self._backoff)
                self._pausing = False
                self._backoff = min(self._backoff * 2, _LAST_BACKOFF)
                self.record.restarts += 1
        except ApiError as error:
            self.record.error = error.message
            if not started.done():
                started.set_exception(error)
        finally:
            if not started.done():
                started.set_exception(ApiError(500, "the engine ends"))
                started.exception()
            self._run = None
            self._pausing = False
            self._become(Status.CREATED if self.status is Status.CREATED else Status.EXITED)
            self._answer("not-running")
            if self.request.host.auto_remove and not self.removed:
                self._drop()

    async def _run_once(self, started: asyncio.Future[None]) -> None:
        """One run, from lease to release. Raises `ApiError` when the command could not be started."""
        engine, record = self._engine, self.record
        stdio, read_status = None, -1
        code = 0
        try:
            plan = await self._plan()
            stdin = self.stdin if self.request.open_stdin else None
            stdio = Stdio(engine.loop, self.output, stdin, tty=self.request.tty, size=self.size)
            read_status, write_status = os.pipe()
            keep = [*stdio.child, write_status, *(() if plan.network_of is None else (plan.network_of,))]
            child = stdio.child
            try:
                self.pid = fork_child(lambda: first_process(plan, child, write_status), keep=keep)
            finally:
                os.close(write_status)
                if plan.network_of is not None and plan.network_of >= 0:
                    os.close(plan.network_of)
            ended: asyncio.Future[int] = engine.loop.create_future()
            engine.reaper.watch(self.pid, lambda code: self._reaped(ended, code))
            self.pidfd = pidfd_open(self.pid)
            self.output.add(self.log)
            stdio.opened()
            failure = read_failure(await read_to_end(engine.loop, read_status))
            if failure is None:
                self._stdio = stdio
                record.started, record.finished, record.error, record.exit_code = engine.now(), 0, "", 0
                self._become(Status.RUNNING)
                engine.emit(self, "start")
                if not started.done():
                    started.set_result(None)
            code = await ended
            await stdio.finish()
            if failure is not None:
                record.exit_code = failure[1]
                raise ApiError(failure[0], failure[2])
        except OSError as error:
            raise ApiError(500, f"failed to create task for container: {error}") from error
        finally:
            await self._give_back(stdio, read_status)
            if record.started and self.status is Status.RUNNING:
                record.exit_code, record.finished = code, engine.now()
                self.status = Status.EXITED
                engine.emit(self, "die", {"exitCode": str(code)})
                self._answer("next-exit")

    def _reaped(self, ended: "asyncio.Future[int]", code: int) -> None:
        self.pid = 0  # from now on the pid may be reused
        if not ended.done():
            ended.set_result(code)

    async def _give_back(self, stdio: Stdio | None, read_status: int) -> None:
        """Release all resources of one run."""
        self._stdio = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if read_status >= 0:
            os.close(read_status)
        if stdio is not None:
            stdio.close()
        self.output.finish()
        self.stdin = self._new_stdin()
        if self.lease is not None:
            lease, self.lease = self.lease, None
            await self._engine.network.release(lease)

    async def _plan(self) -> ContainerPlan:
        """Take a lease if needed, write the container's files, and return the plan for the child."""
        request, mode = self.request, self.request.host.network_mode
        argv = (*self.entrypoint, *self.cmd)
        call = None
        own = self.image.entrypoint
        if self.image.call is not None and argv[: len(own)] == own:
            call, argv = self.image.call, argv[len(own) - 1 :]
        network_of: int | None = None
        donor = self
        if mode == "host":
            network_of = -1
        elif mode.startswith("container:"):
            donor = self._engine.find(mode.partition(":")[2])
            if not donor.running:
                raise conflict(f"cannot join network of a non running container: {donor.id}")
            network_of = os.dup(donor.pidfd)
        elif mode != "none":
            self.lease = await self._engine.network.lease(self.name, spec.bindings(request, self.image))
        if donor is self:
            files.write(self.folder, self.hostname, request, self.lease, self._engine.resolv_conf)
        hostname = donor.hostname
        return ContainerPlan(
            program=ContainerProgram(argv, self.env, request.working_dir or "/", request.tty, call),
            hostname=hostname,
            domainname=donor.request.domainname,
            lease=self.lease,
            network_of=network_of,
            files=tuple((str(donor.folder / name), f"/etc/{name}") for name in files.NAMES),
            binds=tuple(_bind(text) for text in request.host.binds or ()),
            tmpfs=tuple((request.host.tmpfs or {}).items()),
        )

    def _restart_wanted(self) -> bool:
        policy = self.request.host.restart_policy or spec.RestartPolicy()
        if self.record.stopped_by_hand:
            return False
        if policy.name == "on-failure":
            limit = policy.maximum_retry_count
            return self.record.exit_code != 0 and (limit == 0 or self.record.restarts < limit)
        return policy.name in ("always", "unless-stopped")

    def _become(self, status: Status) -> None:
        self.status = status
        self.record.status = status.value
        if not self.removed:
            with contextlib.suppress(OSError):  # a full disk; the state in memory is still correct
                self._engine.store.save(self.record)

    def _drop(self) -> None:
        self._become(Status.REMOVING)
        self.removed = True
        self._engine.forget(self)
        self._engine.store.remove(self.id)
        self._engine.emit(self, "destroy")
        self._answer("not-running")
        self._answer("removed")

    def _answer(self, condition: str) -> None:
        waiters, self._waiters[condition] = self._waiters[condition], []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(self.record.exit_code)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _new_stdin(self) -> StandardInput:
        return StandardInput(self._engine.loop)


def _bind(text: str) -> tuple[str, str, bool]:
    source, target, *options = text.split(":")
    return source, target, "ro" in ",".join(options).split(",")


async def read_to_end(loop: asyncio.AbstractEventLoop, fd: int) -> bytes:
    """Read a pipe until its other side is closed."""
    os.set_blocking(fd, False)
    found = bytearray()
    done: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        data = os.read(fd, 65536)
        found.extend(data)
        if not data and not done.done():
            done.set_result(None)

    loop.add_reader(fd, read)
    try:
        await done
    finally:
        loop.remove_reader(fd)
    return bytes(found)
