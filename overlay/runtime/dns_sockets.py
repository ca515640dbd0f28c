"""The sockets of port 53: datagrams and connections of clients, with limits for each client.

Owns sockets, buffers and idle timeouts. Knows no DNS except the length prefix of messages over TCP (RFC 7766). The
kernel filters by interface (`interface_filter`).

Bounded: connections of one client and in total, idle time, and buffers in both directions. All datagrams of one client
go to the same one of several sockets, so a flood fills the queue of few other clients. Datagrams are received and
answered in batches, a system call for each.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from overlay.errors import EnvironmentProblem
from overlay.kernel.interface_filter import accept_only_from, spread_by_source
from overlay.runtime.recvmmsg import ReceiveBuffers
from overlay.runtime.sendmmsg import ReplyBuffers
from overlay.shares import Shares

__all__ = ["DnsSockets", "Questions", "TcpClients"]

TCP_IDLE: Final = 30.0
"""Seconds without a complete query."""
TCP_EACH: Final = 16
TCP_TOTAL: Final = 128
"""Connections of one client, and in total: an eighth of a service's default descriptor limit."""
MAX_UNREAD: Final = 64 << 10
"""Bytes of answers that a client has not read; above this limit its further queries wait."""
QUEUES: Final = 16
"""Number of UDP sockets."""
_BATCH: Final = 32
"""Datagrams read from one socket in one turn of the loop."""
_MAX_REPLY: Final = 4096
"""Longer answers are sent one by one."""
_MAX_DATAGRAM: Final = 65_535
_IP_FREEBIND: Final = 15
_SO_REUSEPORT: Final = 15


class Questions(Protocol):
    """Receives the queries (`overlay.runtime.dns_server`)."""

    def asked(self, payload: bytes, reply: Callable[[bytes], None], *, tcp: bool, client: str = "") -> None:
        """Handle a query of a client. `reply` may be called once, now or later, or never."""
        ...

    def answered(self, payloads: list[bytes]) -> list[bytes]:
        """The answers to these datagrams that are known at once; an empty one where `asked` has to decide."""
        ...


class DnsSockets:
    """The sockets on one address. `interfaces`: accept queries from these; None: from all."""

    def __init__(self, questions: Questions, address: str, port: int) -> None:
        self._questions = questions
        self._where = (address, port)
        self._datagrams: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._interfaces: tuple[int, ...] | None = None
        self._received = ReceiveBuffers(_BATCH, _MAX_DATAGRAM)
        self._replies = ReplyBuffers(self._received, _MAX_REPLY)
        self.clients = TcpClients(questions)

    async def listen(self, interfaces: Sequence[int] | None) -> None:
        """Open all sockets. Raises `EnvironmentProblem`."""
        loop = asyncio.get_running_loop()
        self._interfaces = None if interfaces is None else tuple(interfaces)
        try:
            # Another process on the same port would silently receive some of our clients' queries.
            self._bound(socket.SOCK_DGRAM, shared=False).close()
            for _ in range(QUEUES):
                self._datagrams.append(self._bound(socket.SOCK_DGRAM, shared=True))
            spread_by_source(self._datagrams[0], QUEUES)
            self._listener = self._bound(socket.SOCK_STREAM, shared=False)
            self._server = await loop.create_server(self.clients.client, sock=self._listener, backlog=TCP_TOTAL)
        except OSError as error:
            self.close()
            raise EnvironmentProblem(
                f"cannot serve DNS on {self._where[0]} port {self._where[1]}: {os.strerror(error.errno or 0)}; "
                "`ss -lnup` names who has it, `--dns-listen-address` takes another, `--no-dns` does without"
            ) from None
        for sock in self._datagrams:
            loop.add_reader(sock.fileno(), self._readable, sock)

    def restrict(self, interfaces: Sequence[int] | None) -> None:
        """Accept queries from these interfaces only, from now on."""
        wanted = None if interfaces is None else tuple(interfaces)
        if wanted is None or wanted == self._interfaces:
            return
        self._interfaces = wanted
        for sock in (*self._datagrams, self._listener):
            if sock is not None:
                accept_only_from(sock, wanted)

    def close(self) -> None:
        """Close all sockets."""
        loop = asyncio.get_running_loop()
        if self._server is not None:
            self._server.close()
        elif self._listener is not None:
            self._listener.close()
        for sock in self._datagrams:
            loop.remove_reader(sock.fileno())
            sock.close()
        self._datagrams.clear()
        self._listener = self._server = None
        self.clients.close()

    def _bound(self, kind: int, *, shared: bool) -> socket.socket:
        """Bind to an address that this host may get later, because the daemon itself sets it (an exposed address)."""
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            if self._interfaces is not None:
                accept_only_from(sock, self._interfaces)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, _SO_REUSEPORT, 1)
            if family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.bind(self._where)
        except OSError:
            sock.close()
            raise
        return sock

    def _readable(self, sock: socket.socket) -> None:
        received, replies, descriptor = self._received, self._replies, sock.fileno()
        try:
            number = received.receive(descriptor)
        except OSError:  # a client is gone
            return
        if not number:
            return
        payloads = received.copies(number)
        slow = []
        for slot, answer in enumerate(self._questions.answered(payloads)):
            if 0 < len(answer) <= replies.size:
                replies.add(slot, answer)
            else:
                slow.append((slot, answer))
        replies.send(descriptor)
        for slot, answer in slow:
            source = received.source(slot)
            reply = _back(sock, source)
            if answer:
                reply(answer)
            else:
                self._questions.asked(payloads[slot], reply, tcp=False, client=source[0])


