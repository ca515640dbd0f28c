"""Compares a vector with the local state; the same for all channels. Pure.

Of each item it knows only `known`, (key, incarnation, version); tuple order decides which of two is newer.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from overlay.config import PeerName
from overlay.replicated.numbered import NumberedTable, Table

__all__ = ["Known", "SortedKeys", "by_key", "concerned", "lacking"]

Known = tuple[Any, ...]
"""(key, incarnation, version). Typed loosely so that it is kept and passed on as the same object: as a tuple of three
types the compiled code would unpack and rebuild it, and with shared values most comparisons end at identity."""


Key = TypeVar("Key")
Value = TypeVar("Value")


def concerned(held: Table[Key, Value], theirs: dict[Key, Any], named: bool) -> Iterable[tuple[Key, Value]]:
    """The items to compare with `theirs`: all held ones, or only the named ones."""
    return [(key, held[key]) for key in theirs if key in held] if named else held.items()


def by_key(vector: Iterable[Known]) -> dict[Any, Known]:
    """The vector's entries by key."""
    return {known[0]: known for known in vector}


class SortedKeys:
    """The keys of a table, sorted on demand because many are added before a vector needs them in order.

    Peers that number their keys alike know the order in common, and keep none.
    """

    __slots__ = ("_held", "_keys", "_sorted")

    def __init__(self, held: Table[PeerName, Any]) -> None:
        self._held = held if isinstance(held, NumberedTable) else None
        self._keys: list[PeerName] = []
        self._sorted = True

    def add(self, key: PeerName) -> None:
        """Add a new key."""
        if self._held is None:
            self._keys.append(key)
            self._sorted = False

    def discard(self, key: PeerName) -> None:
        """Remove an existing key."""
        if self._held is None:
            self._keys.remove(key)

    def in_order(self) -> list[PeerName]:
        """All keys, in order. The caller must not change the list."""
        if self._held is not None:
            return self._held.keys_in_order()
        if not self._sorted:
            self._keys.sort()  # cheap, because the list is mostly sorted already
            self._sorted = True
        return self._keys


def lacking(held: Table[PeerName, Any], vector: Iterable[Known]) -> tuple[Known, ...]:
    """The held versions of the items for which `vector` names a newer version; (key, 0, 0) for an item not held."""
    held_of = held.get
    return tuple(
        [
            (theirs[0], 0, 0) if ours is None else ours.known
            for theirs in vector
            # Shared values are mostly the very same object.
            if (ours := held_of(theirs[0])) is None or (ours.known is not theirs and ours.known < theirs)
        ]
    )
