"""The only code that waits for children, so that a process that is PID 1 reaps orphans and still learns exit codes.

Owns SIGCHLD. No other code in the process may wait for children (no asyncio subprocesses). Unwatched children, that is
orphans that a PID 1 inherits, are reaped and forgotten. Knows nothing of containers.
"""

import asyncio
import os
import signal
from collections.abc import Callable

__all__ = ["Reaper"]


class Reaper:
    """Dispatches exit codes to watchers. `close` stops handling SIGCHLD."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watchers: dict[int, Callable[[int], None]] = {}
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})  # our parent may have blocked it

    def close(self) -> None:
        """Stop reaping."""
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def watch(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended(code)` once, from the loop, when this child has ended: its exit code, or 128 + signal.

        Must be called in the same iteration of the loop as the fork, because the child may otherwise be reaped as
        unwatched.
        """
        self._watchers[pid] = ended

    async def wait(self, pid: int) -> int:
        """The exit code of a child, or 128 + signal."""
        future: asyncio.Future[int] = self._loop.create_future()
        self.watch(pid, lambda code: None if future.done() else future.set_result(code))
        return await future

    async def run(self, argv: list[str], text: str = "") -> tuple[int, str]:
        """Run a system tool with `text` as input; returns its exit code and standard error.

        Input and output must each fit in a pipe (64 KB). Raises OSError when the tool is missing.
        """
        read_in, write_in = os.pipe()
        read_err, write_err = os.pipe()
        try:
            os.write(write_in, text.encode())
            pid = _spawn(argv, read_in, write_err)
        finally:
            for fd in (write_in, read_in, write_err):
                os.close(fd)
        try:
            code = await self.wait(pid)
            return code, os.read(read_err, 65536).decode(errors="replace")
        finally:
            os.close(read_err)

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code
            watcher = self._watchers.pop(pid, None)
            if watcher is not None:
                watcher(code)


def _spawn(argv: list[str], stdin: int, stderr: int) -> int:
    """Not a fork, because that would copy this process's page tables for a few milliseconds."""
    actions = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    return os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
