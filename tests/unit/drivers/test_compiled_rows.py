"""Compiled rows do what the Python does, packet by packet; what is unusual, cut short or forged they leave to it."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from row_sides import both, ip6_frame, ip_frame, partial, plain, tcp, udp
from tunnels import ipv4, mac

from overlay.crypto.seal import EPOCH_PACKETS, EPOCH_TIME
from overlay.datapath import inner
from overlay.datapath.inner import ETHERNET, NEEDS_CSUM, VNET, Gso, layers
from overlay.runtime.rows.building import build, compiler
from overlay.runtime.rows.loading import load

CONTAINERS = 3


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not compiler() and "CI" not in os.environ:
        pytest.skip("no C compiler")
    checked = ("-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    return load(build(tmp_path_factory.mktemp("rows"), extra=checked))


lengths = st.one_of(st.integers(0, 80), st.integers(400, 600), st.integers(1200, 1450))


@st.composite
def frames(draw, target: int, usual: bool):
    """What a container of peer 0 or 1 sends to one of the other peer."""
    source = 1 - target
    kinds = ["tcp", "tcp6", "small", "ping", "udp", "udp6", "super", "super6", "datagrams"]
    kind = draw(st.sampled_from(kinds if usual else [*kinds, "broadcast", "unknown", "wrong", "runt", "large", "odd"]))
    sequence = draw(st.integers(0, 2**32 - 1))
    flags = draw(st.sampled_from([0x10, 0x10, 0x18, 0x11, 0x90, 0x98]))
    fill = bytes((draw(st.integers(0, 255)),))
    long, cut = draw(st.integers(1500, 30_000)), draw(st.integers(700, 1448))
    payload = fill * draw(lengths)
    if kind == "tcp":
        return partial(ip_frame(source, target, 6, tcp(sequence, payload[:1300], flags=flags)))
    if kind == "tcp6":
        return partial(ip6_frame(source, target, 6, tcp(sequence, payload[:1300], flags=flags)))
    if kind == "small":
        return partial(ip_frame(source, target, 6, tcp(sequence, payload[:20])))
    if kind == "udp":
        return partial(
            ip_frame(source, target, 17, udp(payload[:1300]), df=draw(st.booleans()), number=draw(st.integers(0, 3)))
        )
    if kind == "udp6":
        return partial(ip6_frame(source, target, 17, udp(payload[:1300])))
    if kind == "super":
        return partial(ip_frame(source, target, 6, tcp(sequence, fill * long, flags=flags)), cut=cut)
    if kind == "super6":
        return partial(ip6_frame(source, target, 6, tcp(sequence, fill * long, flags=flags)), cut=cut)
    if kind == "datagrams":
        return partial(ip_frame(source, target, 17, udp(fill * long)), cut=min(cut, 1200))
    if kind == "broadcast":
        return plain(b"\xff" * 6 + mac(source) + b"\x08\x06" + fill * 46)
    if kind == "unknown":
        return plain(bytes(6) + mac(source) + b"\x08\x06" + fill * 46)
    if kind == "wrong":
        return (
            VNET.pack(NEEDS_CSUM, draw(st.integers(0, 5)), 0, draw(st.integers(0, 2000)), 34, 16)
            + mac(target)
            + payload
        )
    if kind == "runt":
        return draw(st.binary(max_size=VNET.size + ETHERNET))
    if kind == "large":
        return plain(ip_frame(source, target, 17, udp(fill * 2000), df=draw(st.booleans())))
    if kind == "odd":
        return (
            VNET.pack(*draw(st.tuples(*[st.integers(0, 255)] * 2, *[st.integers(0, 65535)] * 4)))
            + mac(target)
            + payload
        )
    return plain(ipv4(source, mac(target), payload[:1300]))


def test_the_usual_is_taken_and_comes_to_the_same_packets_and_writes(library):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(frames(1, True), min_size=1, max_size=12), st.booleans())
    def check(given, sealed):
        alone, compiled = both(0, library, sealed=sealed)
        warm = plain(ipv4(0, mac(1), b"hello"))
        assert alone.out([warm]) == compiled.out([warm])  # teaches both the route
        packets = alone.out(given)
        assert compiled.out(given) == packets
        assert alone.tunnel.counts == compiled.tunnel.counts
        there, by_c = both(1, library, sealed=sealed)
        for row in rows_of(packets):
            assert there.incoming(row) == by_c.incoming(row)
        assert there.tunnel.counts == by_c.tunnel.counts
        assert by_c.taken > 0
        for session, other in zip(there.tunnel.sessions, by_c.tunnel.sessions, strict=True):
            assert session.expected == other.expected

    check()


def rows_of(packets: list[bytes], size: int = 32) -> list[list[tuple[bytes, int]]]:
    """Packets as the kernel gives them: those of one length joined."""
    slots: list[tuple[bytes, int]] = []
    for packet in packets:
        before, segment = slots[-1] if slots else (b"", 0)
        if before and len(before) % segment == 0 and len(packet) <= segment and len(before) + len(packet) <= 64_000:
            slots[-1] = (before + packet, segment)
        else:
            slots.append((packet, len(packet)))
    slots = [(data, segment if segment < len(data) else 0) for data, segment in slots]
    return [slots[start : start + size] for start in range(0, len(slots), size)]


def test_the_unusual_is_left_to_python_and_nothing_is_lost_or_doubled(library):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(frames(1, False), min_size=1, max_size=12), st.booleans())
    def check(given, sealed):
        alone, compiled = both(0, library, sealed=sealed)
        warm = plain(ipv4(0, mac(1), b"hello"))
        assert alone.out([warm]) == compiled.out([warm])
        packets = alone.out(given)
        assert compiled.out(given) == packets
        assert alone.tunnel.counts == compiled.tunnel.counts
        there, by_c = both(1, library, sealed=sealed)
        for row in rows_of(packets):
            assert cut(there.incoming(row)) == cut(by_c.incoming(row))
        assert there.tunnel.counts == by_c.tunnel.counts

    check()


def cut(writes: list[bytes]) -> list[bytes]:
    """What containers get of writes: super-packets cut again, without IPv4's identification."""
    packets = []
    for write in writes:
        flags, kind, _, size, *_ = VNET.unpack_from(write)
        frame, found = write[VNET.size :], layers(write[VNET.size :])
        pieces = [frame]
        if kind and found is not None:
            pieces = (inner.split_udp if kind == Gso.UDP_L4 else inner.split_tcp)(frame, found, size)
        for piece in pieces:
            if flags and found is not None:
                piece = inner.finished(piece, found)
            packets.append(piece[:18] + piece[20:24] + piece[26:] if kind or flags else piece)
    return packets