def _back(sock: socket.socket, source: Any) -> Callable[[bytes], None]:
    def reply(answer: bytes) -> None:
        # If the kernel does not accept the datagram at once it is lost, as on a wire; nothing is queued for one client.
        with suppress(OSError):
            sock.sendto(answer, source)

    return reply


class TcpClients:
    """All connections of clients."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._shares = Shares(TCP_EACH, TCP_TOTAL)
        self._clients: dict[int, _DnsConnection] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._clients)

    def client(self) -> asyncio.Protocol:
        """Create the protocol object for a new connection."""
        return _DnsConnection(self, self._questions)

    def close(self) -> None:
        """Close all connections."""
        for client in list(self._clients.values()):
            client.abort()

    def arrived(self, client: "_DnsConnection") -> int:
        """Give the connection a place; it may evict another one."""
        self._last += 1
        gone = self._shares.take(client.host, self._last)
        self._clients[self._last] = client
        if gone is not None:
            self._clients[gone].abort()
        return self._last

    def left(self, number: int) -> None:
        """Forget a closed connection."""
        self._shares.give_back(number)
        self._clients.pop(number, None)


class _DnsConnection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, clients: TcpClients, questions: Questions) -> None:
        self._clients = clients
        self._questions = questions
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._buffer = bytearray()
        self._paused = False
        """The client does not read."""
        self._pumping = False
        self._active_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if peer is None:
            self._transport.abort()
            return
        self.host = str(peer[0])
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.set_write_buffer_limits(high=MAX_UNREAD)
        loop = asyncio.get_running_loop()
        self._active_at = loop.time()
        self._timer = loop.call_later(TCP_IDLE, self._look)
        self._number = self._clients.arrived(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._pump()

    def pause_writing(self) -> None:
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._active_at = asyncio.get_running_loop().time()
        self._pump()
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._buffer.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._clients.left(self._number)

    def abort(self) -> None:
        """Close it at once; unread answers are lost."""
        if self._transport is not None:
            self._transport.abort()

    def _pump(self) -> None:
        """Handle all complete queries, until the client has too many unread answers."""
        if self._pumping:
            return
        self._pumping = True
        at = 0
        buffer, transport = self._buffer, self._transport
        while not self._paused and transport is not None and not transport.is_closing():
            end = at + 2 + int.from_bytes(buffer[at : at + 2], "big")
            if len(buffer) < at + 2 or len(buffer) < end:
                break
            self._active_at = asyncio.get_running_loop().time()
            self._questions.asked(bytes(buffer[at + 2 : end]), self._reply, tcp=True, client=self.host)
            at = end
        del buffer[:at]
        self._pumping = False

    def _reply(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(struct.pack("!H", len(answer)) + answer)

    def _look(self) -> None:
        """Close it if it is idle."""
        loop = asyncio.get_running_loop()
        left = self._active_at + TCP_IDLE - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look)
            return
        self.abort()
