"""The replicated topology: merge laws, own records, namesakes, forgetting; and the routes that follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.env import SECOND
from overlay.errors import RemoteError
from overlay.mesh.routes import Routes
from overlay.mesh.topology import NAMESAKE_JUMPS, Topology, rank
from overlay.mesh.topology_entry import entry_of
from overlay.tuning import STANDARD
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink

NAMES = ("a", "b", "c", "d", "e")

links = st.lists(st.sampled_from(NAMES), unique=True, max_size=4).map(
    lambda peers: tuple(TopologyLink(peer, f"{peer}:1", True, peer != "b") for peer in sorted(peers))
)
records = st.builds(
    PeerRecord,
    name=st.sampled_from(NAMES),
    uid=st.integers(0, 2),
    version=st.integers(0, 3),
    nickname=st.sampled_from(["x", "y"]),
    links=links,
    gone=st.booleans(),
)
deltas = st.lists(records, max_size=6).map(
    lambda found: TopologyDelta(tuple({record.name: record for record in sorted(found, key=rank)}.values()))
)


def observer() -> Topology:
    """A topology that owns none of the names above."""
    return Topology("observer", "observer", 1)


def merged(*parts: TopologyDelta) -> Topology:
    topology = observer()
    for part in parts:
        topology.merge(part, 0)
        topology.check_invariants()
    return topology


@given(st.lists(deltas, max_size=4), st.randoms(use_true_random=False))
def test_merging_commutes_and_repeating_changes_nothing(parts: list[TopologyDelta], rng: object) -> None:
    shuffled = [*parts, *parts[:2]]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = merged(*parts), merged(*shuffled)
    assert one.records == other.records and one.digest() == other.digest()


@given(deltas, deltas, deltas)
def test_merging_is_associative(a: TopologyDelta, b: TopologyDelta, c: TopologyDelta) -> None:
    topology = observer()
    left = merged(topology.join(topology.join(a, b), c))
    right = merged(topology.join(a, topology.join(b, c)))
    assert left.records == right.records == merged(a, b, c).records


@given(deltas, deltas)
def test_news_is_exactly_what_was_new(first: TopologyDelta, second: TopologyDelta) -> None:
    topology = merged(first)
    before = dict(topology.records)
    news, _ = topology.merge(second, 0)
    assert {record.name for record in (news.records if news else ())} == {
        name for name, record in topology.records.items() if before.get(name) != record
    }
    assert topology.merge(second, 0)[0] is None


@given(records, records)
def test_what_a_record_changes_leads_from_the_links_before_to_its_own(one: PeerRecord, other: PeerRecord) -> None:
    before, after = entry_of(one), entry_of(other)
    for _ in range(2):
        change = after.relinked(before)
        name, lost, gained = change or (after.name, (), ())
        assert (change is None) == (before.linked == after.linked) and name == after.name
        assert set(lost) <= before.linked.keys() and not set(gained) & before.linked.keys()
        assert before.linked.keys() - set(lost) | set(gained) == after.linked.keys()
    assert after.relinked(None) == (after.name, (), tuple(after.linked))
    assert after.vanished() == (after.name, tuple(after.linked), ())
    assert after.record is other


@given(deltas, deltas)
def test_two_peers_that_send_each_other_what_is_missing_are_equal(a: TopologyDelta, b: TopologyDelta) -> None:
    # Two records of one rank that differ are nothing a peer makes: leave them to the merge laws.
    ranks = {(record.name, *rank(record)): record for record in a.records}
    b = TopologyDelta(tuple(ranks.get((record.name, *rank(record)), record) for record in b.records))
    one, other = Topology("observer", "n", 1), Topology("other", "n", 1)
    one.merge(a, 0)
    other.merge(b, 0)
    vector = one.vector()
    asked = other.lacking(vector)
    for taker, missing in (
        (one, other.missing(vector)),
        (other, one.missing(asked, named=True) if asked is not None else None),
    ):
        if missing is not None:
            taker.merge(missing, 0)
            assert asked is None or taker is one or len(asked.known) == len(missing.records)
    assert one.records == other.records and one.digest() == other.digest()
    assert one.missing(other.vector()) is None and one.lacking(other.vector()) is None


def test_a_peer_jumps_past_what_is_left_of_its_earlier_life() -> None:
    topology = Topology("a", "n", 5)
    news, effects = topology.merge(TopologyDelta((PeerRecord("a", 9, 40, "old", (), gone=True),)), 0)
    assert (news, effects) == (None, [])
    delta = topology.publish(0)
    assert delta is not None and rank(delta.records[0]) == (10, 1) and topology.uid == 10
    assert topology.publish(0) is None and topology.namesake == ""


def test_two_live_namesakes_jump_ever_more_rarely() -> None:
    one, other = Topology("a", "one", 1), Topology("a", "other", 2)
    now, jumps = 0, 0
    while now < 600 * SECOND:
        for mine, theirs in ((one, other), (other, one)):
            mine.merge(TopologyDelta((theirs.records["a"],)), now)
            jumps += mine.publish(now) is not None
        now += SECOND // 10
    assert NAMESAKE_JUMPS < jumps < 40
    assert one.namesake and other.namesake


@pytest.mark.parametrize(
    "record",
    [
        PeerRecord("b", 1, 1, "n", (TopologyLink("d", "d:1", True, True), TopologyLink("c", "c:1", True, True))),
        PeerRecord("b", 1, 1, "n", (TopologyLink("c", "c:1", True, True), TopologyLink("c", "c:1", True, True))),
        PeerRecord("", 1, 1, "n", ()),
        PeerRecord("x" * 65, 1, 1, "n", ()),
    ],
)
def test_a_malformed_record_changes_nothing(record: PeerRecord) -> None:
    topology = observer()
    digest = topology.digest()
    with pytest.raises(RemoteError):
        topology.merge(TopologyDelta((PeerRecord("a", 1, 1, "n", ()), record)), 0)
    assert topology.digest() == digest


def test_a_foreign_record_with_the_highest_uid_is_refused() -> None:
    topology = Topology("a", "n", 1)
    with pytest.raises(RemoteError):
        topology.merge(TopologyDelta((PeerRecord("a", 2**62, 1, "n", ()),)), 0)


def test_what_was_forgotten_waits_in_limbo_until_a_link_leads_to_it() -> None:
    topology = Topology("a", "n", 1)
    lost = PeerRecord("b", 1, 7, "n", (TopologyLink("c", "c:1", True, True),))
    topology.merge(TopologyDelta((lost,)), 0)
    topology.note_reachable({"a": "a"}, 0)
    assert topology.forget(10, 9) == []
    assert topology.forget(10, 10) == ["b"]
    digest = topology.digest()
    assert topology.merge(TopologyDelta((lost,)), 11)[0] is None
    assert topology.digest() == digest and topology.promote({"a": "a"}) is None
    found = PeerRecord("c", 1, 1, "n", (TopologyLink("a", "a:1", True, True), TopologyLink("b", "b:1", True, True)))
    assert topology.merge(TopologyDelta((found,)), 12)[0] is not None
    assert topology.promote({"a": "a", "c": "c"}) == TopologyDelta((lost,))
    topology.check_invariants()


def test_a_forgotten_peer_with_news_of_its_own_is_no_stranger() -> None:
    topology = Topology("a", "n", 1)
    topology.merge(TopologyDelta((PeerRecord("b", 1, 7, "n", ()),)), 0)
    topology.note_reachable({"a": "a"}, 0)
    topology.forget(10, 10)
    assert topology.merge(TopologyDelta((PeerRecord("b", 1, 8, "n", ()),)), 11)[0] is not None


def test_a_vector_of_another_channel_is_the_senders_fault() -> None:
    with pytest.raises(RemoteError):
        observer().merge(OriginDelta(()), 0)
    with pytest.raises(RemoteError):
        observer().missing(OriginVector(()))


def network(*pairs: str, one_sided: tuple[str, ...] = ()) -> TopologyDelta:
    """Records of the peers in pairs such as "ab"; each pair is linked, those of `one_sided` only from the first."""
    found: dict[str, set[str]] = {}
    for first, second in map(tuple, pairs):
        found.setdefault(first, set()).add(second)
        found.setdefault(second, set()).add(first)
    for first, second in map(tuple, one_sided):
        found.setdefault(first, set()).add(second)
    return TopologyDelta(
        tuple(
            PeerRecord(
                name, 1, 1, "n", tuple(TopologyLink(peer, f"{peer}:1", True, True) for peer in sorted(found[name]))
            )
            for name in sorted(found)
        )
    )


def routes(own: str, delta: TopologyDelta) -> Routes:
    topology = Topology(own, "n", 0)
    topology.merge(delta, 0)
    mine = [record for record in delta.records if record.name == own]
    topology.set_links(mine[0].links if mine else (), 0)
    topology.publish(0)
    found = Routes(topology)
    found.refresh()
    return found


def test_routes_follow_symmetric_links_only() -> None:
    found = routes("a", network("ab", "bc", "de", one_sided=("cd", "ae")))
    assert found.reachable == ("a", "b", "c")
    assert (found.next_hop("c"), found.next_hop("b"), found.next_hop("d")) == ("b", "b", None)
    assert not found.reaches_without_link("b")


graphs = st.sets(st.sampled_from([a + b for a in "abcdefg" for b in "abcdefg" if a < b]), min_size=1)


@given(graphs)
def test_a_broadcast_reaches_every_reachable_peer_exactly_once(pairs: set[str]) -> None:
    delta = network(*sorted(pairs))
    tables = {record.name: routes(record.name, delta) for record in delta.records}
    for source, table in tables.items():
        reached = [source]
        for relay in table.reachable:
            reached += tables[relay].broadcast_next_hops(source)
        assert sorted(reached) == list(table.reachable)
        for destination in table.reachable:
            at, hops = source, 0
            while at != destination:
                at = tables[at].next_hop(destination) or ""
                hops += 1
                assert hops <= len(tables)


def test_a_spare_link_is_published_later_and_with_an_urgent_one_at_once() -> None:
    topology = observer()
    spare, urgent = TopologyLink("a", "10.0.0.1:1", True, True), TopologyLink("b", "10.0.0.2:1", True, True)
    topology.set_links((spare,), SECOND, urgent=False)
    assert topology.publish_due() == SECOND + STANDARD.publish_spare_pause
    assert topology.publish(SECOND) is None
    topology.set_links((spare, urgent), SECOND + 1)
    assert topology.publish_due() == SECOND + 1
    published = topology.publish(SECOND + 1)
    assert published is not None and published.records[0].links == (spare, urgent)
    topology.set_links((urgent,), 2 * SECOND, urgent=False)
    published = topology.publish(2 * SECOND + STANDARD.publish_spare_pause)
    assert published is not None and published.records[0].links == (urgent,)
