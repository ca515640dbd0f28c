"""Laws of the origin map: whatever order, doubling and loss does to deltas, anti-entropy makes all copies equal."""

import contextlib
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.effects import Broadcast, Notify
from overlay.env import SECOND
from overlay.errors import RemoteError
from overlay.inputs import OriginChanged
from overlay.replicated import origin_state
from overlay.replicated.origin_map import OriginMap
from overlay.wire.origins import NameValue, OriginDelta, OriginEntry, OriginState, OriginVector, Value

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
KEYS = ["k0", "k1", "k2", "k3"]


def value(text):
    return NameValue(f"{text}.weave.local.", "10.0.0.1", text)


def holder(value: Value | None) -> str:
    assert isinstance(value, NameValue)
    return value.container


def whole_of(held: OriginMap) -> OriginDelta:
    """What a peer that has nothing would get."""
    delta = held.missing(OriginVector(()))
    assert delta is not None
    return delta


def live(held, *origins):
    return {(o, k): v.container for o, k, v in held.live_entries(origins)}


def sync(one, two):
    """One round of anti-entropy in both directions."""
    for source, target in ((one, two), (two, one)):
        delta = source.missing(target.vector())
        if delta is not None:
            target.merge(msgspec.msgpack.decode(msgspec.msgpack.encode(delta), type=OriginDelta), 0)


def meet(one, two):
    """The same in three messages: a vector, what its sender lacks, and a question for what the vector named."""
    asked = two.lacking(one.vector())
    for target, delta in (
        (one, two.missing(one.vector())),
        (two, one.missing(asked, named=True) if asked is not None else None),
    ):
        if delta is not None:
            target.merge(msgspec.msgpack.decode(msgspec.msgpack.encode(delta), type=OriginDelta), 0)
    return asked


@st.composite
def histories(draw):
    """An origin's copy after a random life (restarts included) and all deltas it ever broadcast."""
    uid = draw(st.integers(1, 3))
    source = OriginMap("dns", A, uid)
    deltas = []
    for n, (key, act) in enumerate(
        draw(
            st.lists(
                st.tuples(st.sampled_from(KEYS), st.sampled_from(["put", "put", "remove", "restart"])), max_size=14
            )
        )
    ):
        if act == "restart" and n % 3 == 0:
            uid += 1
            source = OriginMap("dns", A, uid)
            continue
        delta = source.put(key, value(f"v{n}")) if act != "remove" else source.remove(key)
        if delta is not None:
            deltas.append(delta)
        if n % 5 == 4 and (whole := source.missing(OriginVector(()))) is not None:
            deltas.append(whole)
    return source, deltas


