"""Virtual time: which events happen, and when. Owns the only clock of a simulated run and the order of events.

Events at the same time run in the order in which they were scheduled, so a run is a function of its inputs alone. Must
not know what the events mean.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Event = tuple[int, int, Callable[..., None], tuple[Any, ...]]


class Scheduler:
    """A heap of (time, sequence, action, arguments); times are integer nanoseconds since the start of the run."""

    __slots__ = ("_heap", "_serial", "done", "now")

    def __init__(self) -> None:
        self.now = 0
        self.done = 0
        """Number of executed events."""
        self._heap: list[Event] = []
        self._serial = 0

    def at(self, time: int, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action(*arguments)` at `time`, or now if that is past."""
        self._serial = serial = self._serial + 1
        heappush(self._heap, (time if time > self.now else self.now, serial, action, arguments))

    def after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action(*arguments)` when `delay` nanoseconds have passed."""
        self.at(self.now + delay, action, *arguments)

    @property
    def due(self) -> int | None:
        """When the next event is due; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Execute the next event. IndexError when there is none."""
        self.now, _, action, arguments = heappop(self._heap)
        self.done += 1
        action(*arguments)

    def run(self, until: int) -> None:
        """Execute all events up to and including `until`, and set the clock to it."""
        heap = self._heap
        done = 0
        while heap and heap[0][0] <= until:
            self.now, _, action, arguments = heappop(heap)
            done += 1
            action(*arguments)
        self.done += done
        self.now = max(self.now, until)

    def run_until(self, condition: Callable[[], bool], limit: int, every: int) -> bool:
        """Let time pass until `condition` holds, checked every `every`, at most `limit`; returns whether it holds."""
        end = self.now + limit
        while not condition():
            if self.now >= end:
                return False
            self.run(min(self.now + every, end))
        return True
