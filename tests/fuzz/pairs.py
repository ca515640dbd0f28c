"""Fuzzing of drivers together with their cores: bytes of strangers in, and nothing remembered of what got no answer.

`decoders.py` fuzzes cores; a leak between the two is found by neither alone. Each target drives the real driver with
the real node behind the real `Router` on an event loop; only what leads to the kernel is a stand-in (sockets, disk,
forwarding). A target takes bytes, must raise nothing, and afterwards looks at what is left. It runs as those of
`decoders.py` do.

| pair | target |
|---|---|
| control connections: `TcpDriver`, `Session`, node | `control_tcp`, `control_tcp_secured` |
| datagrams of the control port: `UdpDriver`, `Sleeve`, tunnel, node with a neighbour | `control_udp` |
| frames of containers: `Sleeve`, tunnel | `frames` |
| probes in frames: `Sleeve`, node | `probes` |
| name server by UDP and TCP: `DnsServer`, `TcpClients`, node | `dns_udp`, `dns_tcp` |
| answers of the host's own name servers: `DnsServer` | `dns_upstream` |
| the engine's plugin requests: `Plugin`, `Attachments`, `Journal`, node | `plugin` |
| the Docker API proxy between a client and an engine: `Proxy`, `relay` | `relay` |
"""

import asyncio
import json
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, cast

from overlay import inputs as i
from overlay.config import Address, Config
from overlay.crypto.pake import StubCrypto
from overlay.daemon.router import DaemonRouter
from overlay.docker.attachments import Attachments
from overlay.docker.engine import EngineClient
from overlay.docker.journal import Journal
from overlay.docker.plugin import Plugin
from overlay.effects import SendTcp
from overlay.env import SECOND
from overlay.kernel.attach import EndpointPorts, Ports
from overlay.kernel.forwarding import Forwarding
from overlay.mesh.session import Session
from overlay.node import Node
from overlay.proxy.policy import AttachmentPolicy
from overlay.proxy.router import RouterGone, RouterSide
from overlay.proxy.server import Proxy
from overlay.runtime.disk import Disk
from overlay.runtime.dns_server import DnsServer, _Exchange
from overlay.runtime.dns_sockets import MAX_UNREAD, TCP_EACH
from overlay.runtime.rate_limited_log import RateLimitedLog
from overlay.runtime.sleeve import Sleeve
from overlay.runtime.tcp import TcpDriver, _TcpConnection
from overlay.runtime.tunnel_port import TunnelPort
from overlay.runtime.udp import UdpDriver
from overlay.wire.codec import encode_datagram
from overlay.wire.envelopes import Beacon, Beat

LOW, HIGH = "00:00:00:00:00:01", "00:00:00:00:00:02"
HERE, THERE = Address("127.0.0.1", 6783), Address("127.0.0.2", 6783)
_loop: list[asyncio.AbstractEventLoop] = []


