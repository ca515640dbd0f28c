"""`GET /watch`: one line of JSON for each change of the node's view, until the client disconnects.

Owns the list of watchers, their limit, and the views that a slow watcher loses. Knows nothing of how lines are sent.
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
"""Views queued for a slow watcher. When the queue is full the oldest view is dropped; the newest always arrives."""
WATCHERS = 64
WATCHERS_TCP = 8
"""Maximum number of watchers; and of those over TCP, which every user of this host can open."""
WATCH_REFRESH = 2.0
"""Seconds without a change after which a watcher gets the view again, because its counters change too."""
FAREWELL_TIMEOUT = 1.0
"""Seconds for a watcher to read its last line."""

_json = msgspec.json.Encoder()
_LEAVES = _json.encode({"leaves": True}) + b"\n"


class Watcher:
    """One watcher. `close` ends it at once, even if lines are unread."""

    def __init__(self, router: Router, among: "dict[Watcher, asyncio.Task[Any]]", *, over_tcp: bool) -> None:
        self.over_tcp = over_tcp
        self._router = router
        self._among = among
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._peer = router.node.config.name

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Yields the current view, each change, and a last line when the daemon leaves."""
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
        """Queue a last line: the daemon was asked to end."""
        self._router.unwatch(self._push)
        self._queue.put_nowait(_LEAVES)

    def close(self) -> None:
        """Stop watching."""
        self._router.unwatch(self._push)
        self._among.pop(self, None)

    def _push(self, t: int, view: PeerView) -> None:
        while self._queue.qsize() >= WATCH_QUEUE:
            self._queue.get_nowait()
        t = self._router.true_time(t)
        self._queue.put_nowait(_json.encode({"t": t, "view": {"peer": self._peer, **asdict(view)}}) + b"\n")


class Watchers:
    """All watchers of one daemon."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._tasks: dict[Watcher, asyncio.Task[Any]] = {}
        """Each watcher's reader task."""

    async def open(self, *, over_tcp: bool) -> Watcher:
        """Add a watcher, read by the calling task. Raises `EnvironmentProblem` at the limit."""
        if len(self._tasks) >= WATCHERS or (over_tcp and sum(each.over_tcp for each in self._tasks) >= WATCHERS_TCP):
            raise EnvironmentProblem(f"too many watch already: {WATCHERS} at most, {WATCHERS_TCP} of them over TCP")
        task = asyncio.current_task()
        assert task is not None
        made = Watcher(self._router, self._tasks, over_tcp=over_tcp)
        self._tasks[made] = task
        return made

    async def farewell(self) -> None:
        """Tell all watchers that the daemon was asked to end (a crash sends nothing), and end their streams."""
        tasks = list(self._tasks.values())
        for watcher in self._tasks:
            watcher.leave()
        if tasks:
            await asyncio.wait(tasks, timeout=FAREWELL_TIMEOUT)

    async def close(self) -> None:
        """End all streams."""
        for task in list(self._tasks.values()):
            task.cancel()
