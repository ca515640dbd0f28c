"""The probe `udp`: one datagram, which the lab itself answers in the target container."""

import os
import socket
from select import EPOLLIN

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.echo import HEADER, LARGEST, OVERHEAD, Echo, question, read_answer
from lab.probes.tries import SocketTry

__all__ = ["KIND", "UdpTry"]

_PORT = 7007
_SIZE = 64


class UdpTry(SocketTry):
    """One datagram; ok when its reply arrives."""

    __slots__ = ("_secret",)

    def start(self, poller: Poller, done: Done) -> None:
        self._secret = int.from_bytes(os.urandom(8), "big")
        sock = self.open(poller, done, socket.SOCK_DGRAM, self.probe.port, EPOLLIN)
        sock.send(question(self._secret, self.number, 0, int(self.probe.options.get("size", _SIZE))))

    def ready(self) -> None:
        data = self.received(LARGEST + 1)
        if data is not None and read_answer(data, self._secret, self.number) is not None:
            self.done(self, True, "", ())


RANGES = {"port": (1, 65535), "size": (HEADER, LARGEST)}


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> UdpTry:
    return UdpTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    size = int(attempt.probe.options.get("size", _SIZE)) + OVERHEAD
    attempt.exchange(size, size, port=attempt.probe.port, protocol="udp")


KIND = ProbeKind(
    name="udp",
    title="UDP echo",
    about=f"a datagram of `size` bytes ({_SIZE}) to UDP port `port` ({_PORT}), where the lab answers in the "
    "container itself; good when the answer comes",
    asks="container",
    protocol="udp",
    attempt=_attempt,
    simulate=_simulate,
    options=RANGES.keys,
    numbers=RANGES,
    port=_PORT,
    serve=Echo,
)
