"""What follows from a comparison of a vector with what is held, alike for all channels. Pure.

Knows nothing of what is held but its `known`, (key, life, version); which of two is newer, their order says.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from overlay.config import PeerName

__all__ = ["Known", "SortedKeys", "by_key", "concerned", "lacking"]

Known = tuple[Any, ...]
"""(key, life, version). Kept and passed on as the object that it is: known for three values it would be taken apart and
made again where this is compiled, and where values are shared most comparisons end at the identity."""


class _Held(Protocol):
    @property
    def known(self) -> Known: ...


Key = TypeVar("Key")
Value = TypeVar("Value")


def concerned(held: Mapping[Key, Value], theirs: Mapping[Key, Any], named: bool) -> Iterable[tuple[Key, Value]]:
    """What is to be compared with `theirs`: all that is held, or only what they name."""
    return [(key, held[key]) for key in theirs if key in held] if named else held.items()


def by_key(vector: Iterable[Known]) -> dict[Any, Known]:
    """What a vector says of each key."""
    return {known[0]: known for known in vector}


class SortedKeys:
    """The keys of what is held, sorted when somebody asks: of a vector they are asked for after many were added."""

    __slots__ = ("_keys", "_sorted")

    def __init__(self) -> None:
        self._keys: list[PeerName] = []
        self._sorted = True

    def add(self, key: PeerName) -> None:
        """Take in a key that is new."""
        self._keys.append(key)
        self._sorted = False

    def discard(self, key: PeerName) -> None:
        """Take out a key that is there."""
        self._keys.remove(key)

    def in_order(self) -> list[PeerName]:
        """All, in order. Not to be changed."""
        if not self._sorted:
            self._keys.sort()  # which costs little more than a look at them where most are in order
            self._sorted = True
        return self._keys


def lacking(held: Mapping[PeerName, _Held], vector: Iterable[Known]) -> tuple[Known, ...]:
    """Of what `vector` names in a newer version than is held, what is held; (key, 0, 0) for nothing."""
    held_of = held.get
    return tuple(
        [
            (theirs[0], 0, 0) if ours is None else ours.known
            for theirs in vector
            # Where values are shared most are the very same object.
            if (ours := held_of(theirs[0])) is None or (ours.known is not theirs and ours.known < theirs)
        ]
    )
