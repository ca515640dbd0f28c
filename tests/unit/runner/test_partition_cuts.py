"""Partitions as pure functions: cut pairs, groups, and how both follow from a step."""

from hypothesis import given
from hypothesis import strategies as st

from lab.cuts import (
    bridge,
    complete,
    groups_of,
    isolated,
    majorities_ring,
    one_way,
    union,
    with_rest,
)
from lab.verbs.partition import Partition

HOSTS = ("a", "b", "c", "d", "e")


def test_hosts_that_no_group_names_form_one_more() -> None:
    assert with_rest(HOSTS, [("b",), ("d", "e")]) == (("b",), ("d", "e"), ("a", "c"))
    cut = Partition(groups=(("b",), ("d", "e")), **{"for": None}).cut(HOSTS)
    assert groups_of(HOSTS, cut) == (("a", "c"), ("b",), ("d", "e"))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_a_complete_cut_leaves_exactly_its_groups(assigned: list[int]) -> None:
    hosts = [f"h{index}" for index in range(len(assigned))]
    groups = [[host for host, number in zip(hosts, assigned, strict=True) if number == group] for group in range(4)]
    groups = [group for group in groups if group]
    cut = complete(groups)
    assert all((receiver, sender) in cut for sender, receiver in cut)
    assert sorted(groups_of(hosts, cut)) == sorted(tuple(group) for group in groups)


def test_one_direction_is_cut_alone() -> None:
    assert one_way(("a", "b"), ("b", "c")) == {("a", "b"), ("a", "c"), ("b", "c")}


def test_isolated_hosts_are_alone() -> None:
    assert isolated(HOSTS, ("a", "c")) == (("a",), ("c",), ("b", "d", "e"))


def test_a_bridge_joins_two_halves_that_do_not_see_each_other() -> None:
    cut = bridge(HOSTS, "c")
    assert not any("c" in pair for pair in cut)
    assert cut == complete([("a", "b"), ("d", "e")])
    assert groups_of(HOSTS, cut) == (HOSTS,)


@given(st.integers(5, 12))
def test_in_a_ring_of_majorities_everybody_sees_another_one(number: int) -> None:
    hosts = [f"h{index}" for index in range(number)]
    cut = majorities_ring(hosts)
    seen = [tuple(other for other in hosts if (host, other) not in cut) for host in hosts]
    assert all(len(view) > number // 2 for view in seen)
    assert all((receiver, sender) in cut for sender, receiver in cut)
    if number != 2 * (number // 4 * 2) and number > 6:
        assert len(set(seen)) == number


def test_overlapping_cuts_are_joined() -> None:
    assert union({}) == frozenset()
    assert union({3: complete([("a",), ("b",)]), 5: one_way(("b",), ("c",))}) == {("a", "b"), ("b", "a"), ("b", "c")}
