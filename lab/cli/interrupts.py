"""Runs a coroutine so that an interrupt comes either before it starts, or inside it, where it can be handled."""

import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["run"]


def run(runner: Callable[[Coroutine[Any, Any, T]], T], work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`runner(work())`, for example with `asyncio.run`; SIGINT is blocked until the coroutine has begun."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    async def begun() -> T:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return await work()

    try:
        return runner(begun())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
