"""One try of one probe: HTTP over TCP, DNS over UDP. Owns its socket from the first byte to the verdict.

A try is driven by the agent: `start` makes the socket (the process is in the container's namespace then), `ready` is
called when the socket is, `close` whenever it is over. Each ends by calling its `done` exactly once or by being closed.
It knows nothing of schedules, deadlines or namespaces.
"""

import errno
import os
import socket
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Protocol

from dnslib import AAAA, EDNS0, RCODE, A, DNSError, DNSRecord

from lab.contracts.lab import Probe
from lab.probes.http import HttpError, ResponseReader, request

__all__ = ["Done", "Poller", "Try", "error_text", "family_of"]

Done = Callable[["Try", bool, str, tuple[str, ...]], None]
"""(try, ok, error, answers)."""

_NAMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
}
_UDP_ANSWER = 4096
"""Bytes of answer that we say we take (EDNS0, RFC 6891)."""


def error_text(error: OSError) -> str:
    """A system error in the words of a report."""
    return _NAMES.get(error.errno or 0) or os.strerror(error.errno or 0).lower()


def family_of(address: str) -> socket.AddressFamily:
    """Of an IP literal."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Poller(Protocol):
    """Where a try says what it waits for."""

    def watch(self, fd: int, mask: int, ready: Callable[[], None]) -> None: ...

    def change(self, fd: int, mask: int) -> None: ...

    def forget(self, fd: int) -> None: ...


class Try:
    """What all kinds have in common."""

    __slots__ = ("due", "number", "over", "probe", "sent")

    def __init__(self, probe: Probe, due: int, number: int) -> None:
        self.probe = probe
        self.due = due
        self.number = number
        """Running number in this agent; identifies the try on the wire."""
        self.sent = 0
        """Clock when it was started, 0 before."""
        self.over = False
        """True once its sample is written."""

    def start(self, poller: Poller, done: Done) -> None:
        """Make the socket and send; raises `OSError`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give everything back; idempotent."""
        raise NotImplementedError


class _SocketTry(Try):
    """A try with a socket of its own."""

    __slots__ = ("_done", "_poller", "_socket")

    def __init__(self, probe: Probe, due: int, number: int) -> None:
        super().__init__(probe, due, number)
        self._socket: socket.socket | None = None

    def _open(self, poller: Poller, done: Done, kind: socket.SocketKind, port: int, mask: int) -> socket.socket:
        self._poller, self._done = poller, done
        address = self.probe.address
        sock = self._socket = socket.socket(family_of(address), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        code = sock.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        poller.watch(sock.fileno(), mask, self.ready)
        return sock

    def ready(self) -> None:
        """The socket is readable, writable or broken."""
        raise NotImplementedError

    def close(self) -> None:
        if self._socket is not None:
            if self._socket.fileno() >= 0:
                self._poller.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None


class HttpTry(_SocketTry):
    """GET over a connection of its own; ok when the whole answer came with status 200."""

    __slots__ = ("_asked", "_response")

    def start(self, poller: Poller, done: Done) -> None:
        self._asked = False
        self._response = ResponseReader()
        self._open(poller, done, socket.SOCK_STREAM, self.probe.port or 80, EPOLLOUT)

    def ready(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            if not self._asked:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                # A few hundred bytes into an empty send buffer: never a partial write.
                sock.send(request(self.probe.address, self.probe.port or 80, self.probe.path))
                self._asked = True
                self._poller.change(sock.fileno(), EPOLLIN)
                return
            data = sock.recv(65536)
            if data:
                self._response.feed(data)
            else:
                self._response.eof()
        except BlockingIOError:
            return
        except OSError as error:
            self._done(self, False, error_text(error), ())
            return
        except HttpError as error:
            self._done(self, False, str(error), ())
            return
        if self._response.done:
            status = self._response.status
            self._done(self, status == 200, "" if status == 200 else f"status {status}", ())


class DnsTry(_SocketTry):
    """A query for the A (to a name ending in `/AAAA`: AAAA) records of `probe.target`; ok when there is an answer."""

    __slots__ = ("_id",)

    def start(self, poller: Poller, done: Done) -> None:
        name, _, kind = self.probe.target.partition("/")
        query = DNSRecord.question(name, kind or "A")  # type: ignore[no-untyped-call]
        query.add_ar(EDNS0(udp_len=_UDP_ANSWER))  # type: ignore[no-untyped-call]
        self._id = query.header.id = self.number & 0xFFFF
        self._open(poller, done, socket.SOCK_DGRAM, self.probe.port or 53, EPOLLIN).send(query.pack())

    def ready(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._done(self, False, error_text(error), ())
            return
        try:
            answer = DNSRecord.parse(data)  # type: ignore[no-untyped-call]
        except DNSError:
            self._done(self, False, "malformed answer", ())
            return
        if answer.header.id != self._id or not answer.header.qr:
            return
        found = tuple(sorted({str(record.rdata) for record in answer.rr if isinstance(record.rdata, A | AAAA)}))
        problem = ""
        if answer.header.rcode:
            problem = RCODE.get(answer.header.rcode)  # type: ignore[no-untyped-call]
        elif answer.header.tc:
            problem = "truncated"
        elif not found:
            problem = "no records"
        self._done(self, not problem, problem, found)
