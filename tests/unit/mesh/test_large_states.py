"""States that are larger than a message go in parts: each is valid, one at a time is under way, all arrive."""

from collections import deque
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.effects import Broadcast, Effect, SendTcp
from overlay.env import MILLISECOND, SECOND
from overlay.mesh.topology import Topology
from overlay.replicated import origin_state, parts
from overlay.replicated.gossip import Gossip
from overlay.replicated.origin_map import OriginMap
from overlay.wire.codec import MAX_MESSAGE, Delta, decode_message, encode_message
from overlay.wire.envelopes import News
from overlay.wire.origins import NameValue, OriginDelta
from overlay.wire.topology import PeerRecord, TopologyDelta

ORIGINS = ("o1", "o2", "o3", "o4")


class Peers:
    """Two peers with one origin map each, and the messages between them, encoded and decoded, in order."""

    def __init__(self, connect: bool = True) -> None:
        self.maps = {name: OriginMap("dns", name, 1) for name in "ab"}
        self.gossip = {
            name: Gossip([channel], Random(1), 15 * SECOND, MILLISECOND) for name, channel in self.maps.items()
        }
        self.now = 0
        self.sizes: list[int] = []
        self.under_way: deque[tuple[str, object]] = deque()
        self.most_under_way = 0
        if connect:
            self.connect()

    def connect(self) -> None:
        for name, other in ("ab", "ba"):
            self.carry(name, self.gossip[name].add_neighbour(other, 1, True, self.now, asks=name == "b"))

    def carry(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendTcp):
                data = encode_message(effect.message)
                assert len(data) <= MAX_MESSAGE
                self.sizes.append(len(data))
                self.under_way.append(("ba"[name == "b"], decode_message(data)))
        self.most_under_way = max(self.most_under_way, sum(isinstance(m, News) for _, m in self.under_way))

    def settle(self, seconds: int = 40) -> int:
        """Deliver everything, wake both, until nothing is left to do; returns the number of messages."""
        count = 0
        until = self.now + seconds * SECOND
        while self.now < until:
            while self.under_way:
                to, message = self.under_way.popleft()
                count += 1
                assert count < 500, "they never end"
                self.carry(to, self.gossip[to].receive("ab"[to == "a"], cast(Any, message), self.now))
            self.now += 50 * MILLISECOND
            for name in "ab":
                self.carry(name, self.gossip[name].wake(self.now))
        return count

    @property
    def agree(self) -> bool:
        return self.maps["a"].digest() == self.maps["b"].digest()


def big(origin: str, entries: int, size: int, uid: int = 1) -> OriginDelta:
    """A state of an origin."""
    source = OriginMap("dns", origin, uid)
    delta = source.change_all({f"k{n}": NameValue("x" * size, "10.0.0.1", "c") for n in range(entries)})
    assert delta is not None
    return delta


def test_four_origins_of_twelve_mebibytes_reach_a_new_neighbour() -> None:
    peers = Peers(connect=False)
    for origin in ORIGINS:
        peers.maps["a"].merge(big(origin, 200, 60_000), 0)
    peers.connect()
    peers.settle(1)
    assert peers.agree and sum(peers.sizes) > MAX_MESSAGE
    assert peers.most_under_way == 1


def test_changes_that_are_too_many_to_be_pushed_are_requested() -> None:
    peers = Peers()
    peers.settle(1)
    peers.sizes.clear()
    for origin in ORIGINS:
        news, _ = peers.maps["a"].merge(big(origin, 200, 60_000), 0)
        assert news is not None
        peers.gossip["a"].broadcast("dns", news, peers.now)
    peers.settle(1)
    assert peers.agree and sum(peers.sizes) > MAX_MESSAGE


def test_what_no_message_can_carry_is_reported_and_the_rest_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, bytes_ in (("PART", 10_000), ("WHOLE", 40_000), ("LARGEST", 50_000)):
        monkeypatch.setattr(parts, limit, bytes_)
    peers = Peers(connect=False)
    peers.maps["a"].merge(big("o1", 1, 60_000), 0)
    for origin in ORIGINS[1:]:
        peers.maps["a"].merge(big(origin, 100, 100), 0)
    peers.connect()
    peers.settle(1)
    assert [origin for origin, _, _ in peers.maps["b"].vector().known] == ["o2", "o3", "o4"]
    assert peers.gossip["a"].conflicts == {("b", "dns"): "the entries of o1 are too large for a message"}


def test_a_state_of_one_origin_that_is_too_large_goes_by_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "WHOLE", 40_000)
    monkeypatch.setattr(parts, "PART", 10_000)
    peers = Peers(connect=False)
    peers.maps["a"].merge(big("o1", 1000, 100), 0)
    peers.connect()
    peers.settle(1)
    assert peers.agree and sum(size > 5_000 for size in peers.sizes) >= 10 and max(peers.sizes) < 41_000


