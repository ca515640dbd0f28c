"""Makes many peers in one process cheap: equal values are created once, and derived values once per value.

The simulator switches it on, because its peers pass messages as objects and end up with the same ones. A daemon leaves
it off. Results are equal with and without this layer; it only decides how often they are computed. The only place for
tables of messages and records, and for keys by identity. Must not know what the values contain.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, ParamSpec, TypeVar

__all__ = ["Index", "Memo", "Shared", "add", "derived", "derived_each", "discard", "shared", "switch"]

Key = TypeVar("Key")
Value = TypeVar("Value")
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
        _layer.tell.append(self._switch)
        self._switch(_layer.on)

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


Index = dict[str, dict[Key, Value]]
"""Entries by text, changed only by `add` and `discard`. Most texts have one entry, the same on all peers. So a dict
with one entry is made once (`shared`), put into all their indexes, and never changed. When a second entry is added, the
index gets its own dict."""


def add(index: Index[Key, Value], text: str, one: dict[Key, Value]) -> None:
    """Add the only entry of `one` under `text`, after the others; `one` must not be changed afterwards."""
    held = index.get(text)
    if held is None:
        index[text] = one
    elif len(held) == 1:
        index[text] = {**held, **one}
    else:
        held.update(one)


def discard(index: Index[Key, Value], text: str, key: Key) -> None:
    """Remove the entry of `key` under `text`. Raises KeyError if there is none."""
    held = index[text]
    if key not in held:
        raise KeyError(key)
    if len(held) == 1:
        del index[text]
    else:
        del held[key]
