"""Peers that are asked tell each other their wall clocks: within half a round trip, and not often."""

from lab.sim.world import World
from overlay.config import Address, Config
from overlay.effects import Reply
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import AskClocks
from overlay.mesh.liveness import MAX_ASKING


def pair() -> World:
    made = World(1)
    for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        made.add(name, address)
    made.peers["b"].clock.set(0, 90 * SECOND, 0)
    for peer in made.peers.values():
        peer.start(Config(name=peer.name, nickname=peer.name, peers=(Address("10.0.0.1", 6783),)))
    made.run(10 * SECOND)
    return made


def asked(made: World, name: str, request: int = 1) -> list[Reply]:
    peer = made.peers[name]
    replies: list[Reply] = []
    peer.sink = lambda effect: replies.append(effect) if isinstance(effect, Reply) else None
    peer.feed(AskClocks(request, peer.wall()))
    made.run(500 * MILLISECOND)
    peer.sink = None
    return replies


def test_the_offset_is_measured_within_half_a_round_trip() -> None:
    made = pair()
    for name, other, ahead in (("a", "b", 90 * SECOND), ("b", "a", -90 * SECOND)):
        assert [reply.request for reply in asked(made, name)] == [1]
        node = made.peers[name].node
        assert node is not None
        clock = node.mesh.connections.established[other].clock
        assert clock is not None
        offset, error = clock
        assert abs(offset - ahead) <= error < SECOND


def test_a_peer_that_is_asked_all_the_time_tells_its_clock_once_a_second() -> None:
    made = pair()
    teller = made.peers["b"]
    before = teller.sent_messages
    for _ in range(50):
        made.peers["a"].feed(AskClocks(0, 0))
    made.run(900 * MILLISECOND)
    told = teller.sent_messages - before
    assert 1 <= told <= 10  # the rest is gossip; not one for each question
    assert len(made.peers["a"].node.mesh.liveness._asking) <= MAX_ASKING + 1  # type: ignore[union-attr]


def test_without_neighbours_the_answer_comes_at_once() -> None:
    made = World(1)
    peer = made.add("a", "10.0.0.1")
    peer.start(Config(name="a", nickname="a"))
    assert [reply.request for reply in asked(made, "a", 7)] == [7]
