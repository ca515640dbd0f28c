"""Many datagrams in one call come out as Python's own sockets would give them, joined where they may be."""

import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.runtime.recvmmsg import ReceiveBuffers

_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104


class Pair:
    """A receiver and two senders on the loopback interface."""

    def __init__(self, family=socket.AF_INET, host="127.0.0.1"):
        self.sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(3)]
        for sock in self.sockets:
            sock.bind((host, 0))
        self.receiver, *self.senders = self.sockets
        self.host = host
        self.receptions = ReceiveBuffers(8, 65_536)

    def send(self, who, data):
        self.senders[who].sendto(data, self.receiver.getsockname())

    def take(self):
        found = []
        while number := self.receptions.receive(self.receiver.fileno()):
            found += list(self.receptions.datagrams(number))
        return found

    def close(self):
        for sock in self.sockets:
            sock.close()


def apart(found):
    return [
        (data[start : start + (piece or len(data))], source)
        for data, piece, source in found
        for start in range(0, len(data), piece or len(data) or 1)
    ]


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([1, 2, 3, 700, 1400])), max_size=20))
@settings(deadline=None, max_examples=60)
def test_every_datagram_once_in_order_with_its_source(sizes):
    pair = Pair()
    sent = [(bytes((number,)) * size, who) for number, (who, size) in enumerate(sizes)]
    for data, who in sent:
        pair.send(who, data)
    found = pair.take()
    ports = [sock.getsockname() for sock in pair.senders]
    pair.close()
    assert apart(found) == [(data, ports[who]) for data, who in sent]
    assert all(piece < len(data) for data, piece, _ in found)


def test_equal_ones_are_handed_out_together_and_a_shorter_one_ends_the_row():
    pair = Pair()
    for size in (100, 100, 40, 100, 200):
        pair.send(0, bytes(size))
    shapes = [(len(data), piece) for data, piece, _ in pair.take()]
    pair.close()
    assert shapes == [(240, 100), (100, 0), (200, 0)]


def test_what_the_kernel_has_joined_says_of_which_pieces():
    pair = Pair()
    pair.receiver.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    data = bytes(range(250)) * 20
    segment = struct.pack("=H", 1400)
    pair.senders[0].sendmsg([data], [(_SOL_UDP, _UDP_SEGMENT, segment)], 0, pair.receiver.getsockname())
    found = pair.take()
    pair.close()
    assert b"".join(data for data, _, _ in found) == data and {piece for _, piece, _ in found} == {1400}


def test_ipv6_and_an_empty_datagram():
    pair = Pair(socket.AF_INET6, "::1")
    pair.send(1, b"")
    pair.send(1, b"six")
    found = pair.take()
    port = pair.senders[1].getsockname()[1]
    pair.close()
    assert apart(found) == [(b"six", ("::1", port))]


def test_nothing_there_is_nothing_and_no_socket_is_an_error():
    pair = Pair()
    assert pair.take() == []
    descriptor = pair.receiver.fileno()
    pair.close()
    try:
        pair.receptions.receive(descriptor)
    except OSError as error:
        assert error.errno
    else:
        raise AssertionError("a closed descriptor was read from")
