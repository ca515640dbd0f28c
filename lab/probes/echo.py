"""The lab's own reply to probes' datagrams: the format of a packet, and the responder.

A packet has a mark, the probe's secret, the numbers of the try and of the packet, and the arrival time, which only a
reply has; zeros fill it to its size. A reply has a different mark and the size of the request, so that two responders
cannot send to each other for ever, and traffic cannot be amplified.
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
"""Minimum bytes of a packet."""
LARGEST = 1400
"""Maximum bytes of payload of a packet: it fits into every overlay's MTU."""
OVERHEAD = 28
"""Bytes of IP and UDP headers of a simulated packet."""
_ASKS, _ANSWERS = b"labecho?", b"labecho!"
_AT_ONCE = 256


def question(secret: int, number: int, packet: int, size: int) -> bytes:
    """A request packet."""
    return _PACKET.pack(_ASKS, secret, number, packet, 0).ljust(size, b"\0")


def answer_to(data: bytes, now: int) -> bytes | None:
    """The reply to a packet that arrived; None if it is not a request."""
    if not HEADER <= len(data) <= LARGEST or not data.startswith(_ASKS):
        return None
    _, secret, number, packet, _ = _PACKET.unpack_from(data)
    return _PACKET.pack(_ANSWERS, secret, number, packet, now).ljust(len(data), b"\0")


def read_answer(data: bytes, secret: int, number: int) -> tuple[int, int] | None:
    """(number of the packet, its arrival time there) of a reply to this try; None for anything else."""
    if len(data) < HEADER:
        return None
    mark, theirs, of, packet, arrived = _PACKET.unpack_from(data)
    return (packet, arrived) if (mark, theirs, of) == (_ANSWERS, secret, number) else None


def both_families(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket that is bound to a port of all addresses, IPv4 and IPv6 if available; raises `OSError`."""
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
    """Answers datagrams in the namespace in which it was created."""

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
                continue  # the receiver is gone, or a queued error of an earlier reply
