"""Makes many peers in one process cheap: equal values are created once, and derived values once per value.

The simulator switches it on, because its peers pass messages as objects and end up with the same ones. A daemon leaves
it off. Results are equal with and without this layer; it only decides how often they are computed. The only place for
tables of messages and records, and for keys by identity. Must not know what the values contain.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, ParamSpec, TypeVar

__all__ = ["Memo", "Shared", "derived", "derived_each", "shared", "switch", "when_switched"]

Made = TypeVar("Made")
Question = ParamSpec("Question")


class _Layer:
    """Whether values are shared, and the callbacks to call when that changes."""

    def __init__(self) -> None:
        self.on = False
        self.tell: list[Callable[[bool], None]] = []


_layer: Final = _Layer()


def switch(on: bool) -> None:
    """Turn sharing of values on or off."""
    _layer.on = on
    for tell in _layer.tell:
        tell(on)


def when_switched(tell: Callable[[bool], None]) -> None:
    """Call `tell` whenever sharing is turned on or off, and now."""
    _layer.tell.append(tell)
    tell(_layer.on)


def derived(value: Any, key: str, make: Callable[[Any], Made]) -> Made:
    """`make(value)`, cached on `value`, a frozen struct with a `__dict__`. Each caller uses its own `key`."""
    if not _layer.on:
        return make(value)
    kept: dict[str, Made] = value.__dict__
    found = kept.get(key)
    if found is None:
        found = kept[key] = make(value)
    return found


def derived_each(values: Sequence[Any], key: str, make: Callable[[Any], Made]) -> list[Made]:
    """`derived` of each value."""
    if not _layer.on:
        return [make(value) for value in values]
    try:  # called a million times in a large simulation; nearly always all are cached
        return [value.__dict__[key] for value in values]
    except KeyError:
        return [derived(value, key, make) for value in values]


def shared(most: int) -> Callable[[Callable[Question, Made]], "Shared[Question, Made]"]:
    """Decorate a function of immutable values: its `of` returns the same object for equal arguments."""
    return lambda make: Shared(make, most)


class Shared(Generic[Question, Made]):
    """A function (`of`) that returns the same object for equal arguments; an LRU cache of `most` results."""

    def __init__(self, make: Callable[Question, Made], most: int) -> None:
        self._make = make
        self._table = lru_cache(most)(make)
        self.of: Callable[Question, Made] = make
        """An attribute and not a method because a large simulation calls it a million times."""
        when_switched(self._switch)

    def _switch(self, on: bool) -> None:
        self.of = self._table if on else self._make
        if not on:
            self._table.cache_clear()


class Memo(Generic[Made]):
    """Results by the identity of immutable arguments, which are kept alive. Cleared at `most` entries (0: never)."""

    __slots__ = ("_made", "_most")

    def __init__(self, most: int = 0) -> None:
        self._made: dict[int, tuple[Any, Made]] = {}
        self._most = most

    def of(self, value: Any, make: Callable[[Any], Made]) -> Made:
        """`make(value)` for this very object; `make` must be the same in all calls."""
        found = self._made.get(id(value))
        if found is not None:
            return found[1]
        made = make(value)
        if _layer.on:
            if self._most and len(self._made) >= self._most:
                self._made.clear()
            self._made[id(value)] = (value, made)
        return made
