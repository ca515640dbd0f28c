"""The one place that waits for children, so that a process that is PID 1 reaps orphans and still learns exit codes.

Owns SIGCHLD. Nothing else in the process may wait for any child (no asyncio subprocesses). Children nobody watches,
the orphans that a PID 1 inherits, are reaped and forgotten. Knows nothing of containers.
"""

import asyncio
import os
import signal
from collections.abc import Callable

__all__ = ["Reaper"]


class Reaper:
    """Dispatches exit codes to those who watch. `close` gives the signal back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watchers: dict[int, Callable[[int], None]] = {}
        loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def close(self) -> None:
        """Stop reaping."""
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def watch(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended(code)` once, from the loop, when this child has ended: its exit code, or 128 + signal.

        To be called in the same turn of the loop as the fork, or the child may have been reaped as a stranger.
        """
        self._watchers[pid] = ended

    async def wait(self, pid: int) -> int:
        """The exit code of a child, or 128 + signal."""
        future: asyncio.Future[int] = self._loop.create_future()
        self.watch(pid, lambda code: None if future.done() else future.set_result(code))
        return await future

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
