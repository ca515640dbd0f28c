"""What an acceptor must never do, whatever it lived through; and hostile messages."""

from random import Random
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.config import Config
from overlay.effects import Effect, Persist, Unicast
from overlay.errors import ConfigError, EnvironmentProblem, RemoteError
from overlay.inputs import Deliver, Input, PeersChanged, Prime
from overlay.ipam.ipam import Ipam
from overlay.wire.ring import (
    Abstention,
    Accepted,
    Ballot,
    IpamMessage,
    Lineage,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Refusal,
    RingDelta,
    SpaceRequest,
    Token,
)

RANGE = "10.2.0.0/24"
CONFIG = Config(name="a", nickname="a", iprange=RANGE, initial_peer_count=3)


class Host:
    """One peer and its disk; it can die after any effect."""

    def __init__(self) -> None:
        self.disk: dict[str, bytes] = {}
        self.restart()

    def restart(self) -> None:
        self.peer = Ipam(CONFIG, Random(1), dict(self.disk))

    def give(self, what: Input) -> list[Effect]:
        effects = self.peer.handle(what, 0)
        self.disk.update({effect.key: effect.data for effect in effects if isinstance(effect, Persist)})
        return effects

    def ask(self, source: str, body: object) -> object:
        """The message with which it answers; everything that is to be kept must stand before it."""
        effects = self.give(Deliver(source, "ipam", body))  # type: ignore[arg-type]
        kinds = [type(effect) for effect in effects]
        assert kinds == sorted(kinds, key=lambda kind: kind is not Persist)
        return next(effect.body for effect in effects if isinstance(effect, Unicast))


def test_a_promise_outlives_a_crash() -> None:
    host = Host()
    high, low = Ballot(7, "b"), Ballot(6, "c")
    assert host.ask("b", Prepare(RANGE, high)) == Promise(high, None, None)
    host.restart()
    assert host.ask("c", Prepare(RANGE, low)) == Refusal(low, high)
    assert host.ask("c", Propose(RANGE, low, Proposal(("c",), 1))) == Refusal(low, high)


def test_what_was_accepted_is_told_after_a_crash() -> None:
    host = Host()
    first, second, value = Ballot(7, "b"), Ballot(8, "c"), Proposal(("a", "b"), 5)
    assert host.ask("b", Propose(RANGE, first, value)) == Accepted(first)
    host.restart()
    assert host.ask("c", Prepare(RANGE, second)) == Promise(second, first, value)
    assert host.ask("b", Propose(RANGE, first, value)) == Refusal(first, second)


def test_a_round_is_never_used_twice() -> None:
    host = Host()
    rounds = []
    for _ in range(3):
        host.give(PeersChanged(("a", "b", "c")))
        sent = [effect.body for effect in host.give(Prime(1)) if isinstance(effect, Unicast)]
        rounds += [body.ballot.round for body in sent if isinstance(body, Prepare) and body.ballot.proposer == "a"]
        host.restart()
    assert rounds == [1, 1, 2, 2, 3, 3]


def test_an_acceptor_of_another_range_abstains() -> None:
    ballot = Ballot(1, "b")
    assert Host().ask("b", Prepare("10.9.0.0/24", ballot)) == Abstention(ballot, RANGE)


def test_a_range_clash_is_an_error_of_the_channel_and_shown() -> None:
    peer = Host().peer
    with pytest.raises(RemoteError, match="weave reset"):
        peer.merge(RingDelta("10.9.0.0/24", Lineage(0, 1, 1), ()), 0)
    assert "10.9.0.0/24" in str(peer.report(0)["conflicts"])


@pytest.mark.parametrize("token", [Token(5, 4, "a", 0), Token(0, 256, "a", 0), Token(300, 301, "a", 0)])
def test_tokens_out_of_range_are_refused(token: Token) -> None:
    peer = Host().peer
    with pytest.raises(RemoteError, match="not in the range"):
        peer.merge(RingDelta(RANGE, Lineage(0, 1, 1), (token,)), 0)
    assert not peer.ready


def test_a_seed_without_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        Ipam(msgspec.structs.replace(CONFIG, ipam_init="seed"), Random(1), {})


@pytest.mark.parametrize("key", ["ipam.ring", "ipam.paxos", "ipam.addresses"])
def test_unreadable_state_is_named(key: str) -> None:
    with pytest.raises(EnvironmentProblem, match=key):
        Ipam(CONFIG, Random(1), {key: b"\x93garbage"})


_decoder = msgspec.msgpack.Decoder(IpamMessage)
lineages = st.builds(Lineage, st.integers(0, 2), st.integers(1, 3), st.integers(0, 3))
small = st.integers(0, 300)
names = st.sampled_from(("a", "b", "zz"))
all_tokens = st.builds(Token, small, small, names, st.integers(0, 5), small)
rings = st.builds(RingDelta, st.sampled_from((RANGE, "x")), lineages, st.lists(all_tokens, max_size=4).map(tuple))
requests = st.builds(SpaceRequest, small, st.sampled_from((RANGE, "x")), lineages, small, small)
messages = st.one_of(st.from_type(cast(Any, IpamMessage)), requests)


@given(st.lists(st.tuples(names, messages), max_size=8), st.lists(rings, max_size=3))
def test_no_message_breaks_a_peer(received: list[tuple[str, IpamMessage]], news: list[RingDelta]) -> None:
    host = Host()
    host.give(PeersChanged(("a", "b", "zz")))
    host.give(Prime(1))
    for ring in news:
        try:
            host.peer.merge(ring, 0)
        except RemoteError:
            continue
    for source, message in received:
        try:
            body = _decoder.decode(msgspec.msgpack.encode(message))
        except (OverflowError, msgspec.MsgspecError):
            continue
        host.give(Deliver(source, "ipam", body))
        host.peer.check_invariants()
