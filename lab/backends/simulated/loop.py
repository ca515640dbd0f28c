"""An asyncio event loop in virtual time: when all tasks wait, time jumps to the next event.

Events of the world's `Scheduler` and coroutines share one clock and one order, so that the runner, the daemon's
container code and the simulated network are one deterministic run.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lab.sim.garbage import rarely_collected
from lab.sim.scheduler import Scheduler

T = TypeVar("T")
BILLION = 1_000_000_000


class _Jump(selectors.SelectSelector):
    """Never waits: executes the scheduler's events until the loop has something to do."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.woken = False

    def select(self, timeout: float | None = None) -> list[Any]:
        # Does not call the kernel: no file is watched, and a signal handler wakes the loop by itself.
        if timeout == 0:
            self.woken = False
            return []
        scheduler = self.scheduler
        end = None if timeout is None else scheduler.now + max(1, round(timeout * BILLION))
        self.woken = False
        while not self.woken:
            due = scheduler.due
            if due is None or (end is not None and due > end):
                if end is None:
                    raise RuntimeError("deadlock: nothing will ever happen again")
                scheduler.run(end)
                break
            scheduler.step()
        self.woken = False
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time()` is the scheduler's, in seconds."""

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self.scheduler = scheduler or Scheduler()
        self._jump = _Jump(self.scheduler)
        super().__init__(self._jump)

    def time(self) -> float:
        return self.scheduler.now / BILLION

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        self._jump.woken = True
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        self._jump.woken = True
        return super().call_at(when, callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        self._jump.woken = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    async def until(self, time: int) -> None:
        """Wait until the scheduler's clock shows `time` (nanoseconds), to the nanosecond."""
        if time <= self.scheduler.now:
            await asyncio.sleep(0)
            return
        there: asyncio.Future[None] = self.create_future()
        self.scheduler.at(time, _settle, there)
        await there


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def run_virtual(work: Coroutine[Any, Any, T], loop_factory: Callable[[], VirtualLoop] = VirtualLoop) -> T:
    """Run a coroutine in virtual time and return its result."""
    with rarely_collected(), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(work)


def current() -> VirtualLoop:
    """The running loop, which must be a virtual one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "simulated hosts live in virtual time only"
    return loop