@given(histories(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_with_doubles_and_losses_ends_equal(history, data):
    source, deltas = history
    one, two = OriginMap("dns", B, 1), OriginMap("dns", C, 1)
    if deltas:
        for copy in (one, two):
            for delta in data.draw(st.lists(st.sampled_from(deltas), max_size=2 * len(deltas))):
                copy.merge(delta, 0)
                copy.check_invariants()
    for _ in range(2):
        sync(one, two)
        sync(one, source)
        sync(two, source)
    for copy in (one, two):
        copy.check_invariants()
        assert live(copy, A) == live(source, A)
        assert copy.digest() == source.digest()
        assert copy.missing(source.vector()) is None


@given(histories(), st.data())
@settings(max_examples=150, deadline=None)
def test_merge_commutes_and_repeats_harmlessly(history, data):
    _, deltas = history
    if not deltas:
        return
    chosen = data.draw(st.lists(st.sampled_from(deltas), max_size=6))
    one, two = OriginMap("dns", B, 1), OriginMap("dns", B, 1)
    for delta in chosen:
        one.merge(delta, 0)
    for delta in data.draw(st.permutations(chosen + chosen)):
        two.merge(delta, 0)
    assert live(one, A) == live(two, A)
    assert one.digest() == two.digest()


@given(histories(), st.data())
@settings(max_examples=150, deadline=None)
def test_joined_deltas_say_what_each_says(history, data):
    _, deltas = history
    if not deltas:
        return
    chosen = data.draw(st.lists(st.sampled_from(deltas), min_size=1, max_size=6))
    apart, together = OriginMap("dns", B, 1), OriginMap("dns", B, 1)
    joined = chosen[0]
    for delta in chosen:
        apart.merge(delta, 0)
        joined = together.join(joined, delta)
    together.merge(joined, 0)
    assert live(apart, A) == live(together, A)
    assert apart.digest() == together.digest()


@given(histories(), st.data())
@settings(max_examples=100, deadline=None)
def test_changes_keep_an_index_equal_to_the_map(history, data):
    _, deltas = history
    copy, index = OriginMap("dns", B, 1), dict[Any, Any]()
    if deltas:
        for delta in data.draw(st.lists(st.sampled_from(deltas), max_size=10)):
            for effect in copy.merge(delta, 0)[1]:
                assert isinstance(effect, Notify) and isinstance(effect.input, OriginChanged)
                for change in effect.input.changes:
                    assert index.get((change.origin, change.key)) == (change.old and holder(change.old))
                    if change.new is None:
                        del index[change.origin, change.key]
                    else:
                        index[change.origin, change.key] = holder(change.new)
    assert index == live(copy, A)


@given(histories(), st.data())
@settings(max_examples=100, deadline=None)
def test_news_is_enough_for_a_peer_that_had_the_same(history, data):
    _, deltas = history
    one, two = OriginMap("dns", B, 1), OriginMap("dns", C, 1)
    if deltas:
        for delta in data.draw(st.lists(st.sampled_from(deltas), max_size=8)):
            news, _ = one.merge(delta, 0)
            if news is not None:
                two.merge(news, 0)
            assert live(one, A) == live(two, A)
            assert one.term(A) == two.term(A)


def test_dropped_tombstones_send_the_whole_state(monkeypatch):
    monkeypatch.setattr(origin_state, "MAX_TOMBSTONES", 8)
    source, late = OriginMap("dns", A, 1), OriginMap("dns", B, 1)
    source.put("gone", value("gone"))
    source.put("kept", value("kept"))
    sync(source, late)
    source.remove("gone")
    for n in range(20):
        source.put(f"t{n}", value("t"))
        source.remove(f"t{n}")
        source.check_invariants()
    news = source.missing(late.vector())
    assert news is not None
    (state,) = news.states
    assert state.since == 0 and state.floor > 0
    sync(source, late)
    assert live(late, A) == {(A, "kept"): "kept"}
    assert late.digest() == source.digest()


def test_a_life_we_forgot_is_outdone_and_our_entries_published_again():
    old, friend = OriginMap("dns", A, 7), OriginMap("dns", B, 1)
    old.put("stale", value("stale"))
    friend.put("own", value("own"))
    sync(old, friend)
    for uid in (3, 7):  # an older number, and the very same one with other contents
        fresh = OriginMap("dns", A, uid)
        delta = fresh.put("fresh", value("fresh"))
        friend.merge(delta, 0)
        assert live(friend, A) == {(A, "stale"): "stale"}
        news, (_, effect) = fresh.merge(whole_of(friend), 0)
        assert news is not None and all(state.origin != A for state in news.states)
        assert isinstance(effect, Broadcast) and effect.channel == "dns"
        copy = OriginMap("dns", C, 1)
        sync(copy, friend)
        copy.merge(effect.delta, 0)
        assert live(copy, A) == {(A, "fresh"): "fresh"}
        fresh.check_invariants()


def test_a_forgotten_incarnation_stays_away_until_admitted():
    source, slow, quick = OriginMap("dns", A, 5), OriginMap("dns", B, 1), OriginMap("dns", C, 1)
    source.put("k", value("v"))
    sync(source, slow)
    sync(source, quick)
    (change,) = quick.forget(A)
    assert (holder(change.old), change.new) == ("v", None)
    assert quick.forget(A) == () and quick.forget(C) == ()
    sync(slow, quick)
    assert live(quick, A) == {}
    quick.admit(A)
    sync(slow, quick)
    assert live(quick, A) == {(A, "k"): "v"}
    quick.forget(A)
    reborn = OriginMap("dns", A, 6)
    reborn.put("k", value("w"))
    sync(reborn, quick)  # a new life needs no admission
    assert quick.vector().known[0] == (A, 6, 1)
    quick.check_invariants()


def test_who_has_nothing_says_so_only_to_end_an_earlier_life():
    source, old, late = OriginMap("dns", A, 2), OriginMap("dns", B, 1), OriginMap("dns", C, 1)
    assert source.digest() == 0 and source.vector().known == () and source.missing(OriginVector(())) is None
    former = OriginMap("dns", A, 1)
    former.put("k", value("v"))
    sync(former, old)
    sync(former, late)
    _, (effect,) = source.merge(cast(OriginDelta, old.missing(source.vector())), 0)
    assert isinstance(effect, Broadcast) and effect.channel == "dns"
    assert old.merge(effect.delta, 0)[0] == effect.delta  # it goes on to others who hold the earlier life
    assert live(old, A) == {} and old.digest() == source.digest() != 0
    sync(late, old)
    assert live(late, A) == {} and late.digest() == source.digest()
    assert source.merge(whole_of(former), 0) == (None, [])  # once is enough
    for copy in (source, old, late):
        copy.check_invariants()


@given(histories(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_vector_tells_also_what_to_ask_its_sender_for(history, data):
    source, deltas = history
    source.put("last", value("last"))
    one, two = OriginMap("dns", B, 1), OriginMap("dns", C, 1)
    one.put("b", value("b"))
    for copy in (one, two):
        for delta in data.draw(st.lists(st.sampled_from(deltas), max_size=6)) if deltas else ():
            copy.merge(delta, 0)
    meet(one, source)
    assert live(one, A) == live(source, A) and live(source, B) == live(one, B)
    asked = meet(source, two)
    assert {origin for origin, _, _ in asked.known} <= {A, B}
    assert live(two, A) == live(source, A) and live(two, B) == live(one, B)
    assert source.lacking(two.vector()) is None and two.lacking(source.vector()) is None


def test_all_that_came_of_a_forgotten_peer_is_there_when_it_is_admitted():
    source, copy = OriginMap("dns", A, 5), OriginMap("dns", B, 1)
    first = source.put("k", value("v"))
    copy.merge(first, 0)
    copy.forget(A)
    copy.retire(A)
    second, third = source.put("j", value("w")), source.put("k", value("x"))
    for delta in (third, first, second):
        assert copy.merge(delta, 0) == (None, [])
    assert live(copy, A) == {} and copy.term(A) == 0
    news, changes = copy.admit(A)
    assert news is not None
    copy.check_invariants()
    assert live(copy, A) == {(A, "k"): "x", (A, "j"): "w"}
    assert copy.term(A) == source.term(A)
    assert [(change.key, change.old) for change in changes] == [("j", None), ("k", None)]
    other = OriginMap("dns", C, 1)
    other.merge(news, 0)
    assert live(other, A) == live(copy, A)
    assert copy.admit(A) == (None, ())


def test_who_was_told_without_tombstones_does_not_send_as_if_it_had_them(monkeypatch):
    monkeypatch.setattr(origin_state, "MAX_TOMBSTONES", 4)
    source, relay, old = OriginMap("dns", A, 1), OriginMap("dns", B, 1), OriginMap("dns", C, 1)
    source.put("gone", value("gone"))
    sync(source, old)
    source.remove("gone")
    for n in range(8):
        source.put(f"t{n}", value("t"))
        source.remove(f"t{n}")
    sync(source, relay)  # the whole state, without the tombstone of "gone"
    sync(relay, old)
    assert live(old, A) == {} and old.term(A) == source.term(A)

    fresh = OriginMap("dns", C, 2)
    fresh.merge(OriginDelta((OriginState(A, 1, 1, 0, 0, (OriginEntry("gone", 1, value("gone")),)),)), 0)
    peer = OriginMap("dns", B, 2)
    peer.merge(whole_of(fresh), 0)
    news, _ = fresh.merge(cast(OriginDelta, source.missing(fresh.vector())), 0)
    assert news is not None
    peer.merge(news, 0)  # what is passed on of a whole state must stay whole
    assert live(peer, A) == {} and peer.term(A) == source.term(A)


def test_pieces_beyond_gaps_are_bounded_and_come_again(monkeypatch):
    monkeypatch.setattr(origin_state, "MAX_AHEAD", 3)
    source, copy = OriginMap("dns", A, 1), OriginMap("dns", B, 1)
    deltas = [source.put(f"k{n}", value(f"v{n}")) for n in range(20)]
    for delta in deltas[1::2]:
        copy.merge(delta, 0)
        copy.check_invariants()
    assert len(live(copy, A)) == 3
    sync(source, copy)
    assert live(copy, A) == live(source, A) and copy.term(A) == source.term(A)


def test_the_digest_of_the_reachable_follows_who_is():
    one, two = OriginMap("dns", A, 1), OriginMap("dns", B, 1)
    for held in (one, two):
        held.put("k", value("v"))
    sync(one, two)
    assert one.reachable_digest == one.term(A) != two.reachable_digest == two.term(B)
    one.admit(B)
    two.admit(A)
    assert one.reachable_digest == two.reachable_digest == one.digest()
    two.merge(one.put("l", value("w")), 0)
    assert one.reachable_digest == two.reachable_digest
    one.retire(B)
    one.retire(A)  # one always reaches oneself
    assert one.reachable_digest == one.term(A)


def test_a_live_namesake_is_answered_ever_more_slowly():
    ours = OriginMap("dns", A, 1)
    answers = 0
    uid = 2
    for now in range(0, 100 * SECOND, SECOND // 10):
        theirs = OriginMap("dns", A, uid)
        _, effects = ours.merge(theirs.put("k", value("theirs")), now)
        if effects:
            answers += 1
            uid = cast(Any, effects[0]).delta.states[0].uid + 1
    assert 5 <= answers <= 8


@pytest.mark.parametrize(
    "state",
    [
        OriginState(A, 0, 1, 0, 0, ()),
        OriginState(A, 1, 1, 2, 0, ()),
        OriginState(A, 1, 3, 2, 1, ()),
        OriginState(A, 1, 3, 0, 4, ()),
        OriginState(A, 1 << 63, 1, 0, 0, ()),
        OriginState(A, 1, 3, 0, 0, (OriginEntry("k", 2, None), OriginEntry("j", 2, None))),
        OriginState(A, 1, 3, 0, 0, (OriginEntry("k", 1, None), OriginEntry("k", 2, None))),
        OriginState(A, 1, 3, 0, 0, (OriginEntry("k", 4, None),)),
    ],
)
def test_a_malformed_state_is_the_senders_fault(state):
    copy = OriginMap("dns", B, 1)
    with pytest.raises(RemoteError):
        copy.merge(OriginDelta((state,)), 0)
    copy.check_invariants()
    assert copy.vector().known == ()


@given(
    st.lists(
        st.builds(
            OriginState,
            st.sampled_from([A, B]),
            st.integers(-1, 4),
            st.integers(-1, 6),
            st.integers(-1, 6),
            st.integers(-1, 3),
            st.lists(
                st.builds(OriginEntry, st.sampled_from(KEYS), st.integers(0, 6), st.none() | st.just(value("x"))),
                max_size=3,
            ).map(tuple),
        ),
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_hostile_states_break_no_invariant(states):
    copy = OriginMap("dns", B, 2)
    copy.put("mine", value("mine"))
    for state in states:
        with contextlib.suppress(RemoteError):
            copy.merge(OriginDelta((state,)), 0)
        copy.check_invariants()
        assert copy.get(B, "mine") == value("mine")
