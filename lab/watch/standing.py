"""The watched lab, from outside: requests to its control socket, and its end.

Owns how an event loop uses a blocking client, and that an abandoned request does not block others. The lab defines the
meaning of the operations.
"""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from lab.backends.netns import LabClient, LabName
from lab.errors import LabError
from lab.records.store import HISTORY

__all__ = ["StandingLab", "WatchedLab", "history_of"]

_AT_ONCE = 8
"""Maximum number of concurrent requests; further ones wait."""


class WatchedLab(Protocol):
    """The interface of a lab that can be queried; tests provide another implementation."""

    name: str

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer; raises `LabError` with the lab's message."""
        ...


class StandingLab:
    """One running lab."""

    def __init__(self, lab: LabName) -> None:
        self.lab = lab
        self.name = lab.name
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lab-watch")

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """See `WatchedLab`. A cancelled request is abandoned; the lab may carry it out all the same."""
        client: LabClient | None = None

        def call() -> dict[str, Any]:
            nonlocal client
            with LabClient(self.lab) as client:
                return client.call(do, **arguments)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except asyncio.CancelledError:
            if client is not None:
                client.give_up()
            raise

    async def ended(self) -> None:
        """Wait until the lab's last process is gone."""

        def supervisor() -> int:
            with LabClient(self.lab) as client:
                return client.supervisor()

        loop = asyncio.get_running_loop()
        try:
            pidfd = await loop.run_in_executor(self._threads, supervisor)
        except LabError:
            return
        gone = asyncio.Event()
        loop.add_reader(pidfd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        """Send no more requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def history_of(name: str, state: Mapping[str, Any]) -> Path:
    """The history file of a lab, from its `state`. Raises `LabError` if it writes none."""
    run_dir = state.get("run_dir")
    if not isinstance(run_dir, str) or not run_dir:
        raise LabError(f"the lab {name} writes no history, so there is nothing to watch")
    return Path(run_dir) / HISTORY
