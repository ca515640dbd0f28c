"""The probe `tcp`: opens a connection to the service's port, and sends the option `send`, if there is one."""

import os
import socket
from select import EPOLLOUT

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
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
        if not code and self.socket is not None:
            self.socket.send(_words(self.probe))
        self.done(self, not code, error_text(OSError(code, os.strerror(code))) if code else "", ())


def _words(probe: Probe) -> bytes:
    return str(probe.options.get("send", "")).encode()


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> TcpTry:
    return TcpTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    attempt.connect(len(_words(attempt.probe)))


KIND = ProbeKind(
    name="tcp",
    title="TCP connection",
    about="a connection to the service's `port`; good when it is open",
    asks="port",
    protocol="tcp",
    attempt=_attempt,
    simulate=_simulate,
    options=lambda: ("send",),
)
