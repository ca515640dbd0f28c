"""Changes over links: parameter by parameter, the last one wins, and taking one away restores the others."""

from hypothesis import given
from hypothesis import strategies as st

from lab.links import Link, Links
from lab.links.changes import ChangedLinks, LinkChange

AB, BA = ("a", "b"), ("b", "a")


def test_parameters_of_several_changes_hold_together() -> None:
    links = ChangedLinks(Links(Link(delay=5, loss=0.1)))
    assert links.set(1, LinkChange((AB, BA), {"loss": 0.5})) == {
        AB: Link(delay=5, loss=0.5),
        BA: Link(delay=5, loss=0.5),
    }
    assert links.set(2, LinkChange((AB,), {"loss": 0.0, "rate": 1000})) == {AB: Link(delay=5, rate=1000)}
    assert links.set(1, None) == {BA: Link(delay=5, loss=0.1)}
    assert links.set(2, None) == {AB: Link(delay=5, loss=0.1)}
    assert not links.any_changed


def test_a_change_that_is_set_again_keeps_its_place() -> None:
    links = ChangedLinks(Links())
    links.set(1, LinkChange((AB,), {"delay": 1}))
    links.set(2, LinkChange((AB,), {"delay": 2}))
    assert links.between(*AB).delay == 2
    assert links.set(1, LinkChange((AB,), {"delay": 3})) == {}
    assert links.set(2, None) == {AB: Link(delay=3)}


steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.none() | st.dictionaries(st.sampled_from(("delay", "rate", "mtu")), st.integers(0, 3), max_size=2),
        st.sets(st.sampled_from((AB, BA)), min_size=1),
    ),
    max_size=12,
)


@given(steps)
def test_what_is_told_to_have_changed_is_what_has_changed(done: list[tuple[int, dict[str, int] | None, set]]) -> None:
    links, seen = ChangedLinks(Links()), {AB: Link(), BA: Link()}
    for key, values, pairs in done:
        told = links.set(key, None if values is None else LinkChange(tuple(sorted(pairs)), values))
        assert all(seen[pair] != link for pair, link in told.items())
        seen |= told
        assert seen == {pair: links.between(*pair) for pair in (AB, BA)}
    for key in range(4):
        links.set(key, None)
    assert not links.any_changed and links.between(*AB) == Link()
