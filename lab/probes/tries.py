"""Shared code of tries on real hosts: a try, one with its own socket, and system errors in the words of a report.

The agent drives a try: `start` creates the socket (the process is in the container's namespace then), `ready` is called
when the socket is ready, `close` when the try is over. Each ends by calling its `done` exactly once or by being closed.
It knows nothing of schedules, deadlines or namespaces. `lab.probes.kinds` defines what each kind sends.
"""

import errno
import os
import socket

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller

__all__ = ["SocketTry", "Try", "error_text", "family_of"]

_NAMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
}


def error_text(error: OSError) -> str:
    """A system error in the words of a report."""
    return _NAMES.get(error.errno or 0) or os.strerror(error.errno or 0).lower()


def family_of(address: str) -> socket.AddressFamily:
    """The family of an IP literal."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Try:
    """Shared by all kinds."""

    __slots__ = ("due", "measured", "number", "over", "probe", "sent", "took")

    def __init__(self, probe: Probe, due: int, number: int) -> None:
        self.probe = probe
        self.due = due
        self.number = number
        """Running number in this agent; identifies the try on the wire."""
        self.sent = 0
        """Clock when it was started, 0 before that."""
        self.over = False
        """True once its sample is written."""
        self.took: int | None = None
        """The time to report, if it is not from sending to the end."""
        self.measured: dict[str, int] = {}
        """Additional measurements (`Sample.measured`)."""

    def start(self, poller: Poller, done: Done) -> None:
        """Create the socket and send; raises `OSError`."""
        raise NotImplementedError

    def close(self) -> None:
        """Release everything; idempotent."""
        raise NotImplementedError


class SocketTry(Try):
    """A try with its own socket."""

    __slots__ = ("done", "poller", "socket")

    def __init__(self, probe: Probe, due: int, number: int) -> None:
        super().__init__(probe, due, number)
        self.socket: socket.socket | None = None

    def open(self, poller: Poller, done: Done, kind: socket.SocketKind, port: int, mask: int) -> socket.socket:
        """Open a socket to the probe's address; `ready` is called for the events in `mask`."""
        self.poller, self.done = poller, done
        address = self.probe.address
        sock = self.socket = socket.socket(family_of(address), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        code = sock.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        poller.watch(sock.fileno(), mask, self.ready)
        return sock

    def ready(self) -> None:
        """The socket is readable, writable or broken."""
        raise NotImplementedError

    def received(self, most: int) -> bytes | None:
        """The next datagram; None: there is none, or an error has ended the try."""
        if self.socket is None:
            return None
        try:
            return self.socket.recv(most)
        except BlockingIOError:
            return None
        except OSError as error:
            self.done(self, False, error_text(error), ())
            return None

    def close(self) -> None:
        if self.socket is not None:
            if self.socket.fileno() >= 0:
                self.poller.forget(self.socket.fileno())
            self.socket.close()
            self.socket = None