def run(work: Awaitable[None]) -> None:
    """On one loop for all runs: making one takes longer than a run."""
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    try:
        _loop[0].run_until_complete(asyncio.wait_for(work, 60))
    finally:
        left = [task for task in asyncio.all_tasks(_loop[0]) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            _loop[0].run_until_complete(asyncio.wait(left))


async def settle(done: Callable[[], bool]) -> None:
    """Let everything that is on its way arrive."""
    for _ in range(2000):
        if done():
            return
        await asyncio.sleep(0)
    raise AssertionError("something is never done")


def pieces(data: bytes) -> Iterator[bytes]:
    """Packets, or what is read at a time: each has its length in front, in one byte; 255: all that is left."""
    while data:
        size = data[0] if data[0] < 255 else len(data)
        yield data[1 : 1 + size]
        data = data[1 + size :]


class KeptDisk:
    """Takes everything."""

    latency = 0

    def persist(self, writes: Sequence[tuple[str, bytes]]) -> None:
        pass

    def check_room(self) -> str:
        return ""


class NoKernel:
    """In the place of forwarding and of a container's ports."""

    macs = 0
    flood = ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_arguments, **_keywords: None

    def used(self, within: int) -> list[str]:
        return []

    def alive(self, owner: str) -> bool:
        return True

    def inner_name(self, owner: str) -> str:
        return "vethwepl"


class Transport(asyncio.Transport):
    """One end of a connection whose other end may never read."""

    def __init__(self, protocol: asyncio.Protocol, host: str = "127.0.0.9", reads: bool = True) -> None:
        super().__init__({"peername": (host, 40_000), "sockname": ("127.0.0.1", 53), "socket": NoKernel()})
        self.protocol = protocol
        self.reads = reads
        self.unread = 0
        self.high = 1 << 16
        self.closed = self.paused = False
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.reads:
            self.unread += len(data)
            if self.unread > self.high:
                self.protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or self.high

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort

    def feed(self, data: bytes) -> None:
        """What comes from the other end, while it is read at all."""
        if not self.closed and not self.paused and data:
            self.protocol.data_received(data)


@contextmanager
def router(password: str = "", name: str = LOW, **options: Any) -> Iterator[DaemonRouter]:
    """A node behind the real router, as the daemon has them."""
    rng = Random(name)
    config = Config(name=name, nickname="low", password=password, **options)
    node = Node(config, rng, {}, 0, StubCrypto(rng) if password else None)
    made = DaemonRouter(node, disk=cast(Disk, KeptDisk()), forwarding=cast(Forwarding, NoKernel()))
    made.tcp = TcpDriver(6783, made.feed, RateLimitedLog())
    made.udp = UdpDriver(6783, made.feed, RateLimitedLog())
    made.start()
    try:
        yield made
    finally:
        made.stop()


def befriend(made: DaemonRouter) -> int:
    """Have another node as a neighbour, by messages alone; returns the connection's identity that beats bear."""
    other = Node(Config(name=HIGH, nickname="high"), Random(2), {}, 0)
    other.start(SECOND)
    assert made.tcp is not None
    made.tcp = cast(TcpDriver, NoKernel())
    to_made = other.handle(i.TcpOpened(1, THERE, HERE, HERE), SECOND)
    to_other: list[Any] = made.node.handle(i.TcpOpened(1, HERE, THERE, None), made.clock())
    while to_made or to_other:
        incoming, to_made = to_made, []
        for effect in incoming:
            if isinstance(effect, SendTcp):
                to_other += made.node.handle(i.TcpMessage(1, effect.message), made.clock())
        incoming, to_other = to_other, []
        for effect in incoming:
            if isinstance(effect, SendTcp):
                to_made += other.handle(i.TcpMessage(1, effect.message), SECOND)
    (connection,) = made.node.mesh.connections.established.values()
    return int(connection.id)


# --- control port -----------------------------------------------------------------------------------------------------


def control_tcp(data: bytes, password: str = "") -> None:
    """Two connections of strangers; the first byte says which gets a genuine first frame."""

    async def work() -> None:
        with router(password) as made:
            assert made.tcp is not None
            driver, mesh = made.tcp, made.node.mesh
            kind = data[0] if data else 0
            for number in range(2):
                wire = Transport(_TcpConnection(driver, None), f"127.0.0.{number + 2}")
                if kind >> number & 1:
                    wire.feed(Session().outgoing())
                for piece in pieces(data[1:]):
                    wire.feed(piece)
                await asyncio.sleep(0)
                wire.abort()
            await settle(lambda: not driver._strangers and not driver._connections)
            await settle(lambda: not mesh.connections.all)
            assert not len(driver._places) and not driver._dirty and not len(mesh.connections._handshakes)
            assert not mesh.neighbours and not mesh.dialler.connected and len(mesh.dialler.targets) <= 2
            if password:
                assert mesh.connections.proofs is not None
                assert not mesh.connections.proofs._proofs and not mesh.connections.proofs._queue
            made.node.check_invariants()

    run(work())


def control_tcp_secured(data: bytes) -> None:
    """The same where there is a password."""
    control_tcp(data, "correct horse")


def control_udp(data: bytes) -> None:
    """Datagrams by a real socket: as they are, laid over a genuine beat and beacon, and as tunnel packets."""

    async def work() -> None:
        with router() as made, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            number = befriend(made)
            assert made.udp is not None
            near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            with near:
                near.bind(("127.0.0.1", 0))
                far.bind(("127.0.0.2", 0))
                udp, node = made.udp, made.node
                udp._sockets[socket.AF_INET] = near
                sleeve = Sleeve(
                    LOW, node.tunnel, udp, made.forwarding, made.feed, node.endpoints.plan.holder, made.clock
                )
                udp.tunnel = made.sleeve = sleeve
                tables = sizes(node.tunnel)
                genuine = [encode_datagram(each) for each in (Beat(HIGH, number, SECOND, True), Beacon(HIGH, 1, 6783))]
                for piece in (*pieces(data), b"\x80" + data[:1400]):
                    for packet in (piece, *(laid_over(each, piece) for each in genuine)):
                        far.sendto(packet, near.getsockname())
                    udp._readable(near)
                assert set(node.mesh.neighbours) <= {HIGH}, "a datagram makes no neighbour"
                assert len(node.mesh.dialler.targets) <= 64 and len(node.mesh.topology.records) <= 2
                assert sizes(node.tunnel) <= tables + 8, "packets of strangers leave no trace"
                node.check_invariants()

    run(work())


def laid_over(genuine: bytes, data: bytes) -> bytes:
    """`genuine` with these bytes laid over it, so that most of it stays when they are few."""
    return bytes(a ^ b for a, b in zip(genuine, data.ljust(len(genuine), b"\0"), strict=False))


def sizes(thing: object) -> int:
    """How many entries all tables of an object have."""
    return sum(len(value) for value in vars(thing).values() if isinstance(value, (dict, list)))


@contextmanager
def sleeve_of(made: DaemonRouter) -> Iterator[tuple[Sleeve, socket.socket, socket.socket]]:
    """The tunnel's driver, and where its port's and its probes' frames come from."""
    befriend(made)
    assert made.udp is not None
    node = made.node
    sleeve = Sleeve(LOW, node.tunnel, made.udp, made.forwarding, made.feed, node.endpoints.plan.holder, made.clock)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    (queue, port), (sleeve._probes, probes) = pairs
    sleeve._port = TunnelPort.__new__(TunnelPort)
    sleeve._port.sockets = [queue]
    for pair in pairs:
        for each in pair:
            each.setblocking(False)
    made.sleeve = sleeve
    try:
        yield sleeve, port, probes
    finally:
        for pair in pairs:
            for each in pair:
                each.close()


def frames(data: bytes) -> None:
    """What containers send, each with a header of the kernel's in front: as it comes, and a plain one."""

    async def work() -> None:
        with router() as made, sleeve_of(made) as (sleeve, port, _):
            before = sizes(made.node.tunnel)
            for piece in pieces(data):
                for frame in (piece, bytes(10) + piece, bytes(10) + b"\x02" + piece.ljust(60, b"\0")):
                    port.send(frame)
                assert sleeve._port is not None
                sleeve._readable(sleeve._port.sockets[0])
            assert sizes(made.node.tunnel) <= before + 64 + 2 * len(list(pieces(data)))
            made.node.check_invariants()

    run(work())


def probes(data: bytes) -> None:
    """Frames to the bridge with the probes' type."""

    async def work() -> None:
        with router() as made, sleeve_of(made) as (sleeve, _, port):
            own, other = (bytes.fromhex(name.replace(":", "")) for name in (LOW, HIGH))
            for piece in pieces(data):
                for frame in (piece, own + other + piece, own + other + b"\x88\xb6" + piece):
                    port.send(frame)
                sleeve._probed()
            assert len(made.node.paths._neighbours) <= 1
            made.node.check_invariants()

    run(work())


# --- names ------------------------------------------------------------------------------------------------------------


@contextmanager
def name_server() -> Iterator[tuple[DnsServer, DaemonRouter]]:
    with router() as made:
        made.dns = DnsServer("127.0.0.1", made.feed, Path("/nonexistent/resolv.conf"))
        made.feed(i.RegisterName("c", "web.weave.local.", "10.32.0.1"))
        yield made.dns, made
        made.dns.close()


QUESTION = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3web\5weave\5local\0" + struct.pack("!HH", 1, 1)


def forgotten(server: DnsServer, made: DaemonRouter) -> None:
    assert server.waiting == 0 and not len(server._shares), "a query is remembered"
    assert len(server.sockets.clients) == 0 and not len(server.sockets.clients._shares)
    assert len(made.node.resolver._plans) <= 1024 and not made.runner._backlog


def dns_udp(data: bytes) -> None:
    """Packets of several clients: as they are, and a genuine question with them laid over."""

    async def work() -> None:
        with name_server() as (server, made):
            answers: list[bytes] = []
            for number, piece in enumerate(pieces(data)):
                for packet in (piece, laid_over(QUESTION, piece)):
                    server.asked(packet, answers.append, tcp=False, client=f"10.0.0.{number % 8}")
            asked = 2 * len(list(pieces(data)))
            await settle(lambda: server.waiting == 0)
            assert len(answers) <= asked and all(2 <= len(answer) <= 4096 for answer in answers)
            forgotten(server, made)

    run(work())


def dns_tcp(data: bytes) -> None:
    """Streams of a client that reads and one that never does, and more connections than it may have."""

    async def work() -> None:
        with name_server() as (server, made):
            clients = server.sockets.clients
            wires = [Transport(clients.client(), reads=bool(number % 2)) for number in range(TCP_EACH + 3)]
            framed = struct.pack("!H", len(QUESTION)) + QUESTION
            for number, wire in enumerate(wires[-4:]):
                for piece in pieces(data):
                    wire.feed(piece)
                    wire.feed(framed * (1 + number))
            wires[-1].reads = False
            wires[-1].feed(framed * 3000)
            await settle(lambda: server.waiting == 0 and len(clients) <= TCP_EACH)
            for wire in wires:
                assert wire.unread <= MAX_UNREAD + 70_000, "answers that nobody reads pile up"
                assert len(cast(Any, wire.protocol)._buffer) <= 65_537 + 3000 * len(framed)
                wire.abort()
            await settle(lambda: len(clients) == 0)
            forgotten(server, made)

    run(work())


class _Answered(DnsServer):
    """Its upstreams answer with what they are told to."""

    said: list[bytes]

    def servers(self) -> tuple[str, ...]:
        return ("192.0.2.53",)

    async def _ask_udp(self, server: str, payload: bytes) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        exchange = _Exchange(payload, answer)
        for piece in self.said:
            exchange.datagram_received(piece, (server, 53))
            exchange.datagram_received(payload[:2] + piece, (server, 53))
        exchange.error_received(OSError())
        return await answer

    async def _ask_tcp(self, server: str, payload: bytes) -> bytes:
        return await self._ask_udp(server, payload)


def dns_upstream(data: bytes) -> None:
    """What the host's own name servers say to a forwarded question."""

    async def work() -> None:
        with router() as made:
            made.dns = server = _Answered("127.0.0.1", made.feed, Path("/nonexistent"))
            server.said = list(pieces(data))
            answers: list[bytes] = []
            question = QUESTION.replace(b"local", b"other")
            for number in range(70):
                server.asked(question, answers.append, tcp=bool(number % 2), client="10.0.0.1")
            await settle(lambda: server.waiting == 0)
            assert len(answers) <= 70 and all(answer[:2] == question[:2] for answer in answers)
            forgotten(server, made)
            server.close()

    run(work())


# --- the engine's side ------------------------------------------------------------------------------------------------


class _Request:
    def __init__(self, path: str, body: bytes) -> None:
        self.path = path
        self.body = body

    async def read(self) -> bytes:
        return self.body


def plugin(data: bytes) -> None:
    """Requests of the engine: a piece's first byte says which, the rest is its body, or values in a sound one."""

    async def work() -> None:
        with router(iprange="10.32.0.0/24", ipam_init="seed", seed=(LOW,)) as made:
            kernel = NoKernel()
            config = made.node.config
            journal = Journal(made.disk, b"")
            bookings = Attachments(made, cast(Ports, kernel), config, journal)
            served = Plugin(made, EngineClient(""), bookings, cast(EndpointPorts, kernel), config, journal)
            paths = sorted(served._handlers)
            number = 0
            for piece in pieces(data):
                number += 1
                word = piece[1:].decode("latin-1")
                sound = {
                    "EndpointID": word,
                    "PoolID": f"weave-10.32.0.0-{word}",
                    "Address": word,
                    "Pool": word,
                    "Interface": {"Address": f"10.32.0.{len(word)}/24", "MacAddress": word[:17]},
                }
                odd = {key: [word] for key in sound}
                for body in (piece[1:], json.dumps(sound).encode(), json.dumps(odd).encode()):
                    request = _Request(paths[(piece[0] if piece else 0) % len(paths)], body)
                    answer = await served._serve(cast(Any, request))
                    assert answer.status in (200, 500)
                    assert answer.status == 200 or b'"Err"' in cast(bytes, answer.body)
            await asyncio.sleep(0)
            assert len(journal.all()) <= 3 * number and len(served._young) <= 3 * number
            assert set(bookings._locks) <= {record.container for record in journal.all()}, "a lock of no container"
            assert not made.runner.requests
            made.node.check_invariants()

    run(work())


class _NoRouter:
    async def facts(self) -> dict[str, str]:
        raise RouterGone("no router here")

    reserve = renew = ensure = addresses = facts


_HEADS = (
    b"",
    b"GET /v1.41/containers/json HTTP/1.1\r\nHost: d\r\n",
    b"POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1.41/exec/1/start HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n",
)
_ANSWERS = (
    b"",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 101 UPGRADED\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
)


def relay(data: bytes) -> None:
    """A client that says the first piece behind some head, and an engine that answers anything with the second."""
    found = [*pieces(data), b"", b""]
    kind = data[0] if data else 0
    said, answered = _HEADS[kind % 4] + found[0], _ANSWERS[kind // 4 % 4] + found[1]

    async def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/engine"
            connections: list[asyncio.StreamWriter] = []

            async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                connections.append(writer)
                with suppress(ConnectionError):
                    await reader.read(1)
                    writer.write(answered)
                writer.close()

            server = await asyncio.start_unix_server(engine, path)
            proxy = Proxy(path, cast(RouterSide, _NoRouter()), "w", AttachmentPolicy())
            client, inner = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=inner)
            serving = asyncio.ensure_future(proxy.serve_client(reader, writer))
            far_reader, far_writer = await asyncio.open_connection(sock=client)
            far_writer.write(said)
            far_writer.write_eof()
            with suppress(ConnectionError):
                heard = await asyncio.wait_for(far_reader.read(), 15)
                assert len(heard) <= len(answered) * (1 + len(connections)) + 4096 * (1 + said.count(b"\r\n\r\n"))
            far_writer.close()
            await asyncio.wait_for(serving, 15)
            assert not proxy._clients
            server.close()
            for each in connections:
                each.close()

    run(work())


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(control_tcp, control_tcp_secured, control_udp, frames, probes),
        *(dns_udp, dns_tcp, dns_upstream, plugin, relay),
    )
}
