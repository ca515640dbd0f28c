"""`GET /watch`: one line of JSON for each change of the node's view, until somebody leaves.

Owns who watches, how many may, and what a slow watcher misses. Knows nothing of how lines are sent.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from msgspec.structs import asdict

from overlay.errors import EnvironmentProblem
from overlay.runtime.router import Router
from overlay.view import PeerView

__all__ = ["WATCH_REFRESH", "Watcher", "Watchers"]

WATCH_QUEUE = 256
"""Views that wait for a slow watcher; beyond it the oldest are dropped, the newest always arrives."""
WATCHERS = 64
WATCHERS_TCP = 8
"""Watchers at once, and of these such as came over TCP, where every user of this host comes from."""
WATCH_REFRESH = 2.0
"""Seconds without a change after which a watcher is told again: what the counters say is news too."""
FAREWELL_TIMEOUT = 1.0
"""Seconds that a watcher has to take its last line."""

_json = msgspec.json.Encoder()
_LEAVES = _json.encode({"leaves": True}) + b"\n"


class Watcher:
    """One who watches; `close` ends it, whatever it has read."""

    def __init__(self, router: Router, among: "dict[Watcher, asyncio.Task[Any]]", *, over_tcp: bool) -> None:
        self.over_tcp = over_tcp
        self._router = router
        self._among = among
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._peer = router.node.config.name

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """The view now, each change of it, and at the daemon's end that it leaves."""
        self._router.watch(self._push)
        while True:
            try:
                line = await asyncio.wait_for(self._queue.get(), WATCH_REFRESH)
            except TimeoutError:
                self._router.watch(self._push)
                continue
            yield line
            if line is _LEAVES:
                return

    def leave(self) -> None:
        """Say for a last line that the daemon was asked to end."""
        self._router.unwatch(self._push)
        self._queue.put_nowait(_LEAVES)

    def close(self) -> None:
        """Watch no more."""
        self._router.unwatch(self._push)
        self._among.pop(self, None)

    def _push(self, t: int, view: PeerView) -> None:
        while self._queue.qsize() >= WATCH_QUEUE:
            self._queue.get_nowait()
        t = self._router.true_time(t)
        self._queue.put_nowait(_json.encode({"t": t, "view": {"peer": self._peer, **asdict(view)}}) + b"\n")


class Watchers:
    """All who watch one daemon."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._tasks: dict[Watcher, asyncio.Task[Any]] = {}
        """Each with the task that reads its lines."""

    async def open(self, *, over_tcp: bool) -> Watcher:
        """One more, read by the task that asks. Raises `EnvironmentProblem` where there are enough."""
        if len(self._tasks) >= WATCHERS or (over_tcp and sum(each.over_tcp for each in self._tasks) >= WATCHERS_TCP):
            raise EnvironmentProblem(f"too many watch already: {WATCHERS} at most, {WATCHERS_TCP} of them over TCP")
        task = asyncio.current_task()
        assert task is not None
        made = Watcher(self._router, self._tasks, over_tcp=over_tcp)
        self._tasks[made] = task
        return made

    async def farewell(self) -> None:
        """Tell them that the daemon was asked to end, which a crash never says; their streams end with that."""
        tasks = list(self._tasks.values())
        for watcher in self._tasks:
            watcher.leave()
        if tasks:
            await asyncio.wait(tasks, timeout=FAREWELL_TIMEOUT)

    async def close(self) -> None:
        """End all streams."""
        for task in list(self._tasks.values()):
            task.cancel()
