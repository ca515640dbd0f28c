"""Several named deadlines in one. Owns nothing else."""

from collections.abc import Hashable

__all__ = ["Alarms"]


class Alarms:
    """Name -> deadline. Equal deadlines are due in the order in which they were set."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[Hashable, int] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._due

    def set(self, name: Hashable, due: int) -> None:
        """Set the deadline of this name; replaces an earlier one."""
        self._due.pop(name, None)
        self._due[name] = due

    def drop(self, name: Hashable) -> None:
        """Remove the deadline of this name."""
        self._due.pop(name, None)

    def clear(self) -> None:
        """Remove all deadlines."""
        self._due.clear()

    def deadline(self) -> int | None:
        """The next deadline; None if there is none."""
        return min(self._due.values(), default=None)

    def past(self, now: int) -> list[Hashable]:
        """Remove and return the names that are due, the earliest first."""
        found = sorted((name for name, due in self._due.items() if due <= now), key=self._due.__getitem__)
        for name in found:
            del self._due[name]
        return found
