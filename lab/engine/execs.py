"""`docker exec`: an additional process in a running container.

Owns one such process from its creation to its exit code. Knows its container, nothing of HTTP.
"""

import asyncio
import os
import secrets

from lab.engine.container import ProcessContainer, read_to_end
from lab.engine.errors import ApiError, conflict, invalid
from lab.engine.inside import ContainerProgram, enter_and_run, read_failure
from lab.engine.namespaces import fork_child
from lab.engine.reaper import Reaper
from lab.engine.spec import ExecRequest
from lab.engine.streams import STDOUT, OutputFanOut, StandardInput, Stdio

__all__ = ["ExecInstance"]


class ExecInstance:
    """One exec instance. `start` may be called once."""

    def __init__(self, container: ProcessContainer, request: ExecRequest, reaper: Reaper) -> None:
        if not request.cmd:
            raise invalid("No exec command specified")
        if request.user not in ("", "0", "root", "0:0", "root:root"):
            raise invalid(f"user {request.user!r}: process containers of this engine know only root")
        self.id = secrets.token_hex(32)
        self.container = container
        self.request = request
        self.pid = 0
        self.running = False
        self.exit_code: int | None = None
        self.output = OutputFanOut()
        self._loop = asyncio.get_running_loop()
        self.stdin = StandardInput(self._loop)
        self._reaper = reaper
        self._stdio: Stdio | None = None
        self._begun = False
        self._task: asyncio.Task[None] | None = None

    def check_startable(self) -> None:
        """Raises `ApiError` 409 when it runs, has run, or its container has stopped."""
        if self._begun:
            raise conflict(f"exec instance {self.id} has already been started")
        if not self.container.running:
            raise conflict(f"Container {self.container.id} is not running")

    def start(self, *, tty: bool, size: tuple[int, int] = (0, 0)) -> None:
        """Start the process in the container; a command that cannot run says so in its output. Raises `ApiError`."""
        self.check_startable()
        self._begun = True
        request = self.request
        env = self.container.env | dict(line.split("=", 1) for line in request.env or () if "=" in line)
        if tty:
            env.setdefault("TERM", "xterm")
        directory = request.working_dir or self.container.request.working_dir or "/"
        program = ContainerProgram(request.cmd, env, directory, tty)
        stdin = self.stdin if request.attach_stdin else None
        stdio = Stdio(self._loop, self.output, stdin, tty=tty, size=size)
        read_status, write_status = os.pipe()
        pidfd, child = self.container.pidfd, stdio.child
        try:
            self.pid = fork_child(
                lambda: enter_and_run(program, pidfd, child, write_status),
                keep=[*child, write_status, pidfd],
                pid_namespace_of=pidfd,
            )
        except OSError as error:
            stdio.close()
            os.close(read_status)
            raise ApiError(500, f"OCI runtime exec failed: {error}") from None
        finally:
            os.close(write_status)
        ended: asyncio.Future[int] = self._loop.create_future()
        self._reaper.watch(self.pid, ended.set_result)
        stdio.opened()
        self._stdio = stdio
        self.running = True
        self._task = self._loop.create_task(self._live(stdio, ended, read_status))

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size."""
        if self._stdio is not None:
            self._stdio.resize(rows, columns)

    async def _live(self, stdio: Stdio, ended: "asyncio.Future[int]", status: int) -> None:
        try:
            failure = read_failure(await read_to_end(self._loop, status))
        finally:
            os.close(status)
        code = await ended
        await stdio.finish()
        if failure is not None:
            # The caller's connection is already a stream, so the text goes there, as in Docker.
            _, code, message = failure
            text = message.replace("runtime create", "runtime exec") + "\r\n"
            self.output.feed(STDOUT, text.encode())
        self.exit_code = code
        stdio.close()
        self._stdio = None
        self.running = False
        self.output.finish()
