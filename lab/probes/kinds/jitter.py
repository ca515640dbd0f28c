"""The probe `jitter`: a train of numbered datagrams, to measure loss, reordering and interarrival jitter."""

import os
import socket
import time
from select import EPOLLIN

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.echo import HEADER, LARGEST, OVERHEAD, Echo, question, read_answer
from lab.probes.train import PacketTrain
from lab.probes.tries import SocketTry, error_text

__all__ = ["KIND", "JitterTry"]

_PORT = 7008
_PACKETS, _GAP_MS, _SIZE = 20, 5, 172
"""The default resembles an RTP voice call: 160 bytes of sound and a header, but at a higher rate, so that a train is
short."""
RANGES = {"port": (1, 65535), "packets": (2, 1000), "gap_ms": (1, 1000), "size": (HEADER, LARGEST)}


def _shape(probe: Probe) -> tuple[int, int, int]:
    """(packets, nanoseconds between two packets, bytes of each)."""
    options = probe.options
    gap = int(options.get("gap_ms", _GAP_MS)) * 1_000_000
    return int(options.get("packets", _PACKETS)), gap, int(options.get("size", _SIZE))


class JitterTry(SocketTry):
    """One train; ok when any packet of it is answered. It ends when all are, or a tenth before its timeout."""

    __slots__ = ("_begun", "_secret", "_shape", "_train")

    def start(self, poller: Poller, done: Done) -> None:
        self._shape = _shape(self.probe)
        self._secret = int.from_bytes(os.urandom(8), "big")
        self._train = PacketTrain(self._shape[0])
        self._begun = time.monotonic_ns()
        self.open(poller, done, socket.SOCK_DGRAM, self.probe.port, EPOLLIN)
        poller.call_at(self.due + self.probe.timeout * 9 // 10, self._end)
        self._next()

    def ready(self) -> None:
        while not self.over and (data := self.received(LARGEST + 1)) is not None:
            found = read_answer(data, self._secret, self.number)
            if found is not None:
                self._train.answered(*found, time.monotonic_ns())
                if self._train.whole:
                    self._end()

    def _next(self) -> None:
        """Send the packets that are due: each at its own time, however late the previous ones were."""
        packets, gap, size = self._shape
        while not self.over and self.socket is not None and self._train.gone_out < packets:
            number = self._train.gone_out
            due = self._begun + number * gap
            now = time.monotonic_ns()
            if now < due:
                self.poller.call_at(due, self._next)
                return
            self._train.sent(number, now)
            try:
                self.socket.send(question(self._secret, self.number, number, size))
            except BlockingIOError:
                pass  # lost in our own send queue, as it would be in a router's
            except OSError as error:
                self.done(self, False, error_text(error), ())
                return

    def _end(self) -> None:
        if self.over:
            return
        self.took = self._train.median_trip()
        self.measured = self._train.measured()
        self.done(self, self.took is not None, "" if self.took is not None else "timeout", ())


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> JitterTry:
    return JitterTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    packets, gap, size = _shape(attempt.probe)
    attempt.train(packets, gap, size + OVERHEAD)


KIND = ProbeKind(
    name="jitter",
    title="Train of datagrams",
    about=f"`packets` ({_PACKETS}) numbered datagrams of `size` bytes ({_SIZE}), `gap_ms` ({_GAP_MS}) apart, to UDP "
    f"port `port` ({_PORT}), where the lab answers; measures loss, order and jitter (RFC 3550); good when any is "
    "answered; the latency is the median round trip",
    asks="container",
    protocol="udp",
    attempt=_attempt,
    simulate=_simulate,
    options=RANGES.keys,
    numbers=RANGES,
    port=_PORT,
    serve=Echo,
    measures=("loss", "jitter"),
)
