"""The probe `throughput`: `size` bytes over a new TCP connection, counted where the lab receives them.

It measures the goodput of a transfer of that size as an application sees it, slow start included, from the first
received byte to the last. Sender and receiver are in the agents of both hosts and share their time with the other
probes, so neither sends nor reads more than a limited part at a time.
"""

import os
import socket
import struct
import time
from select import EPOLLIN, EPOLLOUT

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.echo import both_families
from lab.probes.tries import SocketTry, error_text

__all__ = ["KIND", "ThroughputSink", "ThroughputTry"]

_PORT = 7009
_SIZE_KB = 1000
RANGES = {"port": (1, 65535), "size_kb": (1, 100_000)}
_HEAD = struct.Struct("!8sQ")
_COUNTED = struct.Struct("!QQ")
"""The receiver's report: bytes, and nanoseconds from the first to the last."""
_MARK = b"labbulk?"
_CHUNK = bytes(64 * 1024)
_AT_ONCE = 1 << 20
_MOST = 64
"""Maximum connections that one sink serves at once; further ones are closed."""


class ThroughputTry(SocketTry):
    """One transfer; ok when the receiver has counted all of it."""

    __slots__ = ("_answer", "_connected", "_head", "_left")

    def start(self, poller: Poller, done: Done) -> None:
        self._left = int(self.probe.options.get("size_kb", _SIZE_KB)) * 1000
        self._head = _HEAD.pack(_MARK, self._left)
        self._answer = b""
        self._connected = False
        self.open(poller, done, socket.SOCK_STREAM, self.probe.port, EPOLLOUT)

    def ready(self) -> None:
        sock = self.socket
        if sock is None:
            return
        try:
            if not self._connected:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self._connected = True
                sock.send(self._head)  # the first bytes into an empty buffer are never a partial write
            if self._left:
                self._send(sock)
            else:
                self._read(sock)
        except BlockingIOError:
            return
        except OSError as error:
            self.done(self, False, error_text(error), ())

    def _send(self, sock: socket.socket) -> None:
        budget = _AT_ONCE
        while self._left and budget > 0:
            sent = sock.send(_CHUNK[: self._left] if self._left < len(_CHUNK) else _CHUNK)
            self._left -= sent
            budget -= sent
        if not self._left:
            self.poller.change(sock.fileno(), EPOLLIN)

    def _read(self, sock: socket.socket) -> None:
        data = sock.recv(_COUNTED.size - len(self._answer))
        self._answer += data
        if not data:
            self.done(self, False, "closed before all was counted", ())
        elif len(self._answer) == _COUNTED.size:
            size, elapsed = _COUNTED.unpack(self._answer)
            self.measured = {"throughput": size * 8_000_000_000 // max(elapsed, 1)}
            self.done(self, True, "", ())


class _Receiving:
    """One incoming transfer."""

    def __init__(self, sink: "ThroughputSink", sock: socket.socket) -> None:
        self._sink, self.socket = sink, sock
        self._head = b""
        self._left = 0
        self._size = self._first = 0

    def ready(self) -> None:
        try:
            if not self._read():
                self._sink.drop(self)
        except BlockingIOError:
            return
        except OSError:
            self._sink.drop(self)

    def _read(self) -> bool:
        """Read the available data; False when the connection has ended."""
        if len(self._head) < _HEAD.size:
            data = self.socket.recv(_HEAD.size - len(self._head))
            self._head += data
            if len(self._head) < _HEAD.size:
                return bool(data)
            mark, self._size = _HEAD.unpack(self._head)
            if mark != _MARK or not 0 < self._size <= RANGES["size_kb"][1] * 1000:
                return False
            self._left = self._size
        for _ in range(_AT_ONCE // len(_CHUNK)):
            got = self.socket.recv_into(self._sink.buffer)
            now = time.monotonic_ns()
            if not got:
                return False
            self._first = self._first or now
            self._left -= got
            if self._left <= 0:
                self.socket.send(_COUNTED.pack(self._size, now - self._first))
                return False
        return True


class ThroughputSink:
    """Receives transfers in the namespace in which it was created."""

    def __init__(self, probe: Probe, poller: Poller) -> None:
        self._poller = poller
        self.buffer = bytearray(len(_CHUNK))
        self._open: dict[int, _Receiving] = {}
        self._socket = both_families(socket.SOCK_STREAM, probe.port)
        self._socket.listen(_MOST)
        poller.watch(self._socket.fileno(), EPOLLIN, self._accept)

    def drop(self, receiving: _Receiving) -> None:
        """A transfer has ended."""
        fd = receiving.socket.fileno()
        if self._open.pop(fd, None) is not None:
            self._poller.forget(fd)
            receiving.socket.close()

    def close(self) -> None:
        """Idempotent."""
        for receiving in list(self._open.values()):
            self.drop(receiving)
        if self._socket.fileno() >= 0:
            self._poller.forget(self._socket.fileno())
            self._socket.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        if len(self._open) >= _MOST:
            sock.close()
            return
        sock.setblocking(False)
        receiving = self._open[sock.fileno()] = _Receiving(self, sock)
        self._poller.watch(sock.fileno(), EPOLLIN, receiving.ready)


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> ThroughputTry:
    return ThroughputTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    attempt.transfer(int(attempt.probe.options.get("size_kb", _SIZE_KB)) * 1000)


KIND = ProbeKind(
    name="throughput",
    title="TCP transfer",
    about=f"`size_kb` ({_SIZE_KB}) kilobytes over a TCP connection to port `port` ({_PORT}), where the lab counts "
    "them; measures throughput; good when all arrived in time",
    asks="container",
    protocol="tcp",
    attempt=_attempt,
    simulate=_simulate,
    options=RANGES.keys,
    numbers=RANGES,
    port=_PORT,
    serve=ThroughputSink,
    judges=False,
    measures=("throughput",),
)
