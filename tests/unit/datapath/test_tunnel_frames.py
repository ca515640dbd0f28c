"""What the tunnel does to frames: super-packets split and joined, fragments, "too big", and whatever strangers send."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from tunnels import Tunnels, ipv4, mac

from overlay.datapath import inner
from overlay.datapath.inner import NEEDS_CSUM, VNET, Gso, Layers, layers, ones_sum
from overlay.datapath.sleeve import HEADER
from overlay.datapath.tunnel_session import datagrams


def parsed(frame: bytes) -> Layers:
    found = layers(frame)
    assert found is not None
    return found


def tcp(source: int, destination: int, payload: bytes, *, flags: int = 0x10, version: int = 4) -> bytes:
    """A TCP frame whose checksum is partial, as a stack with offloads hands it over."""
    segment = b"\x30\x39\x1f\x90" + (1000).to_bytes(4, "big") + bytes(4)
    segment += bytes((0x80, flags)) + b"\xff\xff" + bytes(4)
    segment += b"\x01\x01\x08\x0a" + bytes(8) + payload
    if version == 4:
        head = b"\x45\x00" + (20 + len(segment)).to_bytes(2, "big") + b"\0\x01\x40\0\x40\x06\0\0"
        head += bytes((10, 0, 0, source, 10, 0, 0, destination))
        kind = b"\x08\x00"
    else:
        head = b"\x60\0\0\0" + (len(segment) & 0xFFFF).to_bytes(2, "big") + b"\x06\x40"
        head += b"\xfd" + bytes(14) + bytes((source,)) + b"\xfd" + bytes(14) + bytes((destination,))
        kind = b"\x86\xdd"
    return mac(destination) + mac(source) + kind + head + segment


def header(frame: bytes, cut: int) -> bytes:
    found = parsed(frame)
    assert found is not None
    return inner.offload_header(found, cut, many=bool(cut))


def intact(frame: bytes, expected_payload: bytes) -> None:
    """A frame as written to the port: right lengths and IP checksum, and the pseudo header's sum in the TCP one."""
    found = parsed(frame)
    assert found is not None and found.transport
    assert frame[found.end :] == expected_payload
    if found.version == 4:
        assert ones_sum(frame[14 : found.transport]) == 0
        assert int.from_bytes(frame[16:18], "big") == len(frame) - 14
    at = found.transport + 16
    assert frame[at : at + 2] == inner.partial_sum(frame, found, len(frame) - found.transport)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_super_packet_crosses_as_whole_packets_and_is_one_again(version, sealed):
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    payload = bytes(range(256)) * 200
    frame = tcp(0, 1, payload, flags=0x18, version=version)
    net.tunnels[0].outgoing(header(frame, 1300) + frame, 0)
    sends = net.tunnels[0].take_sends()
    packets = [packet for _, buffers, segment in sends for packet in datagrams(buffers, segment)]
    assert len(packets) == -(-len(payload) // 1300)
    assert len({len(packet) for packet in packets[:-1]}) == 1
    for _, group, segment in sends:
        data = b"".join(group)
        net.tunnels[1].incoming(data, segment, ("10.0.0.0", 6783), 0)
    writes = [b"".join(buffers) for buffers in net.tunnels[1].take_writes()]
    assert len(writes) == 1
    flags, kind, _, size, _, offset = VNET.unpack_from(writes[0])
    assert (flags, kind, size, offset) == (NEEDS_CSUM, Gso.TCPV4 if version == 4 else Gso.TCPV6, 1300, 16)
    intact(writes[0][VNET.size :], payload)
    assert writes[0][VNET.size + parsed(frame).transport + 13] == 0x18


@given(lost=st.sets(st.integers(0, 39), max_size=10), cut=st.integers(600, 1344))
@settings(deadline=None, max_examples=40)
def test_a_lost_datagram_costs_one_inner_packet(lost, cut):
    net = Tunnels(2, [(0, 1)])
    payload = bytes(number * 7 & 255 for number in range(40 * cut))
    frame = tcp(0, 1, payload)
    net.tunnels[0].outgoing(header(frame, cut) + frame, 0)
    packets = [packet for _, buffers, segment in net.tunnels[0].take_sends() for packet in datagrams(buffers, segment)]
    for number, packet in enumerate(packets):
        if number not in lost:
            net.tunnels[1].incoming(packet, 0, ("10.0.0.0", 6783), 0)
    got = {}
    for buffers in net.tunnels[1].take_writes():
        whole = b"".join(buffers)[VNET.size :]
        found = parsed(whole)
        intact(whole, whole[found.end :])
        start = int.from_bytes(whole[found.transport + 4 : found.transport + 8], "big") - 1000
        for at, octet in enumerate(whole[found.end :], start):
            got[at] = octet
    wanted = {at for number in range(40) if number not in lost for at in range(number * cut, (number + 1) * cut)}
    assert got.keys() == wanted and all(payload[at] == octet for at, octet in got.items())


def test_a_smaller_path_gets_smaller_segments():
    net = Tunnels(2, [(0, 1)])
    net.tunnels[0].set_size("00:00:00:00:00:01", 1100)
    frame = tcp(0, 1, bytes(20_000))
    net.tunnels[0].outgoing(header(frame, 1346) + frame, 0)
    for _, group, segment in net.tunnels[0].take_sends():
        net.tunnels[1].incoming(b"".join(group), segment, ("10.0.0.0", 6783), 0)
    (written,) = map(b"".join, net.tunnels[1].take_writes())
    assert VNET.unpack_from(written)[3] == 1100 - HEADER - parsed(frame).end
    intact(written[VNET.size :], bytes(20_000))


def test_what_must_not_be_cut_is_answered_and_what_may_is_cut():
    net = Tunnels(2, [(0, 1)])
    net.tunnels[0].set_size("00:00:00:00:00:01", 1000)
    big = ipv4(0, mac(1), bytes(1200), df=True)
    net.send(0, big)
    net.run()
    (answer,) = net.delivered[0]
    assert answer[:6] == mac(0) and answer[23] == 1 and answer[34:36] == b"\x03\x04"
    assert int.from_bytes(answer[40:42], "big") == 1000 - HEADER - 14
    assert ones_sum(answer[14:34]) == 0 and ones_sum(answer[34:]) == 0
    assert answer[42:62] == big[14:34] and net.delivered[1] == []
    net.send(0, ipv4(0, mac(1), bytes(range(200)) * 6))
    net.run()
    first, second = net.delivered[1]
    assert first[20] & 0x20 and not second[20] & 0x20
    assert first[34:] + second[34:] == b"\x08\0\0\0" + bytes(range(200)) * 6
    assert ones_sum(first[14:34]) == ones_sum(second[14:34]) == 0


def test_icmpv6_too_big_has_a_right_checksum():
    frame = tcp(0, 1, bytes(1300), version=6)
    answer = inner.too_big(frame, 1280)
    assert answer is not None
    assert answer[54:56] == b"\x02\x00" and int.from_bytes(answer[58:62], "big") == 1280
    length = len(answer) - 54
    assert ones_sum(answer[22:54] + length.to_bytes(4, "big") + b"\0\0\0\x3a" + answer[54:]) == 0
    assert len(answer) - 14 <= 1280
    assert inner.too_big(answer, 1000) is None, "an error is never answered"


def test_a_relay_tells_the_sender_of_what_does_not_fit_behind_it():
    net = Tunnels(3, [(0, 1), (1, 2)])
    net.tunnels[1].set_size("00:00:00:00:00:02", 900)
    net.send(0, ipv4(0, mac(2), bytes(1000), df=True))
    net.run()
    (answer,) = net.delivered[0]
    assert answer[34:36] == b"\x03\x04" and net.delivered[2] == []
    frame = tcp(0, 2, bytes(5000))
    net.send(0, frame, header(frame, 1300))
    net.run()
    assert net.delivered[2], "TCP is cut again on its way"
    assert sum(len(whole) - parsed(whole).end for whole in net.delivered[2]) == 5000


def hand_over(net: Tunnels, source: int, target: int) -> list[tuple[list[bytes], int]]:
    """What one tunnel has to send, given to another as the kernel joins it."""
    sends = [(datagrams(buffers, segment), segment) for _, buffers, segment in net.tunnels[source].take_sends()]
    for group, segment in sends:
        net.tunnels[target].incoming(b"".join(group), segment, (f"10.0.0.{source}", 6783), net.now)
    return sends


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(300, 1344), st.integers(1, 2)), min_size=1, max_size=8),
    st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_whatever_lengths_wait_for_the_same_send_all_arrive_whole(sent, sealed):
    net = Tunnels(3, [(0, 1), (1, 2)], sealed=sealed)
    wanted: dict[int, bytes] = {1: b"", 2: b""}
    for length, cut, target in sent:
        payload = bytes((len(wanted[target]) + at) % 251 for at in range(length))
        frame = tcp(0, target, payload)
        wanted[target] += payload
        net.tunnels[0].outgoing(header(frame, cut if length > cut else 0) + frame, 0)
    hand_over(net, 0, 1)
    hand_over(net, 1, 2)
    for target, whole in wanted.items():
        written = [b"".join(buffers)[VNET.size :] for buffers in net.tunnels[target].take_writes()]
        assert b"".join(frame[parsed(frame).end :] for frame in written) == whole


