"""The lab's own answer to datagrams of probes: what a packet looks like, and who answers it.

A packet is a mark, the probe's secret, the number of the try and of the packet, and the time of arrival, which only an
answer has; zeros fill it to its size. An answer has another mark and the size of the question, so that two that answer
cannot keep each other busy, and nobody gets more bytes sent somewhere than he sends himself.
"""

import socket
import struct
import time
from select import EPOLLIN

from lab.contracts.lab import Probe
from lab.contracts.probe import Poller

__all__ = ["HEADER", "LARGEST", "OVERHEAD", "Echo", "answer_to", "both_families", "question", "read_answer"]

_PACKET = struct.Struct("!8sQQIq")
HEADER = _PACKET.size
"""Bytes that a packet has at least."""
LARGEST = 1400
"""Bytes of payload that a packet may have: it fits into every overlay's MTU."""
OVERHEAD = 28
"""Bytes of IP and UDP headers of a simulated packet."""
_ASKS, _ANSWERS = b"labecho?", b"labecho!"
_AT_ONCE = 256


def question(secret: int, number: int, packet: int, size: int) -> bytes:
    """A packet to be answered."""
    return _PACKET.pack(_ASKS, secret, number, packet, 0).ljust(size, b"\0")


def answer_to(data: bytes, now: int) -> bytes | None:
    """The answer to a packet that arrived; None for what is no question."""
    if not HEADER <= len(data) <= LARGEST or not data.startswith(_ASKS):
        return None
    _, secret, number, packet, _ = _PACKET.unpack_from(data)
    return _PACKET.pack(_ANSWERS, secret, number, packet, now).ljust(len(data), b"\0")


def read_answer(data: bytes, secret: int, number: int) -> tuple[int, int] | None:
    """(number of the packet, when it arrived there) of an answer to this try; None for anything else."""
    if len(data) < HEADER:
        return None
    mark, theirs, of, packet, arrived = _PACKET.unpack_from(data)
    return (packet, arrived) if (mark, theirs, of) == (_ANSWERS, secret, number) else None


def both_families(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket that is bound to a port of all addresses, IPv4 and IPv6 where there is that; raises `OSError`."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
    except OSError:
        sock.close()
        raise
    return sock


class Echo:
    """Answers datagrams in the namespace in which it was made."""

    def __init__(self, probe: Probe, poller: Poller) -> None:
        self._poller = poller
        self._socket = both_families(socket.SOCK_DGRAM, probe.port)
        poller.watch(self._socket.fileno(), EPOLLIN, self._ready)

    def close(self) -> None:
        """Idempotent."""
        if self._socket.fileno() >= 0:
            self._poller.forget(self._socket.fileno())
            self._socket.close()

    def _ready(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, sender = self._socket.recvfrom(LARGEST + 1)
                answer = answer_to(data, time.monotonic_ns())
                if answer is not None:
                    self._socket.sendto(answer, sender)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody there any more, or a queued error of an earlier answer
