"""DNS for the containers of this host: tracks queries, and relays some to the host's own name servers.

Owns pending queries, timeouts and the host's `resolv.conf`. Passes queries to the node unchanged, and relays those that
the node wants forwarded unchanged. An answer waits for nothing except its own upstream. The node always reports its
decision on a query, even if it drops it; then this module forgets the query.
"""

import asyncio
import ipaddress
import logging
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import dnslib
from dnslib.label import DNSLabelError
from msgspec import Struct

from overlay.errors import UsageError
from overlay.inputs import DnsQuery, Input
from overlay.kernel.host_files import host_file
from overlay.runtime.dns_sockets import DnsSockets
from overlay.shares import Shares

__all__ = ["DnsServer", "lookup", "question", "refuse", "upstreams"]

log = logging.getLogger(__name__)

PORT = 53
REREAD = 5.0
"""Seconds for which the host's list of name servers is cached."""
FALLBACK_TIMEOUT = 5.0
"""Seconds for all upstreams together, unless `--dns-fallback-timeout` sets another value."""
TRY_TIMEOUT = 2.0
"""Seconds for one upstream while there are others to try."""
MAX_UNDECIDED = 1024
"""Queries that the node has not decided yet; they pile up only while it waits for a full disk. Above this limit new
queries are dropped, and clients retry."""
FORWARDS_EACH = 64
FORWARDS = 256
"""Forwarded queries of one client, and in total; each uses a descriptor."""
_SERVFAIL = 2
_DNSRecord: Any = dnslib.DNSRecord  # not annotated, so typed as Any


class _Waiting(Struct, frozen=True):
    """The client of a query. `client` is an IP literal, or "" for this daemon itself."""

    reply: Callable[[bytes], None]
    tcp: bool
    client: str


def upstreams(text: str, own: str) -> tuple[str, ...]:
    """The name servers of a `resolv.conf`, in order, without `own`. Entries that are not addresses are skipped."""
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
    """An answer without records to `query`, with this response code (RFC 1035, 4.1.1); "" if it is not a query."""
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


class _Exchange(asyncio.DatagramProtocol):
    """One query to one upstream."""

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


class _Forward(Struct, frozen=True):
    """A query that waits for an upstream."""

    waiting: _Waiting
    task: asyncio.Task[None]


class DnsServer:
    """Listens on `address` and passes queries to `sink`."""

    def __init__(
        self,
        address: str,
        sink: Callable[[Input], None],
        resolv_conf: Path,
        port: int = PORT,
        known: Callable[[list[bytes]], list[bytes]] | None = None,
    ) -> None:
        """`known`: the answers that the node knows at once; without it `sink` gets all queries."""
        self.address = address
        self.port = port
        self.fallback_timeout = FALLBACK_TIMEOUT
        self._sink = sink
        self._known = known or (lambda payloads: [b""] * len(payloads))
        self._resolv_conf = resolv_conf
        self._upstreams: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._undecided: dict[int, _Waiting] = {}
        self._forwards: dict[int, _Forward] = {}
        self._shares = Shares(FORWARDS_EACH, FORWARDS)
        self._last = 0
        self.sockets = DnsSockets(self, address, port)

    async def listen(self, interfaces: Sequence[int] | None = None) -> None:
        """Open all sockets, for clients on these interfaces (None: any). Raises `EnvironmentProblem`."""
        await self.sockets.listen(interfaces)

    def close(self) -> None:
        """Close everything."""
        self.sockets.close()
        for forward in list(self._forwards.values()):
            forward.task.cancel()

    @property
    def waiting(self) -> int:
        """The number of pending queries."""
        return len(self._undecided) + len(self._forwards)

    def asked(self, payload: bytes, reply: Callable[[bytes], None], *, tcp: bool, client: str = "") -> None:
        """Handle a query of a client."""
        if len(self._undecided) >= MAX_UNDECIDED:
            return
        self._last += 1
        self._undecided[self._last] = _Waiting(reply, tcp, client)
        try:
            self._sink(DnsQuery(self._last, payload, tcp))
        except BaseException:
            self._undecided.pop(self._last, None)
            raise

    def answered(self, payloads: list[bytes]) -> list[bytes]:
        """The node's answers to these datagrams; an empty one for a query that it has to decide."""
        return self._known(payloads)

    def answer(self, query: int, payload: bytes) -> None:
        """Carry out `effects.DnsAnswer`."""
        waiting = self._undecided.pop(query, None)
        if waiting is not None and payload:
            waiting.reply(payload)

    def forward(self, query: int, payload: bytes) -> None:
        """Carry out `effects.DnsForward`."""
        waiting = self._undecided.pop(query, None)
        if waiting is None:
            return
        gone = self._shares.take(waiting.client, query)
        if gone is not None:
            self._forwards[gone].task.cancel()
        task = asyncio.get_running_loop().create_task(self._relay(payload, waiting))
        self._forwards[query] = _Forward(waiting, task)
        task.add_done_callback(lambda _: self._forwarded(query))

    def _forwarded(self, query: int) -> None:
        self._shares.give_back(query)
        del self._forwards[query]

    def servers(self) -> tuple[str, ...]:
        """The host's own name servers, read again when the cache has expired."""
        clock = time.monotonic()
        if clock - self._read_at >= REREAD:
            self._read_at = clock
            try:
                self._upstreams = upstreams(
                    Path(host_file(self._resolv_conf)).read_text(errors="replace", encoding="utf-8"), self.address
                )
            except OSError as error:
                log.debug("%s: %s", self._resolv_conf, error)
                self._upstreams = ()
        return self._upstreams

    async def _relay(self, payload: bytes, waiting: _Waiting) -> None:
        answer = b""
        servers = self.servers()
        try:
            async with asyncio.timeout(self.fallback_timeout):
                for server in servers:
                    try:
                        async with asyncio.timeout(TRY_TIMEOUT if len(servers) > 1 else None):
                            answer = await (self._ask_tcp if waiting.tcp else self._ask_udp)(server, payload)
                    except (OSError, TimeoutError, asyncio.IncompleteReadError):
                        continue
                    break
        except TimeoutError:
            pass
        answer = answer or refuse(payload)
        if answer:
            waiting.reply(answer)

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


def question(name: str, kind: str) -> bytes:
    """A query for the records of this kind. Raises `UsageError` if the name is not a valid DNS name."""
    try:
        return bytes(_DNSRecord.question(name, kind).pack())
    except (ValueError, dnslib.DNSError, DNSLabelError, BufferError) as error:
        raise UsageError(f"`{name:.80}` cannot be a DNS name: {error}") from None


async def lookup(server: DnsServer, name: str) -> tuple[str, ...]:
    """The IPv4 and IPv6 addresses of `name`, sorted, as a container of this host resolves it; empty if there are
    none."""
    found: dict[str, None] = {}
    for kind in ("A", "AAAA"):
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        server.asked(question(name, kind), _once(answer), tcp=True)
        async with asyncio.timeout(server.fallback_timeout + 1):
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
