"""The figures of a group: who noticed a failure when, redundancy and hops of payloads, parts of partial views."""

import pytest

from lab.sim.dissemination import Dissemination
from lab.sim.group import MemberGroup


def group_of(*names: str) -> MemberGroup:
    group = MemberGroup()
    for name in names:
        group.started(name, 0)
    for name in names:
        others = [other for other in names if other != name]
        group.believes(name, 0, others, tuple(others), ())
    return group


def figures(group: MemberGroup, now: int = 10_000_000_000) -> dict[str, float]:
    return {name: value for name, value, _ in group.figures(now)}


def test_a_failure_is_noticed_by_one_and_then_by_all() -> None:
    group = group_of("a", "b", "c")
    group.ended("c", 1_000_000_000)
    group.believes("a", 2_000_000_000, ["b", "c"], (), ["c"])
    group.believes("a", 4_000_000_000, ["b"], (), [])
    assert figures(group)["first_detection_mean"] == 1.0
    assert "detection_by_all_mean" not in figures(group)
    group.believes("b", 5_000_000_000, ["a"], (), [])
    assert figures(group)["detection_by_all_mean"] == 4.0
    assert (figures(group)["failures"], figures(group)["undetected"]) == (1, 0)


def test_what_is_said_of_those_that_run_is_wrong() -> None:
    group = group_of("a", "b", "c")
    group.believes("a", 1, ["b", "c"], (), ["c"])
    group.believes("a", 2, ["b"], (), [])
    assert (figures(group)["false_suspicions"], figures(group)["false_removals"]) == (1, 1)


def test_who_fails_later_has_not_to_notice() -> None:
    group = group_of("a", "b", "c")
    group.ended("c", 1_000_000_000)
    group.believes("a", 3_000_000_000, ["b"], (), [])
    group.ended("b", 4_000_000_000)
    assert group.failures[0].all == 4_000_000_000


def test_a_tree_has_no_redundancy_and_flooding_has_that_of_its_extra_links() -> None:
    tree, flood = Dissemination(), Dissemination()
    for one in (tree, flood):
        one.published("m", "a", 0, 100, 3)
        one.delivered("m", "a", 0)
        for host, sender in (("b", "a"), ("c", "b")):
            assert one.received("m", host, sender)
            one.delivered("m", host, 7)
    assert not flood.received("m", "c", "a")
    assert not flood.received("m", "b", "c")
    (small,), (large,) = list(tree), list(flood)
    assert (small.rmr, large.rmr) == (0.0, 1.0)
    assert (small.last_hop, small.last_delivery, small.reliability) == (2, 7, 1.0)


def test_what_nobody_published_is_not_counted() -> None:
    spread = Dissemination()
    assert not spread.received("m", "a", "b")
    assert spread.delivered("m", "a", 1) is None
    assert list(spread.figures()) == []


def test_the_group_of_partial_views_is_what_is_connected() -> None:
    group = MemberGroup(partial=True)
    for name in "abcd":
        group.started(name, 0)
    group.believes("a", 1, (), ("b",), ())
    group.believes("c", 1, (), ("d",), ())
    assert group.view("a") == group.view("b") != group.view("c")
    assert group.view("a")[0] == 2
    group.believes("b", 2, (), ("a", "c"), ())
    assert {group.view(name)[0] for name in "abcd"} == {4}
    group.ended("c", 3)
    assert group.view("d")[0] == 1


@pytest.mark.parametrize("size", [0, 250])
def test_traffic_is_counted_for_a_member_and_second(size: int) -> None:
    group = group_of("a", "b")
    for _ in range(5):
        group.sends("a", "Ping", size)
    assert figures(group)["messages_per_member_s"] == pytest.approx(0.25)
    assert figures(group)["bytes_per_member_s"] == pytest.approx(size / 4)
