"""When a lazy link becomes one of the tree: when it brought news that the tree did not, and not on a mere suspicion."""

from random import Random
from typing import Any, cast

from overlay.effects import Effect, SendTcp
from overlay.env import MILLISECOND, SECOND
from overlay.mesh.topology import Topology
from overlay.replicated.gossip import Gossip
from overlay.tuning import STANDARD
from overlay.wire.envelopes import DigestKind, Digests, Graft, News, Want
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyVector

FLUSH_DELAY = 2 * MILLISECOND


def lazy_and_eager() -> tuple[Gossip, Topology]:
    """The gossip of a peer with an eager neighbour `e` (connection 1) and a lazy one `l` (2)."""
    topology = Topology("own", "n", 1)
    gossip = Gossip([topology], Random(1), 15 * SECOND, FLUSH_DELAY)
    gossip.add_neighbour("e", 1, True, 0)
    gossip.add_neighbour("l", 2, False, 0)
    assert gossip.eager == ("e",)
    return gossip, topology


def sent(effects: list[Effect], kind: type) -> list[tuple[int, object]]:
    return [(e.conn, e.message) for e in effects if isinstance(e, SendTcp) and isinstance(e.message, kind)]


def test_a_digest_that_differs_is_asked_about_and_not_grafted() -> None:
    gossip, topology = lazy_and_eager()
    gossip.receive("l", Digests(DigestKind.ANNOUNCE, (("topology", 12345),)), SECOND)
    effects = gossip.wake(SECOND + STANDARD.graft_delay + STANDARD.graft_hops * FLUSH_DELAY)
    assert sent(effects, Graft) == []
    assert sent(effects, Digests) == [(2, Digests(DigestKind.ROUND, (("topology", topology.digest()),)))]
    assert gossip.eager == ("e",)


def test_an_answer_with_news_over_a_lazy_link_grafts_it() -> None:
    gossip, _ = lazy_and_eager()
    news = News((("topology", TopologyDelta((PeerRecord("x", 1, 1, "x", ()),))),), answer=True)
    effects = gossip.receive("l", news, SECOND)
    assert [conn for conn, _ in sent(effects, Graft)] == [2]
    assert gossip.eager == ("e", "l")


def test_an_answer_without_news_does_not() -> None:
    gossip, topology = lazy_and_eager()
    topology.merge(TopologyDelta((PeerRecord("x", 1, 1, "x", ()),)), 0)
    known = News((("topology", TopologyDelta((topology.records["x"],))),), answer=True)
    assert sent(gossip.receive("l", known, SECOND), Graft) == []
    assert gossip.eager == ("e",)


def test_digests_are_announced_once_the_changes_are_over_and_in_time_if_they_never_are() -> None:
    for changes, expected in (((0, 40), 40 + 50), (tuple(range(0, 400, 40)), 200)):
        gossip, topology = lazy_and_eager()
        announced = []
        for at in range(500):
            now = at * MILLISECOND
            if at in changes:
                topology.merge(TopologyDelta((PeerRecord("x", 1, at + 1, "x", ()),)), now)
                gossip.broadcast("topology", TopologyDelta((topology.records["x"],)), now)
            announced += [at for conn, _ in sent(gossip.wake(now), Digests) if conn == 2]
        assert announced[0] == expected, changes


def test_who_is_asked_with_a_vector_asks_back_for_what_it_has_shown_and_nothing_else() -> None:
    gossip, topology = lazy_and_eager()
    topology.merge(TopologyDelta((PeerRecord("x", 1, 1, "x", ()), PeerRecord("y", 1, 5, "y", ()))), 0)
    vector = TopologyVector((("own", 1, 1), ("x", 1, 2), ("y", 1, 4), ("z", 1, 1)))
    effects = gossip.receive("l", Want("topology", vector, True), SECOND)
    assert [cast(Any, news).items[0][1].records for _, news in sent(effects, News)] == [(topology.records["y"],)]
    asked = Want("topology", TopologyVector((("x", 1, 1), ("z", 0, 0))), False, True)
    assert sent(effects, Want) == [(2, asked)]
    same = Want("topology", TopologyVector((("own", 1, 1), ("x", 1, 1))), True)
    assert sent(gossip.receive("e", same, 3 * SECOND), Want) == []


def test_a_difference_that_no_vector_shows_is_asked_about_in_full() -> None:
    gossip, topology = lazy_and_eager()
    effects = gossip.receive("l", Want("topology", topology.vector(), True), SECOND)
    assert sent(effects, Want) == [(2, Want("topology", topology.vector(), False))]


def test_of_two_that_open_with_a_comparison_one_asks() -> None:
    topology = Topology("own", "n", 1)
    gossip = Gossip([topology], Random(1), 15 * SECOND, FLUSH_DELAY)
    opening = Digests(DigestKind.OPENING, (("topology", 12345),))
    for number, asks in enumerate((True, False)):
        name = f"peer{number}"
        gossip.add_neighbour(name, number, True, 0, asks=asks)
        assert len(sent(gossip.receive(name, opening, 0), Want)) == (0 if asks else 1)
    gossip.add_neighbour("lazy", 3, False, SECOND, asks=True)  # it has heard no opening from us
    assert len(sent(gossip.receive("lazy", opening, SECOND), Want)) == 1


def test_neighbours_to_which_the_same_news_go_share_one_message_and_what_was_asked_for_is_left_out() -> None:
    topology = Topology("own", "n", 1)
    gossip = Gossip([topology], Random(1), 15 * SECOND, FLUSH_DELAY)
    for conn, name in enumerate("abcd"):
        gossip.add_neighbour(name, conn, True, 0)
    for sender, name in (("a", "x"), ("b", "y")):
        gossip.receive(sender, News((("topology", TopologyDelta((PeerRecord(name, 1, 1, name, ()),))),)), SECOND)
    gossip.receive("d", Want("topology", topology.vector(), echo=False), SECOND)
    news = dict(sent(gossip.flush(), News))
    said = {conn: [record.name for record in cast(Any, each).items[0][1].records] for conn, each in news.items()}
    assert said == {0: ["y"], 1: ["x"], 2: ["x", "y"]}
    assert gossip.flush() == []
    for sender, name in (("a", "v"), ("b", "w")):
        gossip.receive(sender, News((("topology", TopologyDelta((PeerRecord(name, 1, 1, name, ()),))),)), SECOND)
    news = dict(sent(gossip.flush(), News))
    assert news[2] is news[3] and len({id(each) for each in news.values()}) == 3
