"""Many named deadlines behind one: a heap with lazy deletion. Knows nothing of what is due."""

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Timers(Generic[Key]):
    """A set of deadlines (integer nanoseconds), at most one for each key; ties go to the one set first."""

    __slots__ = ("_due", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._due: dict[Key, tuple[int, int, Key]] = {}
        """The entry of the heap that counts for each key; all others of that key are void."""
        self._serial = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._due

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key, due: int) -> None:
        """Be due at `due`, instead of whenever `key` was due before."""
        self._serial += 1
        entry = self._due[key] = (due, self._serial, key)
        heappush(self._heap, entry)

    def set_earlier(self, key: Key, due: int) -> None:
        """Be due at `due`, unless `key` is due before that already."""
        known = self._due.get(key)
        if known is None or due < known[0]:
            self.set(key, due)

    def cancel(self, key: Key) -> None:
        """Be due no more; nothing happens if `key` was not."""
        self._due.pop(key, None)

    def due(self, key: Key) -> int | None:
        """When `key` is due, if it is."""
        known = self._due.get(key)
        return None if known is None else known[0]

    def deadline(self) -> int | None:
        """When the first of all is due."""
        heap = self._heap
        while heap:
            first = heap[0]
            if self._due.get(first[2]) is first:
                return first[0]
            heappop(heap)
        return None

    def pop(self, now: int) -> Key | None:
        """One key that is due at `now`, which is then due no more; None when there is none."""
        due = self.deadline()
        if due is None or due > now:
            return None
        key = heappop(self._heap)[2]
        del self._due[key]
        return key
