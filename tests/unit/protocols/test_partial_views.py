"""One member of HyParView with Plumtree by itself: views of bounded size, pruned and grafted links."""

from typing import Any

from lab.protocols import SECOND, Believe, Broken, Delivered, Effect, Joined, Published, Random, Received, Send, Wake
from lab.protocols.hyparview import AskNeighbour, Disconnect, ForwardJoin, Join, NeighbourReply, Shuffle, ShuffleReply
from lab.protocols.plumtree import IHave, Payload, Plumtree, TreeGraft, TreePrune

OPTIONS: dict[str, Any] = {
    **Plumtree.defaults,
    "shuffle": 10 * SECOND,
    "lazy-delay": SECOND // 20,
    "graft-timeout": SECOND // 2,
    "graft-again": SECOND // 4,
}


def member(*neighbours: str, **options: Any) -> Plumtree:
    """Member `me` with these in its active view, all eager."""
    tree = Plumtree("me", Random(1), OPTIONS | options)
    for name in neighbours:
        tree.handle(Received(name, Join()), 0)
    return tree


def sent(effects: list[Effect], kind: type) -> dict[str, Any]:
    """Receiver -> message, of one kind."""
    return {one.to: one.message for one in effects if isinstance(one, Send) and isinstance(one.message, kind)}


def believed(effects: list[Effect]) -> Believe:
    (found,) = [effect for effect in effects if isinstance(effect, Believe)]
    return found


def test_a_full_active_view_drops_one_for_who_joins() -> None:
    tree = member("a", "b", "c", "d", "e")
    effects = tree.handle(Received("f", Join()), 1)
    (dropped,) = sent(effects, Disconnect)
    assert set(believed(effects).neighbours) == {"a", "b", "c", "d", "e", "f"} - {dropped}
    assert set(sent(effects, ForwardJoin)) == {"a", "b", "c", "d", "e"} - {dropped}
    assert sent(effects, NeighbourReply)["f"].accepted


def test_a_walk_ends_as_a_neighbour_and_leaves_a_trace_on_its_way() -> None:
    tree = member("a", "b")
    (to, forwarded), *_ = sent(tree.handle(Received("a", ForwardJoin("new", 3)), 1), ForwardJoin).items()
    assert (to, forwarded.member, forwarded.ttl) == ("b", "new", 2)
    assert "new" in tree._views.passive
    assert sent(tree.handle(Received("a", ForwardJoin("other", 0)), 1), AskNeighbour)["other"].high


def test_a_broken_neighbour_is_replaced_from_the_passive_view() -> None:
    tree = member("a")
    tree.handle(Received("x", ShuffleReply(("p", "q"))), 1)
    asked = sent(tree.handle(Broken("a", "connection reset"), 2), AskNeighbour)
    ((first, request),) = asked.items()
    assert first in ("p", "q")
    assert request.high  # nobody else is left
    refused = sent(tree.handle(Received(first, NeighbourReply(False)), 3), AskNeighbour)
    assert set(refused) == {"p", "q"} - {first}
    (second,) = refused
    assert believed(tree.handle(Received(second, NeighbourReply(True)), 4)).neighbours == (second,)


def test_views_keep_their_size_and_never_hold_the_member_itself() -> None:
    tree = member("a", passive=5)
    tree.handle(Received("a", Shuffle("far", ("me", "a", *"ghijklmnop"), 1)), 1)
    assert len(tree._views.passive) == 5
    assert not {"me", "a"} & set(tree._views.passive)


def test_payload_goes_to_eager_neighbours_and_names_to_lazy_ones() -> None:
    tree = member("a", "b", "c")
    tree.handle(Received("b", TreePrune()), 1)
    effects = tree.handle(Published("m", 100), 2)
    assert set(sent(effects, Payload)) == {"a", "c"}
    assert Delivered("m") in effects
    assert sent(tree.handle(Wake(), 2 + SECOND // 20), IHave)["b"].ids == (("m", 0),)


def test_a_second_copy_prunes_the_link() -> None:
    tree = member("a", "b")
    tree.handle(Received("a", Payload("m", 0, 100)), 1)
    effects = tree.handle(Received("b", Payload("m", 0, 100)), 2)
    assert set(sent(effects, TreePrune)) == {"b"}
    assert believed(effects).tree == ("a",)
    assert Delivered("m") not in effects


def test_flooding_prunes_nothing() -> None:
    tree = member("a", "b", tree=False)
    tree.handle(Received("a", Payload("m", 0, 100)), 1)
    assert not tree.handle(Received("b", Payload("m", 0, 100)), 2)


def test_a_name_without_its_payload_grafts_the_link_and_then_the_next() -> None:
    tree = member("a", "b", "c")
    for name in ("b", "c"):
        tree.handle(Received(name, TreePrune()), 1)
        tree.handle(Received(name, IHave((("m", 1),))), 1)
    first = tree.handle(Wake(), 1 + SECOND // 2)
    assert sent(first, TreeGraft)["b"].id == "m"
    assert "b" in believed(first).tree
    again = tree.handle(Wake(), 1 + SECOND // 2 + SECOND // 4)
    assert set(sent(again, TreeGraft)) == {"c"}


def test_a_graft_is_answered_with_the_payload() -> None:
    tree = member("a", "b")
    tree.handle(Received("a", Payload("m", 4, 100)), 1)
    tree.handle(Received("b", TreePrune()), 2)
    assert sent(tree.handle(Received("b", TreeGraft("m")), 3), Payload)["b"] == Payload("m", 5, 100)


def test_a_much_shorter_way_takes_the_place_of_a_long_one() -> None:
    tree = member("a", "b", threshold=3)
    tree.handle(Received("b", TreePrune()), 1)
    tree.handle(Received("b", IHave((("m", 1),))), 1)
    effects = tree.handle(Received("a", Payload("m", 8, 100)), 2)
    assert (set(sent(effects, TreeGraft)), set(sent(effects, TreePrune))) == ({"b"}, {"a"})
    assert believed(effects).tree == ("b",)


def test_who_joins_asks_its_contact_on_a_connection() -> None:
    (effect,) = [one for one in Plumtree("me", Random(1), OPTIONS).handle(Joined(("a",)), 0) if type(one) is Send]
    assert (effect.to, type(effect.message), effect.reliable) == ("a", Join, True)
