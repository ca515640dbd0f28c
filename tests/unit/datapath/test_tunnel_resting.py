"""What the tunnel does for a peer whose connection was lost: it goes on as before, until it is known better."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from tunnels import HOLD, Tunnels, ipv4, mac, name

from overlay.config import Address
from overlay.datapath.tunnel_sessions import MAX_RESTING, TunnelSessions
from overlay.inputs import Neighbour

BROADCAST = b"\xff" * 6
both_ways = pytest.mark.parametrize("sealed", [False, True])


def sent(net: Tunnels, source: int, target: bytes, text: bytes) -> list[list[bytes]]:
    """What each container got of a frame."""
    before = [len(frames) for frames in net.delivered]
    net.send(source, ipv4(source, target, text))
    net.run()
    return [frames[number:] for frames, number in zip(net.delivered, before, strict=True)]


@both_ways
def test_a_lost_peer_is_reached_as_soon_as_the_network_is_back(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    assert sent(net, 0, mac(1), b"first")[1]
    net.connect([])
    assert sent(net, 0, mac(1), b"second")[1] == [ipv4(0, mac(1), b"second")]
    assert sent(net, 1, mac(0), b"back")[0] == [ipv4(1, mac(0), b"back")]
    assert sent(net, 0, BROADCAST, b"who has")[1] == [ipv4(0, BROADCAST, b"who has")], "stale neighbours ask all"


@both_ways
def test_one_side_may_know_of_the_loss_before_the_other(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    net.connect([], told=[0])
    assert sent(net, 0, mac(1), b"there")[1] and sent(net, 1, mac(0), b"back")[0]
    assert sent(net, 0, BROADCAST, b"there")[1] and sent(net, 1, BROADCAST, b"back")[0]


@both_ways
def test_nothing_that_was_seen_is_taken_again(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    net.connect([])
    assert sent(net, 0, mac(1), b"once")[1] and sent(net, 0, BROADCAST, b"once")[1]
    for target, packet, source in list(net.captured):
        net.tunnels[target].incoming(packet, 0, source, net.now)
    assert not net.tunnels[1].take_writes()


@both_ways
def test_where_there_is_a_route_frames_take_it(sealed: bool) -> None:
    net = Tunnels(3, [(0, 1), (1, 2), (0, 2)], sealed=sealed)
    net.connect([(0, 1), (1, 2)])
    net.carried = 0
    assert sent(net, 0, mac(2), b"round")[2] == [ipv4(0, mac(2), b"round")]
    assert net.carried == 2
    everybody = sent(net, 0, BROADCAST, b"all")
    assert [len(frames) for frames in everybody] == [0, 1, 1]
    assert net.carried == 4, "no copy goes directly as well"


def test_a_broadcast_that_the_kernel_sends_to_a_lost_peer_is_not_sent_twice() -> None:
    net = Tunnels(2, [(0, 1)])
    net.fast = {(0, 1)}
    net.connect([])
    assert sent(net, 0, BROADCAST, b"all") == [[], []]


@both_ways
def test_a_farewell_ends_it_on_both_sides(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    net.connect([])
    net.tunnels[0].drop(name(1), net.now)
    assert sent(net, 0, mac(1), b"there") == [[], []] == sent(net, 0, BROADCAST, b"there")
    strange = net.tunnels[0].counts["strange"]
    assert sent(net, 1, mac(0), b"back") == [[], []]
    assert net.tunnels[0].counts["strange"] == strange + 1


@both_ways
def test_a_farewell_before_the_connection_ends_leaves_nothing(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    for _ in range(2):
        net.tunnels[0].drop(name(1), net.now)
        assert sent(net, 0, mac(1), b"last")[1], "still there"
        net.connect([])
        assert net.tunnels[0].report()["resting"] == []
        net.connect([(0, 1)])  # back, and it is lost like any other
        net.connect([])
        assert net.tunnels[0].report()["resting"] == [name(1)]
        net.connect([(0, 1)])


@both_ways
def test_it_ends_with_the_hold(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    net.connect([])
    net.tunnels[0].forget(net.now + HOLD - 1)
    assert net.tunnels[0].report()["resting"] == [name(1)]
    net.tunnels[0].forget(net.now + HOLD)
    assert net.tunnels[0].report()["resting"] == []
    assert sent(net, 0, mac(1), b"there") == [[], []]


def neighbour(number: int, connection: int) -> Neighbour:
    return Neighbour(f"peer{number}", Address("10.0.0.1", 6783), connection, True, None)


def test_a_new_connection_takes_its_place() -> None:
    sessions = TunnelSessions(HOLD)
    sessions.set_neighbours((neighbour(1, 7),), 0)
    first = sessions.get("peer1")
    assert first is not None
    sessions.set_neighbours((), 1)
    assert sessions.get("peer1") is None and sessions.of("peer1") is first is sessions.by_tag(first.tag)
    sessions.set_neighbours((neighbour(1, 8),), 2)
    assert sessions.of("peer1") is not first and sessions.by_tag(first.tag) is None and not [*sessions.lost]
    second = sessions.of("peer1")
    assert second is not None
    sessions.set_neighbours((neighbour(1, 9),), 3)
    assert sessions.by_tag(second.tag) is None and not [*sessions.lost], "replaced, not lost"


def test_only_so_many_rest() -> None:
    sessions = TunnelSessions(HOLD)
    most = MAX_RESTING + 10
    sessions.set_neighbours(tuple(neighbour(number, 1 + number) for number in range(most)), 0)
    for number in range(most):
        sessions.set_neighbours(tuple(neighbour(other, 1 + other) for other in range(number + 1, most)), 1 + number)
    assert [session.name for session in sessions.lost] == [f"peer{number}" for number in range(10, most)]
    sessions.expire(HOLD + 100)
    assert [session.name for session in sessions.lost] == [f"peer{number}" for number in range(100, most)]