def test_parts_that_are_not_taken_are_not_sent_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 10_000)
    peers = Peers(connect=False)
    for origin in ORIGINS:
        delta = big(origin, 100, 100)
        peers.maps["a"].merge(delta, 0)
        if origin in ORIGINS[:2]:  # b has forgotten these, and sets them aside until they are reachable
            peers.maps["b"].merge(delta, 0)
            peers.maps["b"].forget(origin)
    peers.connect()
    assert peers.settle(1) < 20
    assert [origin for origin, _, _ in peers.maps["b"].vector().known] == ["o3", "o4"]


def test_records_of_the_topology_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 500)
    topology, other = Topology("own", "n", 1), Topology("other", "n", 1)
    records = tuple(PeerRecord(f"p{n:03}", 1, 1, "name", ()) for n in range(100))
    topology.merge(TopologyDelta(records), 0)
    delta = topology.missing(other.vector())
    assert delta is not None
    place, count = None, 0
    while True:
        part, place, _ = parts.part_of(delta, place)
        assert isinstance(part, TopologyDelta)
        other.merge(part, 0)
        count += 1
        if place is None:
            break
    assert count > 3 and {name for name, _, _ in topology.vector().known} <= {n for n, _, _ in other.vector().known}


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "remove", "remove", "look", "gap"]), st.integers(0, 9)),
    min_size=1,
    max_size=60,
)


def test_a_name_whose_tombstone_is_dropped_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_state, "MAX_TOMBSTONES", 2)
    monkeypatch.setattr(parts, "WHOLE", 10)
    monkeypatch.setattr(parts, "PART", 60)
    source, late = OriginMap("dns", "x", 1), OriginMap("dns", "late", 1)
    for number in range(10):
        late.merge(source.put(f"k{number}", NameValue(f"n{number}", "10.0.0.1", "c")), 0)
    for number in range(5, 10):
        assert source.remove(f"k{number}")
    for number in range(10, 20):
        source.put(f"k{number}", NameValue(f"n{number}", "10.0.0.1", "c"))
    whole, place, count = source.missing(late.vector()), None, 0
    assert whole is not None and isinstance(whole, OriginDelta) and whole.states[0].since == 0
    while count == 0 or place is not None:
        part, place, _ = parts.part_of(whole, place)
        assert part is not None
        late.merge(part, 0)
        count += 1
    assert count > 3 and late.digest() == source.digest()
    assert dict(late.entries_of("x")) == dict(source.entries_of("x"))


@given(STEPS, st.integers(60, 400), st.integers(1, 120))
@settings(max_examples=150, deadline=None)
def test_all_parts_come_to_the_same_as_the_whole(steps: list[tuple[str, int]], part: int, largest: int) -> None:
    """Whatever a peer had before, with tombstones dropped, pieces ahead of gaps, and states cut by versions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(origin_state, "MAX_TOMBSTONES", 1)
        patch.setattr(parts, "PART", part)
        sources = {name: OriginMap("dns", name, 1) for name in ("x", "y")}
        full, early, late = (OriginMap("dns", owner, 1) for owner in ("full", "early", "late"))
        for number, (what, key) in enumerate(steps):
            source = sources["xy"[key == 9]]
            delta: Delta | None = None
            if what == "put":
                delta = source.put(f"k{key}", NameValue(f"n{number}", "10.0.0.1", "c"))
            elif what == "remove":
                delta = source.remove(f"k{key}")
            elif what == "look":
                whole = full.missing(late.vector())
                if whole is not None:
                    late.merge(whole, 0)
            elif what == "gap":
                delta = source.put(f"g{key}", NameValue(f"n{number}", "10.0.0.1", "c"))
                continue  # this one is lost, so the next ones are ahead of a gap
            if delta is not None:
                full.merge(delta, 0)
        whole = full.missing(early.vector())
        if whole is None:
            return
        early.merge(whole, 0)
        patch.setattr(parts, "WHOLE", largest)
        whole = full.missing(late.vector())
        if whole is None:
            return
        place = None
        while True:
            piece, place, too_large = parts.part_of(whole, place)
            assert not too_large and piece is not None
            effects = late.merge(piece, 0)[1]
            assert not [effect for effect in effects if isinstance(effect, Broadcast)]
            late.check_invariants()
            if place is None:
                break
        assert late.digest() == early.digest() and late.vector() == early.vector()
        for origin in ("x", "y"):
            assert dict(late.entries_of(origin)) == dict(early.entries_of(origin))
