"""A whole turn in compiled code, system calls included, does to real sockets what Python would do."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from row_sides import Side, both, ip_frame, partial, plain, tcp, udp
from tunnels import ipv4, mac

from overlay.datapath.tunnel_session import datagrams
from overlay.runtime.recvmmsg import ReceiveBuffers
from overlay.runtime.rows.building import build, compiler
from overlay.runtime.rows.loading import load


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not compiler() and "CI" not in os.environ:
        pytest.skip("no C compiler")
    return load(
        build(
            tmp_path_factory.mktemp("turns"),
            extra=("-O1", "-fsanitize=undefined,bounds-strict", "-fsanitize-undefined-trap-on-error"),
        )
    )


class Wires:
    """The port and the underlay of a side, as sockets whose other ends the test holds."""

    def __init__(self, side: Side, family: int = socket.AF_INET) -> None:
        assert side.rows is not None
        self.side, self.rows = side, side.rows
        self.bridge, self.port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.own, self.peer = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.own, self.peer):
            each.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            each.settimeout(60)
        self.bridge.settimeout(60)
        (session,) = side.tunnel.sessions
        session.address = self.peer.getsockname()[:2]
        side.tunnel.changes += 1
        fileno = self.own.fileno()
        self.descriptors = (-1, fileno) if family == socket.AF_INET6 else (fileno, -1)
        self.slots, self.datagrams = ReceiveBuffers(32, 70_000), ReceiveBuffers(32, 65_536)
        self.by_python = 0
        self.taken = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self.bridge, self.port, self.own, self.peer):
            each.close()

    def send_many(self, sends):
        for address, buffers, segment in sends:
            for packet in datagrams(buffers, segment):
                self.by_python += 1
                self.own.sendto(packet, address)

    def out(self, frames: list[bytes], most: int = 32) -> list[bytes]:
        """The packets that come out of the underlay for these frames of the port."""
        for frame in frames:
            self.bridge.send(frame)
        side, tunnel = self.side, self.side.tunnel
        before = tunnel.counts["sent"]
        handled = 0
        while handled < len(frames):
            number, left = self.rows.turn_out(self.slots, most, side.now, self.port.fileno(), self)
            assert 0 < number <= most
            handled += number
            self.taken += number - len(left)
            for slot in left:
                tunnel.outgoing(self.slots.packet(slot), side.now)
            self.send_many(tunnel.take_sends())
        assert self.rows.turn_out(self.slots, most, side.now, self.port.fileno(), self) == (0, [])
        return [self.peer.recv(65_536) for _ in range(tunnel.counts["sent"] - before)]

    def incoming(self, packets: list[bytes]) -> list[bytes]:
        """The frames that come out of the port for these packets of the underlay."""
        for packet in packets:
            self.peer.sendto(packet, self.own.getsockname())
        side = self.side
        number, taken = self.rows.turn_in(self.datagrams, side.now, self.own.fileno(), self.port.fileno())
        assert number == taken == len(packets)
        assert self.rows.turn_in(self.datagrams, side.now, self.own.fileno(), self.port.fileno()) == (0, 0)
        self.bridge.setblocking(False)
        frames = []
        try:
            while True:
                frames.append(self.bridge.recv(70_000))
        except BlockingIOError:
            return frames


STREAM = [
    partial(ip_frame(0, 1, 6, tcp(1, bytes(9000))), cut=1400),
    *(partial(ip_frame(0, 1, 17, udp(bytes(1300)), number=number)) for number in range(3)),
    *(partial(ip_frame(0, 1, 6, tcp(number, b"x"))) for number in range(2)),
    partial(ip_frame(0, 1, 6, tcp(7, bytes(20_000))), cut=1200),
]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("sealed", [False, True])
def test_frames_become_the_packets_of_python_and_those_the_same_frames(library, family, sealed):
    alone, compiled = both(0, library, sealed=sealed)
    there, by_c = both(1, library, sealed=sealed)
    with Wires(compiled, family) as near, Wires(by_c, family) as far:
        warm = [plain(ipv4(0, mac(1), b"hello"))]
        packets = alone.out(warm)
        assert near.out(warm) == packets
        assert far.incoming(packets) == there.incoming([(packet, 0) for packet in packets])
        packets = alone.out(STREAM)
        assert len(packets) > 20
        assert near.out(STREAM) == packets
        assert near.taken == len(STREAM)
        assert near.by_python == 1, "only the first frame, whose route was not known"
        for start in range(0, len(packets), 32):
            row = packets[start : start + 32]
            assert far.incoming(row) == there.incoming([(packet, 0) for packet in row])
        assert compiled.tunnel.counts == alone.tunnel.counts
        assert by_c.tunnel.counts == there.tunnel.counts
        (one,), (other,) = there.tunnel.sessions, by_c.tunnel.sessions
        assert one.expected == other.expected


def test_few_at_a_time_are_the_same(library):
    alone, compiled = both(0, library, sealed=True)
    with Wires(compiled) as near:
        for frame in (plain(ipv4(0, mac(1), b"hello")), *STREAM):
            assert near.out([frame], most=1) == alone.out([frame])


def test_what_the_kernel_does_not_cut_is_left_to_python_in_order(library):
    alone, compiled = both(0, library, sealed=True)
    with Wires(compiled) as near:
        warm = [plain(ipv4(0, mac(1), b"hello"))]
        assert near.out(warm) == alone.out(warm)
        near.descriptors = (-1, -1)
        packets = alone.out(STREAM)
        assert near.out(STREAM) == packets
        assert near.by_python == 1 + len(packets)


def test_datagrams_that_the_kernel_joined_are_taken_after_single_ones(library):
    alone, _ = both(0, library, sealed=True)
    there, compiled = both(1, library, sealed=True)
    first = alone.out([plain(ipv4(0, mac(1), b"hello"))])
    row = alone.out([partial(ip_frame(0, 1, 6, tcp(1, bytes(14_000))), cut=1400)])[:-1]
    assert {len(packet) for packet in row} == {len(row[0])}
    with Wires(compiled) as far:
        far.own.setsockopt(17, 104, 1)  # UDP_GRO
        assert far.incoming(first) == there.incoming([(packet, 0) for packet in first])
        segment = [(17, 103, struct.pack("=H", len(row[0])))]  # UDP_SEGMENT
        far.peer.sendmsg(row, segment, 0, far.own.getsockname())
        found = far.rows.turn_in(far.datagrams, compiled.now, far.own.fileno(), far.port.fileno())
        assert found == (1, 1)
        (frame,) = there.incoming([(b"".join(row), len(row[0]))])
        assert far.bridge.recv(70_000) == frame


def test_what_the_port_does_not_take_is_counted_as_lost(library):
    alone, _ = both(0, library, sealed=True)
    _, compiled = both(1, library, sealed=True)
    with Wires(compiled) as far, open(os.devnull, "rb") as closed:
        for packet in alone.out([plain(ipv4(0, mac(1), b"hello"))]):
            far.peer.sendto(packet, far.own.getsockname())
        found = far.rows.turn_in(far.datagrams, compiled.now, far.own.fileno(), closed.fileno())
        assert found == (1, 1)
        assert compiled.tunnel.counts["lost"] == 1
        assert compiled.tunnel.counts["received"] == 1


def test_an_error_of_a_socket_is_told_and_the_next_turn_goes_on(library):
    alone, compiled = both(0, library, sealed=False)
    with Wires(compiled) as near:
        warm = [plain(ipv4(0, mac(1), b"hello"))]
        assert near.out(warm) == alone.out(warm)
        with pytest.raises(OSError, match="Bad file descriptor"):
            near.rows.turn_out(near.slots, 32, compiled.now, -1, near)
        with pytest.raises(OSError, match="Bad file descriptor"):
            near.rows.turn_in(near.datagrams, compiled.now, -1, -1)
        assert near.out(STREAM) == alone.out(STREAM)