def test_hostile_rows_change_nothing_that_python_would_not_change(library):
    """Bits flipped, rows cut short, segments that do not fit, packets again and in another order."""

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 2**32), st.booleans())
    @example(45, False)  # a packet that was cut short, behind ones that it would continue
    def check(seed, sealed):
        rng = Random(seed)
        sender, _ = both(0, library, sealed=sealed)
        stream = [partial(ip_frame(0, 1, 6, tcp(1000 * n, bytes(1000)))) for n in range(6)]
        stream.insert(rng.randrange(7), partial(ip_frame(0, 1, 6, tcp(9, bytes(9000))), cut=1400))
        stream += [partial(ip_frame(0, 1, 17, udp(bytes(100)))) for _ in range(3)]
        packets = sender.out([plain(ipv4(0, mac(1), b"hello"))]) + sender.out(stream)
        rows = [slot for row in rows_of(packets) for slot in row]
        hostile = []
        for data, segment in rows:
            spoiled = bytearray(data)
            for _ in range(rng.choice((0, 0, 1, 3))):
                spoiled[rng.randrange(min(len(spoiled), rng.choice((30, 5000))))] ^= 1 << rng.randrange(8)
            kind = rng.randrange(8)
            if kind == 0:
                del spoiled[rng.randrange(len(spoiled)) :]
            if kind == 1:
                segment = rng.choice((1, 23, 24, 39, 40, 41, 500, 65535))
            if kind == 2:
                hostile.append((bytes(spoiled), segment))
            hostile.append((bytes(spoiled), segment))
        if rng.random() < 0.3:
            rng.shuffle(hostile)
        source = ("10.0.0.9", 7) if rng.random() < 0.1 else None
        alone, compiled = both(1, library, sealed=sealed)
        assert cut(alone.incoming(hostile[:32], source)) == cut(compiled.incoming(hostile[:32], source))
        assert alone.tunnel.counts == compiled.tunnel.counts
        (one,), (other,) = alone.tunnel.sessions, compiled.tunnel.sessions
        assert (one.expected, one.address, one.frames) == (other.expected, other.address, other.frames)
        # The same again is a replay for both.
        assert cut(alone.incoming(hostile[:32])) == cut(compiled.incoming(hostile[:32]))
        assert alone.tunnel.counts == compiled.tunnel.counts

    check()


def test_any_bytes_at_all_are_survived(library):
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 300)), min_size=1, max_size=8), st.booleans())
    def check(given, sealed):
        alone, compiled = both(1, library, sealed=sealed)
        (session,) = compiled.tunnel.sessions
        begin = bytes((0x80 | session.sealed, 64)) + session.tag + bytes(5) + compiled.tunnel.own_id
        begins = [(begin + data, segment) for data, segment in given]
        for rows in (given, begins):
            assert alone.incoming(rows) == compiled.incoming(rows)
            assert alone.out([data for data, _ in rows]) == compiled.out([data for data, _ in rows])
        assert alone.tunnel.counts == compiled.tunnel.counts

    check()


@pytest.mark.parametrize("far", [EPOCH_TIME, 3 * EPOCH_TIME])
def test_a_key_that_is_due_is_changed_by_python(library, far):
    alone, compiled = both(0, library, sealed=True)
    frame = [partial(ip_frame(0, 1, 6, tcp(1, bytes(9000))), cut=1400)]
    there, by_c = both(1, library, sealed=True)
    for _ in range(4):
        for _ in range(2):
            packets = alone.out(frame)
            assert compiled.out(frame) == packets
            for row in rows_of(packets):
                assert cut(there.incoming(row)) == cut(by_c.incoming(row))
        alone.now += far
        compiled.now += far
    (session,) = compiled.tunnel.sessions
    assert session.sealer is not None and session.sealer.epoch > 1
    assert compiled.taken and by_c.taken


def test_the_last_counters_of_a_key_are_left_to_python(library):
    _, compiled = both(0, library, sealed=True)
    compiled.out([plain(ipv4(0, mac(1), b"hello"))])
    (session,) = compiled.tunnel.sessions
    assert session.sealer is not None
    session.sealer.reserve(EPOCH_PACKETS - 30, compiled.now)
    compiled.tunnel.changes += 1
    before = compiled.taken
    assert compiled.out([partial(ip_frame(0, 1, 6, tcp(1, bytes(60_000))), cut=1400)])
    assert compiled.taken == before
    assert session.sealer.epoch == 1


def test_small_frames_of_several_containers_share_packets_of_a_peer(library):
    for side in both(0, library, sealed=True):  # the world's peer of a MAC is its last byte
        frames = [plain(bytes((2, 0, 0, 0, number, 1)) + mac(0) + b"\x08\x06" + bytes(46)) for number in range(5)]
        side.out(frames)
        assert len(side.out(frames)) == 1
