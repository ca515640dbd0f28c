"""The probe `icmp`: echo requests (RFC 792, RFC 4443) through one raw socket per container and address family.

Owns that socket and the table of pending requests. A reply counts when identifier, sequence number and our token in the
payload all match, because a raw socket also receives replies to all other pings in its namespace.
"""

import socket
import struct
from select import EPOLLIN

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.tries import Try, family_of

__all__ = ["ECHO", "KIND", "EchoSocket", "IcmpTry", "checksum"]

ECHO = 84
"""Bytes of a simulated echo request, IP header included."""

_HEADER = struct.Struct("!BBHHH")
_TOKEN = struct.Struct("!8sQQ")
_MAGIC = b"labprobe"
_FILL = bytes(range(32))
"""Makes the payload 56 bytes, as `ping` does."""
_SOL_RAW = 255
_ICMP_FILTER = 1
_ICMP6_FILTER = 1


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class EchoSocket:
    """A raw ICMP socket in the process's current namespace at its creation.

    Creating it raises `OSError` without CAP_NET_RAW there.
    """

    def __init__(self, family: int, identifier: int, secret: int, poller: Poller) -> None:
        self.waiting: dict[int, IcmpTry] = {}
        """Number of a try -> the try."""
        self._v6 = family == socket.AF_INET6
        self._identifier = identifier & 0xFFFF
        self._secret = secret
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        if self._v6:
            self._socket = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6)
            # A set bit blocks a type (RFC 3542, 3.2): all but echo reply, 129.
            blocked = [0xFFFFFFFF] * 8
            blocked[129 >> 5] &= ~(1 << (129 & 31))
            self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("8I", *blocked))
        else:
            self._socket = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
            self._socket.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", ~(1 << 0) & 0xFFFFFFFF))
        self._poller = poller
        poller.watch(self._socket.fileno(), EPOLLIN, self._ready)

    def send(self, asked: "IcmpTry") -> None:
        """Send one request; raises `OSError`."""
        sequence = asked.number & 0xFFFF
        payload = _TOKEN.pack(_MAGIC, self._secret, asked.number) + _FILL
        kind = 128 if self._v6 else 8
        head = _HEADER.pack(kind, 0, 0, self._identifier, sequence)
        if not self._v6:
            # For IPv6 the kernel fills in the checksum, because only it knows the pseudo header.
            head = _HEADER.pack(kind, 0, checksum(head + payload), self._identifier, sequence)
        self._socket.sendto(head + payload, (asked.probe.address, 0))
        self.waiting[asked.number] = asked

    def close(self) -> None:
        """Idempotent."""
        if self._socket.fileno() >= 0:
            self._poller.forget(self._socket.fileno())
            self._socket.close()

    def _ready(self) -> None:
        # Limited, so that a flood cannot keep the agent from its other work; epoll reports the rest again.
        for _ in range(64):
            try:
                data, address = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                # A queued error of an earlier send; the try ends by its timeout.
                continue
            self._answer(data, address[0])

    def _answer(self, data: bytes, address: str) -> None:
        offset = 0 if self._v6 else (data[0] & 0x0F) * 4
        if len(data) < offset + _HEADER.size + _TOKEN.size:
            return
        kind, _, _, identifier, sequence = _HEADER.unpack_from(data, offset)
        magic, secret, number = _TOKEN.unpack_from(data, offset + _HEADER.size)
        if kind != (129 if self._v6 else 0) or identifier != self._identifier:
            return
        if magic != _MAGIC or secret != self._secret or sequence != number & 0xFFFF:
            return
        asked = self.waiting.get(number)
        if asked is not None and address.partition("%")[0] == asked.probe.address:
            asked.answered()


class IcmpTry(Try):
    """One echo request; ok when its reply comes."""

    __slots__ = ("_done", "_shared", "_used")

    def __init__(self, probe: Probe, due: int, number: int, shared: SharedByTries) -> None:
        super().__init__(probe, due, number)
        self._shared = shared
        self._used: EchoSocket | None = None

    def start(self, poller: Poller, done: Done) -> None:
        self._done = done
        family = family_of(self.probe.address)
        self._used = self._shared.once(
            (EchoSocket, family), lambda number, secret, poller: EchoSocket(family, number, secret, poller)
        )
        self._used.send(self)

    def answered(self) -> None:
        """Its reply has arrived."""
        self._done(self, True, "", ())

    def close(self) -> None:
        if self._used is not None:
            self._used.waiting.pop(self.number, None)
            self._used = None


def _simulate(attempt: SimulatedTry) -> None:
    attempt.exchange(ECHO, ECHO)


KIND = ProbeKind(
    name="icmp",
    title="ICMP echo",
    about="an echo request; good when its reply comes",
    asks="container",
    protocol="icmp",
    attempt=IcmpTry,
    simulate=_simulate,
    by_default=True,
)
