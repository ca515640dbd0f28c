"""Links as data: limits, what they ask for, how a table resolves for a pair."""

import pytest

from lab.links import Burst, Distribution, Link, Links


def test_the_default_is_perfect_and_sound() -> None:
    assert Link().perfect
    assert Link().asks() == ()
    assert list(Link().faults()) == []


def test_a_link_says_what_it_asks_for_in_order() -> None:
    link = Link(rate=8_000, delay=1_000_000, loss=0.01)
    assert link.asks() == ("delay", "loss", "rate")
    assert link.timed
    assert not Link(rate=8_000, loss=0.5, mtu=1200).timed
    assert Link(burst=Burst(enter=0.1, leave=0.5)).timed


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (Link(loss=1.5), "loss is 1.5, expected a probability"),
        (Link(corrupt=-0.1), "corrupt is -0.1"),
        (Link(burst=Burst(enter=2, leave=0.1)), "burst.enter is 2"),
        (Link(rate=-1), "rate is -1, expected 0 or more"),
        (Link(delay=5, jitter=6), "jitter (6 ns) exceeds delay (5 ns)"),
        (Link(reorder=0.1), "reorder needs a delay"),
        (Link(mtu=500), "mtu is 500, expected at least 576"),
    ],
)
def test_values_that_make_no_sense_are_named(link: Link, words: str) -> None:
    (fault,) = link.faults()
    assert words in fault


def test_a_pair_overrides_the_default_in_its_direction_only() -> None:
    links = Links(Link(loss=0.1), {("a", "b"): Link(delay=1, distribution=Distribution.NORMAL)})
    assert links.between("a", "b").delay == 1
    assert links.between("b", "a") == links.default
    assert links.between("a", "a").perfect
    pairs = [(sender, receiver) for sender, receiver, _ in links.impaired(["a", "b", "c"])]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]
    assert list(Links(pairs={("a", "b"): Link()}).impaired(["a", "b"])) == []
