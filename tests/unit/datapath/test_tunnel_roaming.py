"""Where packets to a neighbour go after some have come from elsewhere: only what cannot be forged moves them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from tunnels import Tunnels, ipv4, mac

from overlay.datapath.inner import VNET
from overlay.datapath.tunnel_session import datagrams

HOME, NEW, OTHER_PORT = ("10.0.0.1", 6783), ("10.9.9.9", 6783), ("10.0.0.1", 40000)
PEER = "00:00:00:00:00:01"


def packets(net: Tunnels, number: int) -> list[bytes]:
    """What the container of peer 1 sends to that of peer 0, one packet for each frame."""
    found = []
    for _ in range(number):
        net.tunnels[1].outgoing(bytes(VNET.size) + ipv4(1, mac(0), bytes(900)), 0)
        found += [
            packet for _, buffers, segment in net.tunnels[1].take_sends() for packet in datagrams(buffers, segment)
        ]
    return found


def at(net: Tunnels) -> tuple[str, int]:
    towards = net.tunnels[0].towards(PEER)
    assert towards is not None
    return towards[0]


@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_sealed_moves_the_peer_and_what_is_in_clear_only_its_port(sealed: bool) -> None:
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    first, second, third, fourth = packets(net, 4)
    net.tunnels[0].incoming(first, 0, HOME, 0)
    assert at(net) == HOME
    net.tunnels[0].incoming(second, 0, OTHER_PORT, 0)
    assert at(net) == OTHER_PORT, "as behind a NAT, which tells its port by packets alone"
    net.tunnels[0].incoming(third, 0, NEW, 0)
    assert at(net) == (NEW if sealed else OTHER_PORT)
    # An old one once more, and one that somebody has changed, lead nowhere.
    net.tunnels[0].incoming(first, 0, HOME, 0)
    net.tunnels[0].incoming(fourth[:-1] + bytes((fourth[-1] ^ 1,)) if sealed else fourth, 0, HOME if sealed else NEW, 0)
    assert at(net) == (NEW if sealed else OTHER_PORT)


def test_in_clear_a_heartbeat_moves_it_to_another_host() -> None:
    net = Tunnels(2, [(0, 1)])
    net.tunnels[0].found_at(PEER, NEW)
    assert at(net) == HOME
    net.tunnels[0].found_at(PEER, NEW, proven=True)
    assert at(net) == NEW
    (packet,) = packets(net, 1)
    net.tunnels[0].incoming(packet, 0, HOME, 0)
    assert at(net) == NEW, "not back either"
