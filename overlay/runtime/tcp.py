"""Control connections on real sockets: the listener, the dialler, and one `Session` for each connection.

Owns sockets, their options, timeouts and write queues. Knows no messages: bytes go through the pure `Session`, and its
output is passed on. An error on one connection ends only that connection.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from overlay.config import Address
from overlay.crypto.derive import RootKeys
from overlay.errors import EnvironmentProblem, RemoteError
from overlay.inputs import DialFailed, Input, TcpClosed, TcpMessage, TcpOpened
from overlay.mesh.session import Session
from overlay.runtime.rate_limited_log import RateLimitedLog
from overlay.shares import Shares
from overlay.wire.codec import Message

__all__ = ["TcpDriver", "bind_all"]

log = logging.getLogger(__name__)

DIAL_TIMEOUT = 3.0
HANDSHAKE_TIMEOUT = 10.0
USER_TIMEOUT_MS = 10_000
"""Unacknowledged data ends a connection after this time (RFC 5482); heartbeats usually notice long before."""
KEEPALIVE_IDLE = 6
KEEPALIVE_EVERY = 1
"""Seconds. An idle connection is probed at this interval. Heartbeats use UDP, so most connections are idle. The rest of
`USER_TIMEOUT_MS` determines the number of probes of which one must be answered (tcp(7); the kernel ignores its own
probe count then). A single probe is not enough, because its loss on the wire or in a full queue would end the
connection."""
_TCP_THIN_LINEAR_TIMEOUTS = 16
_TCP_RTO_MAX_MS = 44
RTO_MAX_MS = 1_000
"""The minimum that Linux accepts (6.15 and later)."""
MAX_QUEUED = 48 << 20
"""Bytes queued for one slow neighbour before its connection is closed; it resynchronises by digest later."""
FLUSH_TIMEOUT = 0.5
"""Seconds to send farewells."""
MAX_STRANGERS = 128
"""Incoming connections without a first frame. Above this limit a new one replaces the oldest connection of the source
with the most, so that strangers cannot use up descriptors and a flood from one source does not block others."""


def bind_all(kind: int, port: int, what: str, host: str = "") -> list[socket.socket]:
    """Sockets of `kind` on all addresses, one for each address family of the kernel, or only on `host` (an IP literal).

    Raises `EnvironmentProblem`.
    """
    bound: list[socket.socket] = []
    everywhere = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    for family, wildcard in [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)] if host else everywhere:
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            continue
        try:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((wildcard, port))
        except OSError as error:
            sock.close()
            if family == socket.AF_INET6 and bound:
                log.info("%s: no IPv6 here (%s)", what, error)
                continue
            for other in bound:
                other.close()
            raise EnvironmentProblem(
                f"cannot open {what} port {port}{' of ' + host if host else ''}: {error.strerror}; "
                "`ss -lntup` names who has it, `--port` takes another"
            ) from None
        bound.append(sock)
    return bound


def _address(name: Any) -> Address:
    return Address(str(name[0]), int(name[1]))


class _TcpConnection(asyncio.Protocol):
    """One control connection: its socket, its session, and the data to write at the end of the turn."""

    def __init__(self, driver: "TcpDriver", dialled: Address | None) -> None:
        self.driver = driver
        self.dialled = dialled
        self.number = 0
        self.session = Session(clock=time.monotonic_ns)
        self.pumping = False
        self.transport: asyncio.Transport | None = None
        self.remote = ""
        self.pending: list[bytes] = []
        self.silent = False
        """The core has closed it, or never knew of it, so events are not reported."""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY)
        # After a link outage too short to end the connection, retransmit soon: no doubling of the retransmission timer
        # for the first six times and, if the kernel supports it, an upper bound.
        for option, value in ((_TCP_THIN_LINEAR_TIMEOUTS, 1), (_TCP_RTO_MAX_MS, RTO_MAX_MS)):
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        peer = transport.get_extra_info("peername")
        if peer is None:
            self.silent = self.dialled is None
            self.transport.abort()
            return
        self.remote = str(peer[0])
        self.transport.set_write_buffer_limits(high=MAX_QUEUED)
        self.driver.greet(self)
        self.transport.write(self.session.outgoing())

    def data_received(self, data: bytes) -> None:
        if self.silent:
            return
        try:
            self.session.feed(data)
            self.pump()
        except RemoteError as error:
            self.driver.complaints.complain("tcp", self.remote, str(error))
            self.fail(str(error))

    def pump(self) -> None:
        """Deliver all complete messages of the session. Raises `RemoteError`."""
        if self.pumping:  # delivering a message may call this again
            return
        self.pumping = True
        try:
            while not self.silent:
                opened = self.session.agreed is not None
                message = self.session.take()
                if not opened and self.session.agreed is not None:
                    self.driver.opened(self)
                if message is None:
                    return
                self.driver.deliver(self, message)
        finally:
            self.pumping = False

    def go_on(self) -> None:
        """This side has replied, so further data can be read."""
        if self.silent:
            return
        try:
            self.pump()
        except RemoteError as error:
            self.driver.complaints.complain("tcp", self.remote, str(error))
            self.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc) if exc else "closed by the other side")

    def pause_writing(self) -> None:
        self.fail(f"more than {MAX_QUEUED >> 20} MiB wait to be sent")

    def fail(self, reason: str) -> None:
        """Close it at once, and report that unless the core has closed it."""
        if self.transport is not None:
            self.transport.abort()
        self.driver.gone(self, reason)

    def flush(self) -> None:
        """Write all data queued in this turn, in one call."""
        if self.pending and self.transport is not None and not self.transport.is_closing():
            data = b"".join(self.pending)
            self.driver.sent_octets += len(data)
            self.transport.write(data)
        self.pending.clear()


class TcpDriver:
    """All control connections of one peer. `sink` receives their inputs."""

    def __init__(self, port: int, sink: Callable[[Input], None], complaints: RateLimitedLog, host: str = "") -> None:
        self.port = port
        self.sink = sink
        self.complaints = complaints
        self._host = host
        self._connections: dict[int, _TcpConnection] = {}
        self._dirty: dict[int, _TcpConnection] = {}
        self._strangers: dict[int, _TcpConnection] = {}
        self._places = Shares(MAX_STRANGERS, MAX_STRANGERS)
        self._dials: dict[asyncio.Task[None], None] = {}
        self._closing: dict[int, asyncio.Future[None]] = {}
        self.sent_octets = 0
        """Bytes sent on control connections, without first frames."""
        self._servers: list[asyncio.Server] = []
        self._last = 0

    async def listen(self) -> None:
        """Open the port. Raises `EnvironmentProblem`."""
        loop = asyncio.get_running_loop()
        for sock in bind_all(socket.SOCK_STREAM, self.port, "TCP", self._host):
            self._servers.append(await loop.create_server(lambda: _TcpConnection(self, None), sock=sock, backlog=512))

    def dial(self, address: Address) -> None:
        """Carry out `effects.Dial`."""
        task = asyncio.get_running_loop().create_task(self._dial(address))
        self._dials[task] = None
        task.add_done_callback(lambda done: self._dials.pop(done, None))

    def send(self, number: int, message: Message) -> None:
        """Carry out `effects.SendTcp`: queued until `flush`."""
        connection = self._connections.get(number)
        if connection is None:
            return
        try:
            connection.pending.append(connection.session.encode(message))
        except ValueError as error:
            log.error("message for %s not sent: %s", connection.remote, error)
            return
        self._dirty[number] = connection

    def secure(self, number: int, keys: RootKeys) -> None:
        """Carry out `effects.Secure`."""
        connection = self._connections.get(number)
        if connection is not None:
            connection.session.secure(keys)
            asyncio.get_running_loop().call_soon(connection.go_on)

    def flush(self) -> None:
        """Write all data queued since the last call."""
        dirty, self._dirty = self._dirty, {}
        for connection in dirty.values():
            connection.flush()

    def end(self, number: int, reason: str) -> None:
        """Carry out `effects.CloseTcp`."""
        connection = self._connections.pop(number, None)
        self._dirty.pop(number, None)
        if connection is None:
            return
        log.debug("connection with %s ended: %s", connection.remote, reason)
        connection.flush()
        connection.silent = True
        if connection.transport is not None:
            self._closing[number] = asyncio.get_running_loop().create_future()
            connection.transport.close()

    async def close(self) -> None:
        """Stop listening, close all connections, and wait a moment until queued data is sent."""
        for server in self._servers:
            server.close()
        for task in list(self._dials):
            task.cancel()
        for number in list(self._connections):
            self.end(number, "stopping")
        if self._closing:
            await asyncio.wait(self._closing.values(), timeout=FLUSH_TIMEOUT)

    # --- called by connections -----------------------------------------------------------------------------------

    def greet(self, connection: _TcpConnection) -> None:
        """A socket is connected; the other side must send its first frame before a timeout."""
        self._last += 1
        connection.number = self._last
        self._strangers[connection.number] = connection
        if connection.dialled is None:
            gone = self._places.take(connection.remote, connection.number)
            if gone is not None:
                self._strangers[gone].fail("others have not spoken yet either, and fewer of them")
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(HANDSHAKE_TIMEOUT, connection.fail, "no first frame in time")

    def opened(self, connection: _TcpConnection) -> None:
        """The handshake is complete: both sides speak the same protocol."""
        self._strangers.pop(connection.number, None)
        self._places.give_back(connection.number)
        if connection.timer is not None:
            connection.timer.cancel()
        self._connections[connection.number] = connection
        assert connection.transport is not None
        local = _address(connection.transport.get_extra_info("sockname"))
        remote = _address(connection.transport.get_extra_info("peername"))
        binding = connection.session.binding(connection.dialled is not None)
        self.sink(TcpOpened(connection.number, local, remote, connection.dialled, binding))

    def deliver(self, connection: _TcpConnection, message: Message) -> None:
        """Pass on a message; ignored after the core has closed the connection."""
        if not connection.silent:
            self.sink(TcpMessage(connection.number, message))

    def gone(self, connection: _TcpConnection, reason: str) -> None:
        """Handle a connection that ended by an error or by the other side."""
        if connection.timer is not None:
            connection.timer.cancel()
        closing = self._closing.pop(connection.number, None)
        if closing is not None:
            closing.set_result(None)
        self._strangers.pop(connection.number, None)
        self._places.give_back(connection.number)
        self._dirty.pop(connection.number, None)
        known = self._connections.pop(connection.number, None) is not None
        if connection.silent:
            return
        connection.silent = True
        if known:
            self.sink(TcpClosed(connection.number, reason))
        elif connection.dialled is not None:
            self.sink(DialFailed(connection.dialled, reason))

    async def _dial(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        connection = _TcpConnection(self, address)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                await loop.create_connection(lambda: connection, address.host, address.port)
        except TimeoutError:
            reason = f"no answer within {DIAL_TIMEOUT:g} s"
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return
        if not connection.silent:
            connection.silent = True
            self.sink(DialFailed(address, reason))
