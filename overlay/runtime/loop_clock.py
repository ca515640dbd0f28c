"""Timers of a node's runner on asyncio's loop. Decides nothing."""

import asyncio
from collections.abc import Callable
from typing import Any

from overlay.env import SECOND

__all__ = ["LoopClock"]


class LoopClock:
    """Implements `overlay.runtime.node_runner.Clock`.

    The same action at the same time shares one timer, because a runner asks again for a later deadline each time an
    earlier one has passed.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.now = clock
        self._loop = asyncio.get_running_loop()
        self._pending: set[tuple[int, Callable[..., None]]] = set()

    def call_at(self, due: int, action: Callable[..., None], *arguments: Any) -> None:
        """See `Clock`."""
        if (due, action) not in self._pending:
            self._pending.add((due, action))
            self._wait(due, action, arguments)

    def call_after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        """See `Clock`."""
        self._loop.call_later(max(0, delay) / SECOND, action, *arguments)

    def _wait(self, due: int, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.call_after(due - self.now(), self._fire, due, action, arguments)

    def _fire(self, due: int, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._pending.discard((due, action))
        action(*arguments)
