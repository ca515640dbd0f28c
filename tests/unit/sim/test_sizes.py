"""Sizes that are counted in parts are those of the encoded messages."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lab.sim.sizes import size
from overlay.wire.codec import encode_message
from overlay.wire.envelopes import Beat, Digests, News, Prune, Want
from overlay.wire.origins import EndpointValue, NameValue, OriginDelta, OriginEntry, OriginState
from overlay.wire.ring import Lineage, RingDelta, Token
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink, TopologyVector

texts = st.text(max_size=40)
counters = st.sampled_from([0, 1, 127, 128, 255, 256, 65535, 65536, 2**32, 2**62])
links = st.lists(st.builds(TopologyLink, texts, texts, st.booleans(), st.booleans()), max_size=20).map(tuple)
records = st.builds(PeerRecord, texts, counters, counters, texts, links, st.booleans(), st.binary(max_size=32))
values = st.none() | st.builds(NameValue, texts, texts, texts) | st.builds(EndpointValue, texts, texts, st.just(("a",)))
entries = st.lists(st.builds(OriginEntry, texts, counters, values), max_size=3).map(tuple)
states = st.builds(OriginState, texts, counters, counters, counters, counters, entries)
tokens = st.builds(Token, counters, counters, texts, counters, counters)
deltas = st.one_of(
    st.builds(TopologyDelta, st.lists(records, max_size=40).map(tuple)),
    st.builds(OriginDelta, st.lists(states, max_size=40).map(tuple)),
    st.builds(
        RingDelta, texts, st.builds(Lineage, st.just(1), counters, counters), st.lists(tokens, max_size=40).map(tuple)
    ),
)


@given(st.builds(News, st.lists(st.tuples(texts, deltas), max_size=4).map(tuple), st.booleans()))
def test_news_are_as_long_as_their_parts_say(news: News) -> None:
    assert size(news) == size(news) == len(encode_message(news))


def test_heads_of_many_parts_are_counted() -> None:
    for count in (15, 16, 65535, 65536):
        part = PeerRecord("x", 1, 1, "x", ())
        news = News((("topology", TopologyDelta((part,) * count)),))
        assert size(news) == len(encode_message(news))


def test_all_else_is_encoded() -> None:
    messages: tuple[Any, ...] = (
        Prune(),
        Digests(0, (("dns", 2**63),)),
        Want("topology", TopologyVector((("a", 1, 2),)), True),
        Beat("a", 1, 1, True),
    )
    for message in messages:
        assert size(message) == len(encode_message(message))
