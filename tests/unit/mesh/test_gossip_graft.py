"""When a lazy link becomes one of the tree: when it brought news that the tree did not, and not on a mere suspicion."""

from random import Random

from overlay.effects import Effect, SendTcp
from overlay.env import MILLISECOND, SECOND
from overlay.mesh.envelopes import DigestKind, Digests, Graft, News
from overlay.mesh.gossip import GRAFT_DELAY, GRAFT_HOPS, Gossip
from overlay.mesh.messages import PeerRecord, TopologyDelta
from overlay.mesh.topology import Topology

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
    effects = gossip.wake(SECOND + GRAFT_DELAY + GRAFT_HOPS * FLUSH_DELAY)
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
