"""The probe `tcp`: opens a connection to the service's port, and asks nothing."""

import os
import socket
from select import EPOLLOUT

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, Shared, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.tries import SocketTry, error_text


class TcpTry(SocketTry):
    """One connection; good when it is open."""

    def start(self, poller: Poller, done: Done) -> None:
        """Send the SYN."""
        self.open(poller, done, socket.SOCK_STREAM, self.probe.port, EPOLLOUT)

    def ready(self) -> None:
        """It is open, or refused."""
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if self.socket is not None else 0
        self.done(self, not code, error_text(OSError(code, os.strerror(code))) if code else "", ())


def _attempt(probe: Probe, due: int, number: int, shared: Shared) -> TcpTry:
    return TcpTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    attempt.connect()


KIND = ProbeKind(
    name="tcp",
    title="TCP connection",
    about="a connection to the service's `port`; good when it is open",
    asks="port",
    protocol="tcp",
    attempt=_attempt,
    simulate=_simulate,
)
