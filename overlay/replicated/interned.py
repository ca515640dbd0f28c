"""What makes many peers in one process cheap: equal values are made once, derived values are made once for each value.

The simulator switches it on, because its peers pass messages on as objects and come to hold the same ones. A daemon
does without: what this layer returns is equal with it and without it, so it decides how often something is computed
and never what. The only place for tables of messages and records, and for keys by identity. Must not know what is in
the values.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, Generic, TypeVar, cast

__all__ = ["Index", "Memo", "add", "derived", "discard", "shared", "switch"]

Key = TypeVar("Key")
Value = TypeVar("Value")
Made = TypeVar("Made")
Maker = TypeVar("Maker", bound=Callable[..., Any])


class _Layer:
    """Whether values are shared, and the tables to be emptied when they are not any more."""

    def __init__(self) -> None:
        self.on = False
        self.clear: list[Callable[[], None]] = []


_layer: Final = _Layer()


def switch(on: bool) -> None:
    """Share values from now on, or compute each one where it is asked for."""
    _layer.on = on
    if not on:
        for clear in _layer.clear:
            clear()


def derived(value: Any, key: str, make: Callable[[Any], Made]) -> Made:
    """`make(value)`, kept with `value`: a frozen struct with a `__dict__`. No two callers share a `key`."""
    if not _layer.on:
        return make(value)
    kept: dict[str, Made] = value.__dict__
    found = kept.get(key)
    if found is None:
        found = kept[key] = make(value)
    return found


def shared(most: int) -> Callable[[Maker], Maker]:
    """Let a function of immutable values return one object for all equal questions; the last `most` are kept."""

    def wrap(make: Maker) -> Maker:
        table = lru_cache(most)(make)
        _layer.clear.append(table.cache_clear)

        @wraps(make)
        def ask(*question: Any) -> Any:
            return table(*question) if _layer.on else make(*question)

        return cast(Maker, ask)

    return wrap


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
