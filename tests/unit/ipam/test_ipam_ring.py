"""The ring: merge laws, division, donation, takeover, and what a peer with a gap in its view must not believe."""

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.ipam.ring import CONSENSUS, SEED, TAKEOVER, Ring, better, divide, join_deltas, make_lineage
from overlay.wire.ring import Lineage, RingDelta, Token

SIZE = 64
DIGEST = 0xA2A054922F4A45C6
OWNERS = ("a", "b", "c")
LINEAGES = [make_lineage("r", kind, founders, 0) for kind in (CONSENSUS, SEED) for founders in (("a",), ("a", "b"))]


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    start = draw(st.integers(0, 7)) * 8
    last = draw(st.integers(start, SIZE - 1))
    versions = st.sampled_from((0, 1, 2, TAKEOVER, TAKEOVER + 1))
    return Token(start, last, draw(st.sampled_from(OWNERS)), draw(versions), draw(st.integers(0, 2)))


@st.composite
def deltas(draw: st.DrawFn) -> RingDelta:
    found = draw(st.lists(tokens(), max_size=6, unique_by=lambda token: token.start))
    return RingDelta("r", draw(st.sampled_from(LINEAGES)), tuple(sorted(found, key=lambda token: token.start)))


def ring_of(*received: RingDelta) -> Ring:
    ring = Ring("r", SIZE)
    for delta in received:
        ring.merge(delta.lineage, delta.tokens)
        ring.check_invariants()
    return ring


def state(ring: Ring) -> tuple[object, ...]:
    return ring.lineage, sorted(ring.tokens.items()), ring.digest, ring.vector()


@given(st.lists(deltas(), min_size=1, max_size=4))
def test_merging_is_commutative_and_idempotent(received: list[RingDelta]) -> None:
    expected = state(ring_of(*received))
    for order in permutations(received):
        assert state(ring_of(*order)) == expected
    assert state(ring_of(*received, *received)) == expected


@given(deltas(), deltas(), deltas())
def test_joining_deltas_first_says_the_same(one: RingDelta, two: RingDelta, three: RingDelta) -> None:
    expected = state(ring_of(one, two, three))
    assert state(ring_of(join_deltas(join_deltas(one, two), three))) == expected
    assert state(ring_of(join_deltas(one, join_deltas(two, three)))) == expected
    assert join_deltas(one, two) == join_deltas(two, one)


@given(st.lists(deltas(), min_size=1, max_size=3), st.lists(deltas(), max_size=3))
def test_anti_entropy_mends_any_difference_and_sends_only_that(left: list[RingDelta], right: list[RingDelta]) -> None:
    one, two = ring_of(*left), ring_of(*right)
    for target, source in ((one, two), (two, one)):
        missing = source.missing(target.vector())
        if missing is not None:
            news = target.merge(missing.lineage, missing.tokens)
            assert len(missing.tokens) - len(news) <= sum(
                token.start in target.tokens and target.tokens[token.start].version == token.version
                for token in missing.tokens
            )
    assert state(one) == state(two)
    assert one.missing(two.vector()) is None and two.missing(one.vector()) is None


@given(st.lists(deltas(), min_size=1, max_size=3), st.lists(deltas(), max_size=3))
def test_a_vector_tells_also_what_to_ask_its_sender_for(left: list[RingDelta], right: list[RingDelta]) -> None:
    one, two = ring_of(*left), ring_of(*right)
    vector = one.vector()
    answer, asked = two.missing(vector), two.lacking(vector)
    for target, missing in ((one, answer), (two, one.missing(asked, named=True) if asked is not None else None)):
        if missing is not None:
            target.merge(missing.lineage, missing.tokens)
    assert state(one) == state(two)
    assert one.lacking(two.vector()) is None and two.lacking(one.vector()) is None


@given(tokens(), tokens(), tokens())
def test_better_is_a_total_order(one: Token, two: Token, three: Token) -> None:
    one, two, three = (msgspec.structs.replace(token, start=0) for token in (one, two, three))
    assert better(one, two) == better(two, one)
    assert better(better(one, two), three) == better(one, better(two, three))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 31, 100, 255, 256])
def test_the_range_is_divided_fairly(count: int) -> None:
    founders = tuple(f"{index:03}" for index in range(count))
    first = divide(2**20, founders)
    sizes = [token.last + 1 - token.start for token in first]
    assert sum(sizes) == 2**20 and len(sizes) == count
    assert max(sizes) * 7 <= min(sizes) * 8
    align = 2**20 // (count if count & (count - 1) == 0 else 1 << (count * 8 - 1).bit_length())
    assert all(token.start % align == 0 for token in first)
    ring = Ring("r", 2**20)
    ring.found(make_lineage("r", SEED, founders, 0), first)
    ring.check_invariants()
    assert ring.complete()


def test_more_founders_than_addresses() -> None:
    first = divide(4, tuple("abcdef"))
    assert [(token.start, token.last) for token in first] == [(0, 0), (1, 1), (2, 2), (3, 3)]


def founded() -> Ring:
    ring = Ring("r", SIZE)
    ring.found(make_lineage("r", SEED, ("a", "b"), 0), divide(SIZE, ("a", "b")))
    return ring


def copy(ring: Ring) -> Ring:
    return ring_of(ring.whole())


@pytest.mark.parametrize(("start", "end", "extents"), [(0, 8, [(8, 32)]), (8, 16, [(0, 8), (16, 32)]), (0, 32, [])])
def test_granting_splits_and_stays_complete(start: int, end: int, extents: list[tuple[int, int]]) -> None:
    ring = founded()
    other = copy(ring)
    news = ring.grant(start, end, "c", (start, 32 - end))
    ring.check_invariants()
    assert ring.complete()
    assert ring.extents("a") == extents and ring.extents("c") == [(start, end)]
    assert ring.lineage is not None
    other.merge(ring.lineage, news)
    assert state(other) == state(ring)


def test_who_missed_a_donation_does_not_take_its_space_for_its_own() -> None:
    ring = founded()
    behind = copy(ring)
    ring.grant(16, 32, "b", (16, 0))
    second = ring.grant(8, 16, "c", (8, 0))
    assert ring.lineage is not None
    behind.merge(ring.lineage, second)
    behind.check_invariants()
    assert behind.extents("c") == [(8, 16)] and behind.at(20) is None and not behind.complete()


def test_a_takeover_beats_whatever_the_removed_peer_still_writes() -> None:
    ring = founded()
    living = copy(ring)
    ring.take_over("a", "b")
    assert ring.owned("b") == SIZE and ring.owners() == ["b"]
    for _ in range(5):
        living.report_free(0, 7)
    living.grant(8, 16, "c", (8, 16))
    one, two = ring_of(ring.whole(), living.whole()), ring_of(living.whole(), ring.whole())
    assert state(one) == state(two)
    assert one.extents("b")[0] == (0, 8), "the removed peer's donation stands, what it kept is taken"
    assert one.extents("c") == [(8, 16)]


def test_lineages_are_ordered_by_kind_then_founders() -> None:
    ring = ring_of(*(RingDelta("r", lineage, ()) for lineage in LINEAGES))
    assert ring.lineage == LINEAGES[-1]
    assert ring.merge(Lineage(0, 5, 5), (Token(0, 1, "a", 0),)) == []


def test_digest_is_the_same_in_every_process() -> None:
    assert founded().digest == DIGEST
