"""A running node as the parts of a daemon see it: inputs in, requests with answers, watchers of its view.

The same for the real daemon and the simulated one, which hand over what carries out the effects (`NodeRunner`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from overlay import inputs as i
from overlay.effects import Evicted, Reply
from overlay.errors import UsageError
from overlay.runtime.node_runner import NodeRunner
from overlay.view import PeerView

__all__ = ["Answer", "Router"]

Answer = str | tuple[str, ...] | None
"""What a request is answered with."""


class Router:
    """`disk` and `forwarding` are what the node's effects reach, for those who need them besides it."""

    def __init__(self, *, disk: Any, forwarding: Any, clock: Callable[[], int], wall: Callable[[], int]) -> None:
        self.disk = disk
        self.forwarding = forwarding
        self.clock = clock
        self.wall = wall
        """The time of day as this host believes it, in nanoseconds."""
        self.on_evicted: Callable[[Evicted], None] = lambda _: None
        """A stopped container has lost an address."""
        self._waiting: set[asyncio.Future[Answer]] = set()

    def true_time(self, t: int) -> int:
        """What the host's own monotonic clock showed at `t` of this router's clock, lately."""
        return t

    @property
    def runner(self) -> NodeRunner:
        """What runs the node; subclasses say."""
        raise NotImplementedError

    @property
    def node(self) -> Any:
        """The node."""
        return self.runner.core

    def start(self) -> None:
        """Start the node; whatever its effects reach must be in place."""
        self.runner.carry_out(self.node.start(self.clock()))

    def surrender(self) -> None:
        """Give this peer's address space to another, before its state is wiped."""
        self.runner.carry_out(self.node.surrender(self.clock()))

    def feed(self, item: i.Input) -> None:
        """Hand one input to the node and carry out what it wants."""
        self.runner.feed(item)

    async def ask(self, make: Callable[[int], i.Input], timeout: float | None = None) -> Answer:
        """Put a request to the node and wait for its answer; a caller that stops waiting cancels it.

        Raises `UsageError` with the node's words, and `TimeoutError`.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(reply: Reply) -> None:
            if future.done():
                return
            if reply.error:
                future.set_exception(UsageError(reply.error))
            else:
                future.set_result(reply.value)

        runner = self.runner  # which may have ended when the waiting does
        self._waiting.add(future)
        number = runner.request(make, answered)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._waiting.discard(future)
            runner.cancel(number)

    def watch(self, watcher: Callable[[int, PeerView], None]) -> None:
        """Call `watcher(t, view)` at once and at every change of the node's view."""
        self.runner.watch(watcher)

    def unwatch(self, watcher: Callable[[int, PeerView], None]) -> None:
        """Stop calling `watcher`."""
        self.runner.unwatch(watcher)

    def stop(self) -> None:
        """Handle no timer any more; pending requests end."""
        self.runner.stop()
        for future in list(self._waiting):
            future.cancel()

    @property
    def stalled(self) -> bool:
        """Nothing goes out, because something has to be written first and the disk is full."""
        return self.runner.blocked
