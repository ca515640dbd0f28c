"""What makes many peers in one process cheap: equal values are made once, derived values are made once for each value.

The simulator switches it on, because its peers pass messages on as objects and come to hold the same ones. A daemon
does without: what this layer returns is equal with it and without it, so it decides how often something is computed
and never what. The only place for tables of messages and records, and for keys by identity. Must not know what is in
the values.
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
    """Whether values are shared, and what is told when that changes."""

    def __init__(self) -> None:
        self.on = False
        self.tell: list[Callable[[bool], None]] = []


_layer: Final = _Layer()


def switch(on: bool) -> None:
    """Share values from now on, or compute each one where it is asked for."""
    _layer.on = on
    for tell in _layer.tell:
        tell(on)


def derived(value: Any, key: str, make: Callable[[Any], Made]) -> Made:
    """`make(value)`, kept with `value`: a frozen struct with a `__dict__`. No two callers share a `key`."""
    if not _layer.on:
        return make(value)
    kept: dict[str, Made] = value.__dict__
    found = kept.get(key)
    if found is None:
        found = kept[key] = make(value)
    return found


def derived_each(values: Sequence[Any], key: str, make: Callable[[Any], Made]) -> list[Made]:
    """`derived` of each."""
    if not _layer.on:
        return [make(value) for value in values]
    try:  # a large world asks a million times, and nearly always all are there
        return [value.__dict__[key] for value in values]
    except KeyError:
        return [derived(value, key, make) for value in values]


def shared(most: int) -> Callable[[Callable[Question, Made]], "Shared[Question, Made]"]:
    """Decorates a function of immutable values: its `of` returns one object for all equal questions."""
    return lambda make: Shared(make, most)


class Shared(Generic[Question, Made]):
    """A function (`of`) that returns one object for all equal questions; the last `most` are kept."""

    def __init__(self, make: Callable[Question, Made], most: int) -> None:
        self._make = make
        self._table = lru_cache(most)(make)
        self.of: Callable[Question, Made] = make
        """An attribute and not a method: a large world asks a million times."""
        _layer.tell.append(self._switch)
        self._switch(_layer.on)

    def _switch(self, on: bool) -> None:
        self.of = self._table if on else self._make
        if not on:
            self._table.cache_clear()


class Memo(Generic[Made]):
    """Values by the identity of others, which are never changed and are kept alive. `most`: then it begins again."""

    __slots__ = ("_made", "_most")

    def __init__(self, most: int = 0) -> None:
        self._made: dict[int, tuple[Any, Made]] = {}
        self._most = most

    def of(self, value: Any, make: Callable[[Any], Made]) -> Made:
        """`make(value)`, for this very object; always the same `make`."""
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
"""Entries by text, changed by `add` and `discard` alone. Under most texts there is one entry, and all peers hold the
same one: so a dict of one entry is made once (`shared`), put into all their indexes, and never changed. When a second
entry comes to it, the index gets a dict of its own."""


def add(index: Index[Key, Value], text: str, one: dict[Key, Value]) -> None:
    """Put the only entry of `one` among those of `text`, behind them; `one` stays as it is from now on."""
    held = index.get(text)
    if held is None:
        index[text] = one
    elif len(held) == 1:
        index[text] = {**held, **one}
    else:
        held.update(one)


def discard(index: Index[Key, Value], text: str, key: Key) -> None:
    """Take out what `key` has under `text`. KeyError if there is nothing."""
    held = index[text]
    if key not in held:
        raise KeyError(key)
    if len(held) == 1:
        del index[text]
    else:
        del held[key]
