"""The probe `http`: GET over a new TCP connection (RFC 9112)."""

import os
import socket
from select import EPOLLIN, EPOLLOUT

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.http import HttpError, HttpGet
from lab.probes.tries import SocketTry, error_text

__all__ = ["ANSWER", "KIND", "REQUEST", "SERVING", "HttpTry"]

REQUEST, ANSWER = 220, 280
"""Bytes of a simulated request and of a small response."""
SERVING = 250_000
"""Nanoseconds that a simulated service takes to respond."""


class HttpTry(SocketTry):
    """GET over a new connection; ok when the whole response arrived with status 200."""

    __slots__ = ("_asked", "_get")

    def start(self, poller: Poller, done: Done) -> None:
        self._asked = False
        self._get = HttpGet(self.probe.address, self.probe.port or 80, self.probe.path)
        self.open(poller, done, socket.SOCK_STREAM, self.probe.port or 80, EPOLLOUT)

    def ready(self) -> None:
        sock = self.socket
        if sock is None:
            return
        try:
            if not self._asked:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                # A few hundred bytes into an empty send buffer are never a partial write.
                sock.send(self._get.request)
                self._asked = True
                self.poller.change(sock.fileno(), EPOLLIN)
                return
            self._get.feed(sock.recv(65536))
        except BlockingIOError:
            return
        except OSError as error:
            self.done(self, False, error_text(error), ())
            return
        except HttpError as error:
            self.done(self, False, str(error), ())
            return
        if self._get.done:
            status = self._get.status
            self.done(self, status == 200, "" if status == 200 else f"status {status}", ())


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> HttpTry:
    return HttpTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    attempt.connect(REQUEST, ANSWER, serving=SERVING)


KIND = ProbeKind(
    name="http",
    title="HTTP",
    about="GET of the service's `path` at its `port`, over a connection of its own; good with status 200",
    asks="port",
    protocol="tcp",
    attempt=_attempt,
    simulate=_simulate,
    by_default=True,
)
