"""Small frames share packets on their way, in order, and come out as they went in."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from tunnels import Tunnels, ipv4, mac

from overlay.datapath.inner import VNET
from overlay.datapath.sleeve import Flag, bundled, unbundled
from overlay.datapath.tunnel_session import datagrams

PLAIN = bytes(VNET.size)


def crowd(net: Tunnels, index: int, frames: list[bytes]) -> list[bytes]:
    """The container of peer `index` sends all these at the same time; returns the packets."""
    for frame in frames:
        net.tunnels[index].outgoing(PLAIN + frame, 0)
    sends = net.tunnels[index].take_sends()
    return [packet for _, buffers, segment in sends for packet in datagrams(buffers, segment)]


@pytest.mark.parametrize("sealed", [False, True])
def test_small_frames_of_one_turn_share_a_packet(sealed):
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    frames = [ipv4(0, mac(1), bytes((number,)) * 60) for number in range(20)]
    packets = crowd(net, 0, frames)
    assert len(packets) == 2 and all(packet[0] & Flag.PACKED for packet in packets)
    assert all(len(packet) <= 1452 for packet in packets)
    for packet in packets:
        net.tunnels[1].incoming(packet, 0, ("10.0.0.0", 6783), 0)
        net.tunnels[1].incoming(packet, 0, ("10.0.0.0", 6783), 0)  # replayed
    assert [b"".join(buffers)[VNET.size :] for buffers in net.tunnels[1].take_writes()] == frames
    assert net.tunnels[1].counts["refused"] == 2


def test_one_alone_is_a_packet_of_its_own_and_big_ones_are_never_packed():
    net = Tunnels(2, [(0, 1)])
    (alone,) = crowd(net, 0, [ipv4(0, mac(1), b"one")])
    assert not alone[0] & Flag.PACKED
    small, big = ipv4(0, mac(1), b"small"), ipv4(0, mac(1), bytes(1200))
    packets = crowd(net, 0, [small, big, small, small])
    assert [bool(packet[0] & Flag.PACKED) for packet in packets] == [False, False, True]
    for packet in packets:
        net.tunnels[1].incoming(packet, 0, ("10.0.0.0", 6783), 0)
    written = [b"".join(buffers)[VNET.size :] for buffers in net.tunnels[1].take_writes()]
    assert written == [small, big, small, small], "in the order in which they were sent"


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 700)), max_size=30), st.booleans(), st.integers(500, 1452))
@settings(deadline=None, max_examples=100)
def test_every_frame_reaches_its_peer_once_and_in_order_over_hops_and_narrow_links(sizes, sealed, narrow):
    net = Tunnels(4, [(0, 1), (1, 2), (2, 3)], sealed=sealed)
    net.tunnels[1].set_size("00:00:00:00:00:02", max(narrow, 900))
    frames = [(peer, ipv4(0, mac(peer), number.to_bytes(2, "big") + bytes(size))) for number, (peer, size) in
              enumerate(sizes)]  # fmt: skip
    for _, frame in frames:
        net.tunnels[0].outgoing(PLAIN + frame, 0)
    net._take(0)
    net.run()
    for peer in (1, 2, 3):
        assert net.delivered[peer] == [frame for to, frame in frames if to == peer]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=80), st.booleans()), min_size=1, max_size=8))
def test_bundles_are_taken_apart_again(frames):
    assert unbundled(bundled(frames)) == frames


@given(st.binary(max_size=60))
def test_what_is_no_bundle_is_none_or_accounts_for_every_octet(content):
    found = unbundled(content)
    assert found is None or bundled(found) == content


def test_a_flood_is_never_a_bundle():
    net = Tunnels(2, [(0, 1)])
    (packet,) = crowd(net, 0, [ipv4(0, b"\xff" * 6, b"all")])
    net.tunnels[1].incoming(bytes((packet[0] | Flag.PACKED,)) + packet[1:], 0, ("10.0.0.0", 6783), 0)
    assert net.tunnels[1].take_writes() == [] and net.tunnels[1].counts["refused"] == 1
