"""Port 53 for the containers of this host: UDP and TCP sockets, and asking the host's own name servers.

Owns sockets, time-outs and the host's `resolv.conf`. Queries go to the node as they came; what it wants forwarded is
relayed untouched. Answers never wait for anything but the upstream they are asked of.
"""

import asyncio
import ipaddress
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import dnslib
from msgspec import Struct

from overlay.errors import EnvironmentProblem
from overlay.inputs import DnsQuery, Input

__all__ = ["DnsServer", "lookup", "refuse", "upstreams"]

log = logging.getLogger(__name__)

PORT = 53
REREAD = 5.0
"""Seconds for which the host's list of name servers is believed."""
FALLBACK_TIMEOUT = 5.0
"""Seconds for all upstreams together."""
TRY_TIMEOUT = 2.0
"""Seconds for one upstream while there are others."""
TCP_IDLE = 30.0
MAX_WAITING = 4096
"""Queries under way; beyond it new ones are dropped, and their askers try again."""
_IP_FREEBIND = 15
_SERVFAIL = 2
_DNSRecord: Any = dnslib.DNSRecord  # not annotated: taken as it is


class _Waiting(Struct, frozen=True):
    """Who asked a query."""

    reply: Callable[[bytes], None]
    payload: bytes
    tcp: bool


def upstreams(text: str, own: str) -> tuple[str, ...]:
    """The name servers of a `resolv.conf`, in order, without `own`. What is no address is left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        literal = words[1].partition("%")[0]
        try:
            ipaddress.ip_address(literal)
        except ValueError:
            continue
        if literal != own and literal not in found:
            found.append(literal)
    return tuple(found)


def refuse(query: bytes, code: int = _SERVFAIL) -> bytes:
    """An answer without records to `query`, with this response code (RFC 1035, 4.1.1); "" for what is no query."""
    if len(query) < 12:
        return b""
    offset = 12
    while offset < len(query) and query[offset] and query[offset] < 64:
        offset += query[offset] + 1
    end = offset + 5
    if end > len(query) or struct.unpack_from("!H", query, 4)[0] != 1:
        return b""
    flags = struct.unpack_from("!H", query, 2)[0]
    header = query[:2] + struct.pack("!HHHHH", 0x8080 | flags & 0x7900 | code, 1, 0, 0, 0)
    return header + query[12:end]


def _bound(where: tuple[str, int], kind: int) -> socket.socket:
    """A socket on an address that this host may get only later: an exposed one, which this daemon sets itself."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind(where)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: "DnsServer") -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        transport = self._transport
        if transport is not None:
            self._server.asked(data, lambda answer: transport.sendto(answer, addr), tcp=False)

    def error_received(self, exc: Exception) -> None:
        """A client that went away."""


class _Exchange(asyncio.DatagramProtocol):
    """One question to one upstream."""

    def __init__(self, query: bytes, answer: asyncio.Future[bytes]) -> None:
        self._query = query
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.DatagramTransport, transport).sendto(self._query)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[:2] == self._query[:2] and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


class DnsServer:
    """Listens on `address`; `sink` takes the queries."""

    def __init__(self, address: str, sink: Callable[[Input], None], resolv_conf: Path, port: int = PORT) -> None:
        self.address = address
        self.port = port
        self._sink = sink
        self._resolv_conf = resolv_conf
        self._upstreams: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._transport: asyncio.BaseTransport | None = None
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def listen(self) -> None:
        """Open both sockets. Raises `EnvironmentProblem`."""
        loop = asyncio.get_running_loop()
        where = (self.address, self.port)
        try:
            datagrams = _bound(where, socket.SOCK_DGRAM)
            self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
            self._server = await asyncio.start_server(self._serve, sock=_bound(where, socket.SOCK_STREAM))
        except OSError as error:
            self.close()
            raise EnvironmentProblem(
                f"cannot serve DNS on {self.address} port {self.port}: {os.strerror(error.errno or 0)}; "
                "`ss -lnup` names who has it, `--dns-listen-address` takes another, `--no-dns` does without"
            ) from None

    def close(self) -> None:
        """Close everything."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()

    def asked(self, payload: bytes, reply: Callable[[bytes], None], *, tcp: bool) -> None:
        """A client asks."""
        if len(self._waiting) >= MAX_WAITING:
            return
        self._last += 1
        self._waiting[self._last] = _Waiting(reply, payload, tcp)
        self._sink(DnsQuery(self._last, payload, tcp))

    def answer(self, query: int, payload: bytes) -> None:
        """Carry out `effects.DnsAnswer`."""
        waiting = self._waiting.pop(query, None)
        if waiting is not None and payload:
            waiting.reply(payload)

    def forward(self, query: int, payload: bytes) -> None:
        """Carry out `effects.DnsForward`."""
        waiting = self._waiting.get(query)
        if waiting is None:
            return
        task = asyncio.get_running_loop().create_task(self._relay(query, payload, waiting.tcp))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def servers(self) -> tuple[str, ...]:
        """The host's own name servers, read again when what is known is too old."""
        clock = time.monotonic()
        if clock - self._read_at >= REREAD:
            self._read_at = clock
            try:
                self._upstreams = upstreams(self._resolv_conf.read_text(errors="replace"), self.address)
            except OSError as error:
                log.debug("%s: %s", self._resolv_conf, error)
                self._upstreams = ()
        return self._upstreams

    async def _relay(self, query: int, payload: bytes, tcp: bool) -> None:
        answer = b""
        servers = self.servers()
        try:
            async with asyncio.timeout(FALLBACK_TIMEOUT):
                for server in servers:
                    try:
                        async with asyncio.timeout(TRY_TIMEOUT if len(servers) > 1 else None):
                            answer = await (self._ask_tcp if tcp else self._ask_udp)(server, payload)
                    except (OSError, TimeoutError, asyncio.IncompleteReadError):
                        continue
                    break
        except TimeoutError:
            pass
        finally:
            self.answer(query, answer or refuse(payload))

    async def _ask_udp(self, server: str, payload: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Exchange(payload, future), remote_addr=(server, PORT)
        )
        try:
            return await future
        finally:
            transport.close()

    async def _ask_tcp(self, server: str, payload: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, PORT)
        try:
            writer.write(struct.pack("!H", len(payload)) + payload)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def reply(answer: bytes) -> None:
            if not writer.is_closing():
                writer.write(struct.pack("!H", len(answer)) + answer)

        try:
            while True:
                async with asyncio.timeout(TCP_IDLE):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    payload = await reader.readexactly(length)
                self.asked(payload, reply, tcp=True)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def lookup(server: DnsServer, name: str) -> tuple[str, ...]:
    """The IPv4 and IPv6 addresses of `name` as a container of this host would get them, sorted; empty for none."""
    found: dict[str, None] = {}
    for kind in ("A", "AAAA"):
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        server.asked(bytes(_DNSRecord.question(name, kind).pack()), _once(answer), tcp=True)
        async with asyncio.timeout(FALLBACK_TIMEOUT + 1):
            record = _DNSRecord.parse(await answer)
        for entry in record.rr:
            if entry.rtype in (dnslib.QTYPE.A, dnslib.QTYPE.AAAA):
                found[str(entry.rdata)] = None
    return tuple(sorted(found))


def _once(future: asyncio.Future[bytes]) -> Callable[[bytes], None]:
    def reply(payload: bytes) -> None:
        if not future.done():
            future.set_result(payload)

    return reply
