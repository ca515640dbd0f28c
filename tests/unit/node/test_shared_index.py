"""Indexes of mostly single entries: shared dicts stay as they are, whatever an index goes through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.replicated.shared_index import Index, add, discard

steps = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)), max_size=30)


@given(steps, steps)
def test_an_index_is_a_dict_of_dicts_and_others_do_not_notice(first, second):
    shared = {key: {key: f"value {key}"} for key in range(4)}
    for taken in (first, second):
        index: Index[int, str] = {}
        plain: dict[str, dict[int, str]] = {}
        for puts, text, key in taken:
            if puts:
                add(index, text, shared[key])
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
    assert shared == {key: {key: f"value {key}"} for key in range(4)}
