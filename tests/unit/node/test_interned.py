"""The layer that shares values: what it returns is the same with it and without it; how often it is made is not."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.replicated.interned import Memo, derived, derived_each, shared, switch
from overlay.replicated.numbered import Index, add, discard
from overlay.wire.origins import OriginState

steps = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)), max_size=30)


@pytest.fixture(params=[True, False], ids=["on", "off"])
def on(request: pytest.FixtureRequest) -> Iterator[bool]:
    switch(on=request.param)
    yield request.param
    switch(on=False)


def test_a_derived_value_is_made_once_for_each_value_or_each_time(on: bool) -> None:
    made: list[int] = []

    def version(state: OriginState) -> int:
        made.append(state.version)
        return state.version

    states = [OriginState("a", 1, 1, 0, 0, ()) for _ in range(2)]
    assert [derived(state, "version", version) for state in (*states, *states)] == [1, 1, 1, 1]
    assert len(made) == (2 if on else 4)
    assert derived_each([*states, *states], "version", version) == [1, 1, 1, 1]
    assert len(made) == (2 if on else 8)


def test_equal_questions_share_an_answer_while_the_layer_is_on(on: bool) -> None:
    lists = shared(2)(lambda text: [text])
    first = lists.of("a")
    assert first == lists.of("a") == ["a"] and (lists.of("a") is first) == on
    switch(on=False)
    assert lists.of("a") == ["a"] and lists.of("a") is not first
    switch(on=True)
    assert lists.of("a") is not first, "the tables are empty once the layer was off"


def test_a_memo_tells_equal_objects_apart_and_begins_again_when_it_is_full(on: bool) -> None:
    memo: Memo[int] = Memo(2)
    keys = [(1, [number]) for number in (0, 0, 1)]
    for number, key in enumerate(keys):
        assert memo.of(key, lambda _, number=number: number) == number
        assert memo.of(key, lambda _: -1) == (number if on else -1)
    assert memo.of(keys[2], lambda _: -1) == (2 if on else -1)
    assert memo.of(keys[0], lambda _: -1) == -1


@given(steps, steps)
def test_an_index_is_a_dict_of_dicts_and_others_do_not_notice(first, second):
    ones = {key: {key: f"value {key}"} for key in range(4)}
    for taken in (first, second):
        index: Index[int, str] = {}
        plain: dict[str, dict[int, str]] = {}
        for puts, text, key in taken:
            if puts:
                add(index, text, ones[key])
                plain.setdefault(text, {})[key] = f"value {key}"
            elif key in plain.get(text, {}):
                discard(index, text, key)
                del plain[text][key]
                if not plain[text]:
                    del plain[text]
            else:
                with pytest.raises(KeyError):
                    discard(index, text, key)
            assert index == plain
            assert [list(held) for held in index.values()] == [list(held) for held in plain.values()]
    assert ones == {key: {key: f"value {key}"} for key in range(4)}
