"""Several deadlines in one: what a protocol waits for, by name. Owns nothing else."""

from collections.abc import Hashable

__all__ = ["Alarms"]


class Alarms:
    """Name -> when. Those of one instant are due in the order in which they were set."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[Hashable, int] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._due

    def set(self, name: Hashable, due: int) -> None:
        """Wait for this moment under this name, and for no other one."""
        self._due.pop(name, None)
        self._due[name] = due

    def drop(self, name: Hashable) -> None:
        """Wait for it no more."""
        self._due.pop(name, None)

    def clear(self) -> None:
        """Wait for nothing."""
        self._due.clear()

    def deadline(self) -> int | None:
        """The next moment; None: there is none."""
        return min(self._due.values(), default=None)

    def past(self, now: int) -> list[Hashable]:
        """The names that are due, the earliest first; they are forgotten."""
        found = sorted((name for name, due in self._due.items() if due <= now), key=self._due.__getitem__)
        for name in found:
            del self._due[name]
        return found
