"""Holdings and the arithmetic of addresses, against brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.errors import ConfigError, EnvironmentProblem, UsageError
from overlay.ipam.holdings import KEY, Holdings, largest_block
from overlay.ipam.quarantine import rightful_holder
from overlay.ipam.universe import Universe, parse_address, parse_interface

UNIVERSE = Universe("10.2.0.0/26", "")
SIZE = 64


def holding(offsets: set[int]) -> Holdings:
    holdings = Holdings(UNIVERSE, {})
    for offset in sorted(offsets):
        holdings.hold(f"c{offset}", f"{UNIVERSE.address(offset)}/26")
    holdings.check_invariants()
    return holdings


used = st.sets(st.integers(0, SIZE - 1))
extents = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))


@given(used, st.lists(extents, max_size=3))
def test_the_lowest_free_address(offsets: set[int], owned: list[tuple[int, int]]) -> None:
    owned.sort()
    expected = next((offset for low, high in owned for offset in range(low, high) if offset not in offsets), None)
    assert holding(offsets).lowest_free(owned) == expected


@given(used, extents)
def test_free_and_gaps(offsets: set[int], extent: tuple[int, int]) -> None:
    holdings = holding(offsets)
    free = [offset for offset in range(*extent) if offset not in offsets]
    assert holdings.free(extent) == len(free)
    assert [offset for low, high in holdings.gaps(extent) for offset in range(low, high)] == free


@given(used, st.integers(1, SIZE))
def test_the_largest_block(offsets: set[int], limit: int) -> None:
    blocks = [
        (low, low + size)
        for size in (1, 2, 4, 8, 16, 32, 64)
        if size <= limit
        for low in range(0, SIZE, size)
        if not offsets & set(range(low, low + size))
    ]
    expected = max(blocks, key=lambda block: (block[1] - block[0], block[0]), default=None)
    assert largest_block(holding(offsets).gaps((0, SIZE)), limit) == expected


def test_what_is_stored_comes_back_and_what_is_dropped_is_gone() -> None:
    holdings = holding({3, 5})
    holdings.hold("c3", "192.168.1.1/24")
    again = Holdings(UNIVERSE, {KEY: holdings.encode()})
    assert again.by_container() == holdings.by_container()
    assert again.drop("c3", "10.2.0.9") == []
    assert again.drop("c3") == ["10.2.0.3/26", "192.168.1.1/24"]
    assert again.drop("c5", "10.2.0.5") == ["10.2.0.5/26"]
    again.check_invariants()
    assert again.by_container() == {} and again.outside_holder("192.168.1.1") is None


def test_unreadable_state_names_the_command() -> None:
    with pytest.raises(EnvironmentProblem, match="weave reset"):
        Holdings(UNIVERSE, {KEY: b"\xc1"})


@pytest.mark.parametrize("iprange", ["", "10.2.0.0", "10.2.0.1/24", "10.2.0.0/31", "::/0", "x"])
def test_wrong_ranges(iprange: str) -> None:
    with pytest.raises(ConfigError):
        Universe(iprange, "")


def test_a_default_subnet_outside_of_the_range() -> None:
    with pytest.raises(ConfigError, match=r"10\.3\.0\.0/24 is not within the address range 10\.2\.0\.0/16"):
        Universe("10.2.0.0/16", "10.3.0.0/24")


def test_offsets_and_text() -> None:
    universe = Universe("10.2.0.0/16", "10.2.1.0/24")
    assert universe.default_subnet.start == 256 and universe.default_subnet.prefix == 24
    assert universe.offset(parse_address("10.2.1.7")) == 263 and universe.address(263) == "10.2.1.7"
    assert universe.offset(parse_address("10.3.0.0")) is None
    assert universe.offset(parse_address("::263")) is None


@pytest.mark.parametrize("text", ["10.2.0.1", "10.2.0.1/33", "", "a/24", "::1/129"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="/24"):
        parse_interface(text)


def test_who_keeps_an_address() -> None:
    holders = [("c", "x"), ("b", "z"), ("b", "y")]
    assert rightful_holder("c", holders) == ("c", "x")
    assert rightful_holder(None, holders) == ("b", "y")
    assert rightful_holder("a", reversed(holders)) == ("b", "y")
