"""Partitions as pure functions: cut pairs, groups, and how both follow from a step."""

import pytest
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


@pytest.mark.parametrize(
    ("body", "groups"),
    [
        ({"groups": (("a",), ("b",))}, (("a",), ("b",), ("c", "d", "e", "new"))),
        ({"groups": (("a", "b"), ("c", "d", "e"))}, (("a", "b"), ("c", "d", "e"), ("new",))),
        ({"isolate": ("a",)}, (("a",), ("b", "c", "d", "e", "new"))),
        ({"isolate": ("all",)}, (("a",), ("b",), ("c",), ("d",), ("e",), ("new",))),
    ],
)
def test_a_host_that_joins_is_one_that_no_group_names(body: dict, groups: tuple) -> None:
    partition = Partition(**body, **{"for": None})
    cut = partition.with_host(partition.cut(HOSTS), (*HOSTS, "new"), "new")
    assert groups_of((*HOSTS, "new"), cut) == groups
    assert cut == partition.cut((*HOSTS, "new")), "as if it had been there"


@pytest.mark.parametrize("body", [{"bridge": "e"}, {"bridge": "c"}, {"ring": "majorities"}])
def test_where_hosts_are_divided_by_their_order_it_is_cut_as_the_last_one(body: dict) -> None:
    partition = Partition(**body, **{"for": None})
    before = partition.cut(HOSTS)
    cut = partition.with_host(before, (*HOSTS, "new"), "new")
    assert {pair for pair in cut if "new" not in pair} == before, "nobody else changes sides"
    like = "d" if body == {"bridge": "e"} else "e"
    assert {host for one, host in cut if one == "new"} == {host for one, host in before if one == like}
    assert {host for host, one in cut if one == "new"} == {host for host, one in before if one == like}
    assert ("new", like) not in cut and ("new", body.get("bridge")) not in cut


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