@pytest.mark.parametrize("sealed", [False, True])
def test_a_relay_passes_a_super_packet_on_in_as_few_sends_as_it_came(sealed):
    net = Tunnels(3, [(0, 1), (1, 2)], sealed=sealed)
    payload = bytes(range(256)) * 200
    frame = tcp(0, 2, payload)
    net.tunnels[0].outgoing(header(frame, 1300) + frame, 0)
    came = hand_over(net, 0, 1)
    went = hand_over(net, 1, 2)
    assert [(len(group), segment) for group, segment in went] == [(len(group), segment) for group, segment in came]
    assert net.tunnels[1].counts["relayed"] == net.tunnels[1].counts["sent"] == -(-len(payload) // 1300)
    assert {packet[1] for group, _ in went for packet in group} == {packet[1] - 1 for packet in came[0][0]}
    (written,) = map(b"".join, net.tunnels[2].take_writes())
    intact(written[VNET.size :], payload)
    for group, segment in came:  # again, as from a recording
        net.tunnels[1].incoming(b"".join(group), segment, ("10.0.0.0", 6783), 0)
    assert net.tunnels[1].take_sends() == [] and net.tunnels[1].take_writes() == []


@pytest.mark.parametrize("sealed", [False, True])
def test_a_relay_cuts_a_super_packet_anew_for_a_smaller_path(sealed):
    net = Tunnels(3, [(0, 1), (1, 2)], sealed=sealed)
    net.tunnels[1].set_size("00:00:00:00:00:02", 900)
    payload = bytes(range(256)) * 40
    frame = tcp(0, 2, payload)
    net.tunnels[0].outgoing(header(frame, 1300) + frame, 0)
    hand_over(net, 0, 1)
    assert all(len(packet) <= 900 for group, _ in hand_over(net, 1, 2) for packet in group)
    written = [b"".join(buffers)[VNET.size :] for buffers in net.tunnels[2].take_writes()]
    assert b"".join(whole[parsed(whole).end :] for whole in written) == payload


def test_a_relay_ends_what_goes_round():
    net = Tunnels(3, [(0, 1), (1, 2)])
    frame = tcp(0, 2, bytes(10_000))
    net.tunnels[0].outgoing(header(frame, 1300) + frame, 0)
    ((_, buffers, segment),) = net.tunnels[0].take_sends()
    group = datagrams(buffers, segment)
    spent = b"".join(packet[:1] + b"\x01" + packet[2:] for packet in group)
    net.tunnels[1].incoming(spent, segment, ("10.0.0.0", 6783), 0)
    assert net.tunnels[1].take_sends() == [] and net.tunnels[1].counts["expired"] == len(group)


@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
@settings(deadline=None, max_examples=200)
def test_no_stranger_gets_anything_through(datagrams, sealed):
    net = Tunnels(2, [(0, 1)], sealed=sealed)
    for data in datagrams:
        net.tunnels[1].incoming(data, 0, ("192.0.2.1", 1), 0)
        net.tunnels[1].incoming(data, 7, ("192.0.2.1", 1), 0)
    assert net.tunnels[1].take_writes() == [] and net.tunnels[1].take_sends() == []


@given(data=st.data(), sealed=st.booleans())
@settings(deadline=None, max_examples=200)
def test_damaged_packets_raise_nothing_and_sealed_ones_reach_nobody(data, sealed):
    net = Tunnels(3, [(0, 1), (1, 2)], sealed=sealed)
    frame = tcp(0, data.draw(st.integers(1, 2)), data.draw(st.binary(max_size=60)))
    net.tunnels[0].outgoing(header(frame, 0) + frame, 0)
    ((_, (packet,), _),) = net.tunnels[0].take_sends()
    damaged = bytearray(packet)
    for at in data.draw(st.lists(st.integers(0, len(packet) - 1), min_size=1, max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    net.tunnels[1].incoming(bytes(damaged), 0, ("10.0.0.0", 6783), 0)
    written, sent = net.tunnels[1].take_writes(), net.tunnels[1].take_sends()
    net.tunnels[1].take_heard()
    if sealed and bytes(damaged) != packet:
        assert written == [] and sent == []


@given(st.binary(max_size=120), st.binary(min_size=10, max_size=10))
@settings(deadline=None, max_examples=300)
def test_whatever_a_container_sends_nothing_is_raised(rest, vnet):
    net = Tunnels(2, [(0, 1)])
    for kind in (b"", b"\x08\x00\x45", b"\x08\x00\x46", b"\x86\xdd\x60"):
        net.send(0, mac(1) + mac(0) + kind + rest, vnet)
        net.send(0, mac(1) + mac(0) + kind + rest, bytes(10))
    net.run()


@pytest.mark.parametrize("kind", [Gso.TCPV4, Gso.UDP_L4])
def test_a_super_packet_to_be_cut_into_nothing_goes_as_it_is(kind):
    net = Tunnels(2, [(0, 1)])
    frame = tcp(0, 1, bytes(100))
    net.send(0, frame, VNET.pack(NEEDS_CSUM, kind, 0, 0, parsed(frame).transport, 16))
    net.run()
    assert len(net.delivered[1]) == 1


@pytest.mark.parametrize("kind", [Gso.NONE, Gso.TCPV4, Gso.UDP_L4])
def test_a_checksum_of_no_transport_header_is_nobodys(kind):
    net = Tunnels(2, [(0, 1)])
    fragment = ipv4(0, mac(1), bytes(50))
    fragment = fragment[:20] + b"\x20\0" + fragment[22:]
    net.send(0, fragment, VNET.pack(NEEDS_CSUM, kind, 0, 20, 0, 16))
    net.run()
    assert net.delivered[1] == [] and net.tunnels[0].counts["lost"] == 1


@given(st.binary(min_size=1, max_size=300))
def test_the_sum_is_that_of_rfc_1071(data):
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert ones_sum(data) == total % 65535
