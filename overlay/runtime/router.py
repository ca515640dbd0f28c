"""A running node as the parts of a daemon see it: inputs in, requests with replies, watchers of its view.

The real and the simulated daemon share it; each passes in the part that carries out the effects (`NodeRunner`).
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from overlay import inputs as i
from overlay.effects import Evicted, Reply
from overlay.errors import UsageError
from overlay.runtime.node_runner import NodeRunner
from overlay.view import PeerView

__all__ = ["Answer", "Router"]

Answer = str | tuple[str, ...] | None
"""The reply to a request."""


class Router:
    """`disk` and `forwarding` are drivers of the node's effects that other parts also use."""

    def __init__(self, *, disk: Any, forwarding: Any, clock: Callable[[], int], wall: Callable[[], int]) -> None:
        self.disk = disk
        self.forwarding = forwarding
        self.clock = clock
        self.wall = wall
        """This host's time of day, in nanoseconds; may be wrong."""
        self.on_evicted: Callable[[Evicted], None] = lambda _: None
        """Called when a stopped container has lost an address."""
        self._waiting: set[asyncio.Future[Answer]] = set()

    def true_time(self, t: int) -> int:
        """The time of the host's own monotonic clock at the recent time `t` of this router's clock."""
        return t

    @property
    def runner(self) -> NodeRunner:
        """The runner of the node; set by subclasses."""
        raise NotImplementedError

    @property
    def node(self) -> Any:
        """The node."""
        return self.runner.core

    def start(self, adopted: tuple[str, ...] = ()) -> None:
        """Start the node; all drivers of its effects must be ready. `adopted`: see `Node.start`."""
        self.runner.carry_out(self.node.start(self.clock(), adopted))

    def surrender(self) -> None:
        """Hand this peer's address space over to another peer, before its state is deleted."""
        self.runner.carry_out(self.node.surrender(self.clock()))

    def feed(self, item: i.Input) -> None:
        """Pass one input to the node and carry out its effects."""
        self.runner.feed(item)

    async def ask(self, make: Callable[[int], i.Input], timeout: float | None = None) -> Answer:
        """Send a request to the node and wait for its reply; if the caller stops waiting, the request is cancelled.

        Raises `UsageError` with the node's message, and `TimeoutError`.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(reply: Reply) -> None:
            if future.done():
                return
            if reply.error:
                future.set_exception(UsageError(reply.error))
            else:
                future.set_result(reply.value)

        runner = self.runner  # keep it, because `self.runner` may fail when the wait ends
        self._waiting.add(future)
        number = runner.request(make, answered)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._waiting.discard(future)
            runner.cancel(number)

    async def ask_all(self, makers: Sequence[Callable[[int], Any]]) -> list[Answer | UsageError]:
        """Send several address requests at once and wait for all replies. If the caller stops waiting, those that are
        open are cancelled."""
        runner = self.runner
        found: list[Answer | UsageError] = [None] * len(makers)
        open_ones: dict[int, int] = {}
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(at: int, reply: Reply) -> None:
            found[at] = UsageError(reply.error) if reply.error else reply.value
            open_ones.pop(reply.request, None)
            if not open_ones and not done.done():
                done.set_result(None)

        requests = []
        for at, make in enumerate(makers):
            number = runner.expect(partial(answered, at))
            open_ones[number] = at
            requests.append(make(number))
        self._waiting.add(done)
        try:
            runner.feed(i.AddressBatch(tuple(requests)))
            if open_ones:
                await done
            return found
        finally:
            self._waiting.discard(done)
            for number in list(open_ones):
                runner.cancel(number)

    def watch(self, watcher: Callable[[int, PeerView], None]) -> None:
        """Call `watcher(t, view)` at once and at every change of the node's view."""
        self.runner.watch(watcher)

    def unwatch(self, watcher: Callable[[int, PeerView], None]) -> None:
        """Stop calling `watcher`."""
        self.runner.unwatch(watcher)

    def stop(self) -> None:
        """Stop handling timers; pending requests end."""
        self.runner.stop()
        for future in list(self._waiting):
            future.cancel()

    @property
    def stalled(self) -> bool:
        """Effects are blocked because a durable write failed on a full disk."""
        return self.runner.blocked
