"""Tables with keys that many peers of one process have in common: a list per peer instead of a dict per peer.

A simulated peer's tables have an entry for each other peer. In a dict an entry takes 20 to 60 bytes, in two places of
memory; here all peers number the keys of one kind alike, and a table is a list by number: 8 bytes an entry. Part of the
layer of `overlay.replicated.interned`: with the layer off, as in every daemon, `table` makes a plain dict. Must not
know what keys and values mean.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar, overload

from overlay.replicated.interned import when_switched

__all__ = ["Index", "NumberedTable", "Table", "add", "discard", "table"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Numbers(Generic[Key]):
    """The keys of one kind, numbered in the order in which any peer first had them."""

    __slots__ = ("_keys_in_order", "in_order", "keys", "of")

    def __init__(self) -> None:
        self.of: dict[Key, int] = {}
        self.keys: list[Key] = []
        self._keys_in_order: list[Any] = []
        self.in_order: list[int] = []
        """All numbers, in the order of their keys."""

    def add(self, key: Key) -> int:
        """Number a new key."""
        number = self.of[key] = len(self.keys)
        self.keys.append(key)
        place = bisect_left(self._keys_in_order, key)
        self._keys_in_order.insert(place, key)
        self.in_order.insert(place, number)
        return number


class NumberedTable(Generic[Key, Value]):
    """What the cores need of a dict. Values are never None. Iteration is by number, not by insertion."""

    __slots__ = ("_count", "_keys", "_numbers", "_of", "_row")

    def __init__(self, numbers: "_Numbers[Key]") -> None:
        self._numbers = numbers
        self._of: dict[Key, int] = numbers.of
        self._keys: list[Key] = numbers.keys
        self._row: list[Value | None] = []
        self._count = 0

    @overload
    def get(self, key: Key) -> Value | None: ...
    @overload
    def get(self, key: Key, default: Value) -> Value: ...
    def get(self, key: Key, default: Value | None = None) -> Value | None:
        """The value of `key`, or `default`."""
        number = self._of.get(key)
        if number is None or number >= len(self._row):
            return default
        found = self._row[number]
        return default if found is None else found

    def __getitem__(self, key: Key) -> Value:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: Key, value: Value) -> None:
        number = self._of.get(key)
        if number is None:
            number = self._numbers.add(key)
        row = self._row
        if number >= len(row):
            row.extend([None] * (len(self._keys) - len(row)))
        if row[number] is None:
            self._count += 1
        row[number] = value

    def __delitem__(self, key: Key) -> None:
        if self.pop(key) is None:
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        number = self._of.get(key)
        return number is not None and number < len(self._row) and self._row[number] is not None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, NumberedTable):
            return dict(self.items()) == dict(other.items())
        return isinstance(other, dict) and dict(self.items()) == other

    def pop(self, key: Key, default: Value | None = None) -> Value | None:
        """Remove `key`; returns its value, or `default`."""
        number = self._of.get(key)
        if number is None or number >= len(self._row):
            return default
        found = self._row[number]
        if found is None:
            return default
        self._row[number] = None
        self._count -= 1
        return found

    def clear(self) -> None:
        """Remove all."""
        self._row = []
        self._count = 0

    def keys(self) -> list[Key]:
        """All keys, by number."""
        keys = self._keys
        return [keys[number] for number, value in enumerate(self._row) if value is not None]

    def keys_in_order(self) -> list[Key]:
        """All keys, sorted."""
        keys, row = self._keys, self._row
        most = len(row)
        return [keys[number] for number in self._numbers.in_order if number < most and row[number] is not None]

    def values(self) -> list[Value]:
        """All values, by number."""
        return [value for value in self._row if value is not None]

    def items(self) -> list[tuple[Key, Value]]:
        """All (key, value), by number."""
        keys = self._keys
        return [(keys[number], value) for number, value in enumerate(self._row) if value is not None]


Table = dict[Key, Value] | NumberedTable[Key, Value]
"""A core's table of keys that all peers have in common. It must not depend on the order of iteration."""


class _Kinds:
    """The numbers of each kind of key while the layer is on. Each world begins with new ones."""

    def __init__(self) -> None:
        self.on = False
        self.numbers: dict[str, _Numbers[Any]] = {}

    def switch(self, on: bool) -> None:
        self.on = on
        self.numbers = {}


_kinds: Final = _Kinds()
when_switched(_kinds.switch)


def table(kind: str) -> Table[Any, Any]:
    """A new table, of which every peer of this process has one with about the same keys."""
    if not _kinds.on:
        return {}
    numbers = _kinds.numbers.get(kind)
    if numbers is None:
        numbers = _kinds.numbers[kind] = _Numbers()
    return NumberedTable(numbers)


Index = dict[str, dict[Key, Value]] | NumberedTable[str, dict[Key, Value]]
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
