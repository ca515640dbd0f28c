"""Combines many deadlines: of several parts, or named ones in a heap (lazy deletion). Knows nothing of the work."""

from collections.abc import Hashable, Iterable
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Due(Protocol):
    """Something with a deadline."""

    @property
    def first(self) -> int | None:
        """Its first deadline. An attribute and not a method, because it is read after nearly every input."""


def first_due(parts: Iterable[Due]) -> int | None:
    """The earliest deadline of the parts; None if there is none."""
    first: int | None = None
    for part in parts:  # `min` of a list takes twice as long
        due = part.first
        if due is not None and (first is None or due < first):
            first = due
    return first


class Timers(Generic[Key]):
    """A set of deadlines (integer nanoseconds), at most one for each key; ties go to the one set first."""

    __slots__ = ("_due", "_heap", "_serial", "first")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._due: dict[Key, tuple[int, int, Key]] = {}
        """The valid heap entry of each key; all other entries of that key are void."""
        self._serial = 0
        self.first: int | None = None
        """The earliest deadline, cached because it is read far more often than it changes. Read-only."""

    def __contains__(self, key: Key) -> bool:
        return key in self._due

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key, due: int) -> None:
        """Set the deadline of `key`, replacing an earlier setting."""
        self._serial += 1
        before = self._due.get(key)
        entry = self._due[key] = (due, self._serial, key)
        heappush(self._heap, entry)
        if self.first is None or due < self.first:
            self.first = due
        elif before is not None and before[0] == self.first:
            self._look()

    def set_earlier(self, key: Key, due: int) -> None:
        """Set the deadline of `key`, unless it has an earlier one."""
        known = self._due.get(key)
        if known is None or due < known[0]:
            self.set(key, due)

    def cancel(self, key: Key) -> None:
        """Remove the deadline of `key`, if it has one."""
        before = self._due.pop(key, None)
        if before is not None and before[0] == self.first:
            self._look()

    def due(self, key: Key) -> int | None:
        """The deadline of `key`, or None."""
        known = self._due.get(key)
        return None if known is None else known[0]

    def deadline(self) -> int | None:
        """The earliest deadline."""
        return self.first

    def pop(self, now: int) -> Key | None:
        """Remove and return one key that is due at `now`; None if there is none."""
        if self.first is None or self.first > now:
            return None
        key = heappop(self._heap)[2]
        del self._due[key]
        self._look()
        return key

    def _look(self) -> None:
        """Find the earliest valid entry and bring it to the top of the heap."""
        heap, due = self._heap, self._due
        while heap:
            first = heap[0]
            counts = due.get(first[2])
            if counts is not None and counts[1] == first[1]:
                self.first = first[0]
                return
            heappop(heap)
        self.first = None
