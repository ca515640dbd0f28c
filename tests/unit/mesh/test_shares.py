"""Places for many clients: none takes those of others, and what has gone is forgotten."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.shares import Shares, source


@pytest.mark.parametrize(
    ("host", "of"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64%eth0"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_whose_share(host: str, of: str) -> None:
    assert source(host) == of


def test_a_flood_pushes_out_itself() -> None:
    shares = Shares(100, 8)
    assert [shares.take("192.0.2.1", ticket) for ticket in range(8)] == [None] * 8
    assert shares.take("192.0.2.2", 8) == 0
    assert [shares.take("192.0.2.1", ticket) for ticket in range(9, 100)] == [*range(1, 8), *range(9, 93)]
    shares.give_back(8)
    assert shares.take("192.0.2.2", 100) is None


def test_one_client_gets_no_more_than_its_share() -> None:
    shares = Shares(2, 8)
    assert [shares.take("192.0.2.1", ticket) for ticket in range(4)] == [None, None, 0, 1]
    assert len(shares) == 2


def test_one_with_a_whole_subnet_is_one_source_and_its_neighbours_keep_theirs() -> None:
    shares = Shares(100, 8)
    shares.take("2001:db8::1", 100)
    for ticket in range(4):
        shares.take("2001:db8::bad", ticket)
    for ticket in range(4, 7):
        shares.take("192.0.2.1", ticket)
    assert shares.take("2001:db8:0:1::1", 7) == 0
    assert shares.take("2001:db8:0:1::2", 8) == 1


hosts = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "", "x"])


@given(st.lists(hosts | st.integers(0, 40)), st.integers(1, 4), st.integers(1, 6))
def test_bounded_and_exact(steps: list[str | int], each: int, total: int) -> None:
    """A number gives that ticket back. Whoever has less than a fair part of the places never loses one."""
    shares, held = Shares(each, total), dict[Any, Any]()
    for ticket, step in enumerate(steps):
        if isinstance(step, int):
            shares.give_back(step)
            held.pop(step, None)
        else:
            gone = shares.take(step, ticket)
            if gone is not None:
                of = source(held.pop(gone))
                rest = [source(host) for host in held.values()].count(of) + 1
                assert of == source(step) or rest >= total / len({source(host) for host in (*held.values(), of)})
            held[ticket] = step
        shares.check_invariants()
        assert len(shares) == len(held)
