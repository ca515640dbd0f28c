"""Frames over several peers' tunnels: chains, rings, repetition, links that come and go. Frames are counted."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from tunnels import Tunnels, ipv4, mac

from overlay.datapath.tunnel_session import FIRST_SIZE

BROADCAST = b"\xff" * 6
CHAIN = [(0, 1), (1, 2), (2, 3), (3, 4)]
RING = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_unicast_goes_down_a_chain_and_back(sealed):
    net = Tunnels(5, CHAIN, sealed=sealed)
    there = ipv4(0, mac(4), b"there")
    net.send(0, there)
    net.run()
    assert net.delivered[4] == [there] and net.carried == 4
    back = ipv4(4, mac(0), b"back")
    net.send(4, back)
    net.run()
    assert net.delivered[0] == [back]
    assert [len(frames) for frames in net.delivered] == [1, 0, 0, 0, 1]


@pytest.mark.parametrize("edges", [CHAIN, RING, [(0, 1), (0, 2), (0, 3), (0, 4)]])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_broadcast_comes_once_to_each(edges, sealed):
    count = 1 + max(map(max, edges))
    for origin in range(count):
        net = Tunnels(count, edges, sealed=sealed)
        net.duplicate = 0.3
        frame = ipv4(origin, BROADCAST, b"all")
        for _ in range(3):
            net.send(origin, frame)
        net.run()
        for index in range(count):
            assert net.delivered[index] == [frame] * 3 * (index != origin)


def test_where_the_kernel_floods_nothing_comes_twice():
    net = Tunnels(4, [(0, 1), (1, 2), (2, 3), (0, 2)])
    net.fast = {(0, 1), (0, 2)}  # peer 0 floods its neighbours by VXLAN; 3 is further away
    net.send(0, ipv4(0, BROADCAST, b"all"))
    net.run()
    assert [len(frames) for frames in net.delivered] == [0, 0, 0, 1]
    full = Tunnels(3, [(0, 1), (1, 2), (0, 2)])
    full.fast = {(0, 1), (0, 2)}
    full.send(0, ipv4(0, BROADCAST, b"all"))
    full.run()
    assert full.carried == 0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_while_links_change_nothing_goes_round_and_no_frame_comes_twice(data):
    """Peers hear of changes in any order and act on what they know: frames may be lost, never repeated."""
    net = Tunnels(6, RING, seed=data.draw(st.integers(0, 1000)))
    net.shuffle = True
    edges = data.draw(st.lists(st.sampled_from([*RING, (0, 3), (1, 4), (2, 5)]), min_size=3, unique=True))
    told = data.draw(st.lists(st.integers(0, 5), unique=True))
    net.connect(edges, told)
    for origin in range(6):
        net.send(origin, ipv4(origin, BROADCAST, b"all"))
        net.send(origin, ipv4(origin, mac((origin + 3) % 6), b"one"))
    net.run()
    assert net.carried <= 6 * 64 + 6 * 5 * 6
    for frames in net.delivered:
        assert len(frames) == len(set(frames))
    net.connect(edges)
    lost_before = [len(frames) for frames in net.delivered]
    net.send(0, ipv4(0, BROADCAST, b"then"))
    net.run()
    reachable = net.holders[0].routes.reachable
    lost = [peer for peer in net.tunnels[0].report()["resting"] if peer not in reachable]  # nobody is cut off here
    assert sum(map(len, net.delivered)) - sum(lost_before) == len(reachable) - 1 + len(lost)


def test_what_goes_round_ends_by_its_ttl():
    net = Tunnels(3, [(0, 1), (1, 2)])
    net.holders[1].routes.hops[net.tunnels[2]._own] = net.tunnels[0]._own
    del net.tunnels[1]._sessions._live[net.tunnels[2]._own]
    net.tunnels[1].forget(net.now)
    net.send(0, ipv4(0, mac(2), b"round"))
    net.run()
    assert net.delivered == [[], [], []]
    assert 60 < net.carried <= 64 and sum(tunnel.counts["expired"] for tunnel in net.tunnels) == 1


@pytest.mark.parametrize("sealed", [False, True])
def test_replayed_packets_reach_nobody(sealed):
    net = Tunnels(3, CHAIN[:2], sealed=sealed)
    net.send(0, ipv4(0, mac(2), b"once"))
    net.send(0, ipv4(0, BROADCAST, b"once"))
    net.run()
    before = [list(frames) for frames in net.delivered]
    for target, data, source in list(net.captured):
        net.tunnels[target].incoming(data, 0, source, net.now)
        net._take(target)
    net.run()
    assert net.delivered == before


def test_the_address_of_a_genuine_packet_is_followed_and_that_of_a_replayed_one_is_not():
    net = Tunnels(2, [(0, 1)], sealed=True)
    net.send(0, ipv4(0, mac(1), b"first"))
    net.run()
    ((_, packet, _),) = net.captured
    net.tunnels[1].incoming(packet, 0, ("192.0.2.66", 1), net.now)
    assert net.tunnels[1].towards(net.tunnels[0]._own) == (("10.0.0.0", 6783), FIRST_SIZE)
    net.tunnels[0].outgoing(bytes(10) + ipv4(0, mac(1), b"second"), net.now)
    ((_, (second,), _),) = net.tunnels[0].take_sends()
    net.tunnels[1].incoming(bytes(second), 0, ("192.0.2.7", 4000), net.now)
    assert net.tunnels[1].towards(net.tunnels[0]._own) == (("192.0.2.7", 4000), FIRST_SIZE)
