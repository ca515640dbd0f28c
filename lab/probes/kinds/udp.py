"""The probe `udp`: one datagram, which the lab itself answers in the container that is asked."""

import os
import socket
from collections.abc import Iterator
from select import EPOLLIN

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.options import OptionFault, Options
from lab.kinds.probes import ProbeKind
from lab.probes.echo import HEADER, LARGEST, Echo, question, read_answer
from lab.probes.tries import SocketTry

__all__ = ["KIND", "UDP_PORT", "UdpTry", "number_faults"]

UDP_PORT = 7007
_SIZE = 64
_OVERHEAD = 28
"""Bytes of IP and UDP headers of a simulated packet."""


class UdpTry(SocketTry):
    """One datagram; ok when its answer comes."""

    __slots__ = ("_secret",)

    def start(self, poller: Poller, done: Done) -> None:
        self._secret = int.from_bytes(os.urandom(8), "big")
        sock = self.open(poller, done, socket.SOCK_DGRAM, self.probe.port, EPOLLIN)
        sock.send(question(self._secret, self.number, 0, int(self.probe.options.get("size", _SIZE))))

    def ready(self) -> None:
        data = self.received(LARGEST + 1)
        if data is not None and read_answer(data, self._secret, self.number) is not None:
            self.done(self, True, "", ())


def number_faults(options: Options, ranges: dict[str, tuple[int, int]]) -> Iterator[OptionFault]:
    """What is wrong with options that are all whole numbers within a range."""
    for key, value in options.items():
        if key not in ranges:
            known = f"one of {', '.join(ranges)}"
            yield OptionFault(key, f"the option {key!r}", known, unknown=True)
            continue
        least, most = ranges[key]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            yield OptionFault(key, repr(value), f"a whole number from {least} to {most}")


RANGES = {"port": (1, 65535), "size": (HEADER, LARGEST)}


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> UdpTry:
    return UdpTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    size = int(attempt.probe.options.get("size", _SIZE)) + _OVERHEAD
    attempt.exchange(size, size, port=attempt.probe.port, protocol="udp")


KIND = ProbeKind(
    name="udp",
    title="UDP echo",
    about=f"a datagram of `size` bytes ({_SIZE}) to UDP port `port` ({UDP_PORT}), where the lab answers in the "
    "container itself; good when the answer comes",
    asks="container",
    protocol="udp",
    attempt=_attempt,
    simulate=_simulate,
    options=lambda: RANGES,
    faults=lambda options: number_faults(options, RANGES),
    port=UDP_PORT,
    serve=Echo,
)
