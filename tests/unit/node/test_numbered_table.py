"""A table by common numbers is a dict, but for its order; and so are the indexes and sorted keys on it."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from overlay.replicated import interned
from overlay.replicated.numbered import NumberedTable, Table, add, discard, table
from overlay.replicated.vectors import SortedKeys

KEYS = st.sampled_from([f"peer {number}" for number in range(12)])
VALUES = st.integers(0, 5).map(str)
COPIES = st.integers(0, 2)


class TablesAgree(RuleBasedStateMachine):
    """Three peers' tables of one kind of keys, each next to a plain dict that gets the same changes."""

    def __init__(self) -> None:
        super().__init__()
        interned.switch(on=True)
        self.tables: list[Table[str, str]] = [table("peer") for _ in range(3)]
        self.orders = [SortedKeys(held) for held in self.tables]
        self.plain: list[dict[str, str]] = [{} for _ in range(3)]
        self.indexes: list[Table[str, dict[int, str]]] = [table("text") for _ in range(3)]
        self.plain_indexes: list[dict[str, dict[int, str]]] = [{} for _ in range(3)]
        interned.switch(on=False)

    @rule(copy=COPIES, key=KEYS, value=VALUES)
    def put(self, copy: int, key: str, value: str) -> None:
        if key not in self.tables[copy]:
            self.orders[copy].add(key)
        self.tables[copy][key] = self.plain[copy][key] = value

    @rule(copy=COPIES, key=KEYS)
    def pop(self, copy: int, key: str) -> None:
        if key in self.tables[copy]:
            self.orders[copy].discard(key)
        assert self.tables[copy].pop(key, None) == self.plain[copy].pop(key, None)

    @rule(copy=COPIES, key=KEYS)
    def delete(self, copy: int, key: str) -> None:
        if key in self.plain[copy]:
            self.orders[copy].discard(key)
            del self.tables[copy][key], self.plain[copy][key]
        else:
            for tried in (lambda: self.tables[copy][key], lambda: self.tables[copy].__delitem__(key)):
                with pytest.raises(KeyError):
                    tried()

    @rule(copy=COPIES)
    def clear(self, copy: int) -> None:
        self.tables[copy].clear()
        self.plain[copy].clear()

    @rule(copy=COPIES, text=KEYS, key=st.integers(0, 3), value=VALUES)
    def add_to_index(self, copy: int, text: str, key: int, value: str) -> None:
        for index in (self.indexes[copy], self.plain_indexes[copy]):
            if key not in index.get(text, {}):
                add(index, text, {key: value})

    @rule(copy=COPIES, text=KEYS, key=st.integers(0, 3))
    def discard_from_index(self, copy: int, text: str, key: int) -> None:
        if key in self.plain_indexes[copy].get(text, {}):
            discard(self.indexes[copy], text, key)
            discard(self.plain_indexes[copy], text, key)

    @invariant()
    def the_same(self) -> None:
        pairs: list[tuple[Any, Any]] = [
            *zip(self.tables, self.plain, strict=True),
            *zip(self.indexes, self.plain_indexes, strict=True),
        ]
        for held, plain in pairs:
            assert isinstance(held, NumberedTable)
            assert len(held) == len(plain) and held == plain
            assert sorted(held) == sorted(plain) == sorted(held.keys()) == held.keys_in_order()
            assert sorted(map(str, held.values())) == sorted(map(str, plain.values()))
            assert all(held.get(f"peer {number}") == plain.get(f"peer {number}") for number in range(12))
            assert all((f"peer {number}" in held) == (f"peer {number}" in plain) for number in range(12))
            assert held.get("nobody", "default") == "default"
        for order, plain in zip(self.orders, self.plain, strict=True):
            assert order.in_order() == sorted(plain)


TestTablesAgree = TablesAgree.TestCase
TestTablesAgree.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def layer() -> Iterator[None]:
    interned.switch(on=True)
    yield
    interned.switch(on=False)


def test_a_daemon_has_plain_dicts() -> None:
    assert type(table("peer")) is dict


@pytest.mark.usefixtures("layer")
def test_each_world_numbers_its_keys_itself() -> None:
    earlier = table("peer")
    earlier["a"] = earlier["b"] = "1"
    interned.switch(on=True)
    later = table("peer")
    later["b"] = "2"
    assert dict(earlier.items()) == {"a": "1", "b": "1"} and dict(later.items()) == {"b": "2"}
    assert list(later) == ["b"] and later == {"b": "2"} and later != earlier
