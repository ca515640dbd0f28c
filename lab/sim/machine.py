"""One machine on which all simulated hosts run: so many cores, and what a message costs. Pure, integer arithmetic.

With it a run shows the delay that a real machine would add by being busy, without it the protocol's own. A peer is one
thread: it handles one message after the other, on whichever core is free first.
"""

from heapq import heapreplace
from typing import Protocol

__all__ = ["Busy", "CpuModel"]


class Busy(Protocol):
    """Whoever handles messages one at a time."""

    busy_until: int


class CpuModel:
    """`per_message` and `per_byte` in nanoseconds of one core."""

    def __init__(self, cores: int, per_message: int, per_byte: int) -> None:
        assert cores > 0
        self.used = 0
        """Nanoseconds of cores that messages have taken so far."""
        self._free = [0] * cores
        """When each core is free; a heap."""
        self._per_message = per_message
        self._per_byte = per_byte

    def work(self, who: Busy, now: int, size: int) -> int:
        """When a message of `size` bytes that arrives now has been read, and may have its effects."""
        cost = self._per_message + size * self._per_byte
        done = max(now, who.busy_until, self._free[0]) + cost
        heapreplace(self._free, done)
        who.busy_until = done
        self.used += cost
        return done
