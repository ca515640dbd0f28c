"""The control port's real sockets under floods of connections, on loopback: nobody is kept out."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import pairs

from overlay.config import Address
from overlay.errors import RemoteError
from overlay.inputs import Connect, Input, TcpOpened
from overlay.mesh.session import Session
from overlay.runtime.rate_limited_log import RateLimitedLog
from overlay.runtime.tcp import MAX_STRANGERS, TcpDriver
from overlay.wire.envelopes import Hello, PakeShare


@contextmanager
def flood(port: int, first: bytes) -> Iterator[list[socket.socket]]:
    """Three times as many connections from one address as there are places, each with `first` and no more."""
    made = []
    try:
        for _ in range(3 * MAX_STRANGERS):
            sock = socket.socket()
            sock.bind(("127.0.0.2", 0))
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            made.append(sock)
        yield made
    finally:
        for sock in made:
            sock.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # counters of a driver
        await asyncio.sleep(0)


@pytest.mark.parametrize("first", [b"", Session().outgoing()[:-1], b"\0"])
def test_a_newcomer_comes_in_while_one_address_floods(first: bytes) -> None:
    """Its places last for 10 s each; before, a newcomer was refused as long."""

    async def work() -> None:
        found: list[Input] = []
        driver = TcpDriver(0, found.append, RateLimitedLog(), "127.0.0.1")
        await driver.listen()
        port = driver._servers[0].sockets[0].getsockname()[1]
        with flood(port, first) as sockets:
            await until(lambda: driver._last >= len(sockets))
            for sock in sockets:
                if first:
                    try:
                        sock.send(first)
                    except OSError:  # it has lost its place
                        continue
            assert len(driver._strangers) == len(driver._places) == MAX_STRANGERS
            newcomer = Session()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.3", 0))
            writer.write(newcomer.outgoing())
            while not any(isinstance(each, TcpOpened) for each in found):
                assert await asyncio.wait_for(reader.read(1), 60) or found
            assert [each.remote.host for each in found if isinstance(each, TcpOpened)] == ["127.0.0.3"]
            writer.close()
        await until(lambda: not driver._strangers and not driver._connections)
        assert not len(driver._places)
        await driver.close()

    asyncio.run(asyncio.wait_for(work(), 120))


class Flood:
    """Connections from one address that say so much, stay, and come again when they are ended."""

    def __init__(self, port: int, says: str) -> None:
        self.port = port
        self.says = says
        self.waiting = 0
        self.tasks = [asyncio.ensure_future(self.one(number)) for number in range(MAX_STRANGERS + 40)]

    async def one(self, number: int) -> None:
        while True:
            with suppress(OSError, RemoteError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=("127.0.0.2", 0))
                try:
                    session = Session()
                    if self.says != "nothing":
                        writer.write(session.outgoing())
                    while self.says in ("hello", "share") and session.agreed is None:
                        session.receive(await reader.read(4096) or b"\0" * 99)
                    if session.agreed is not None:
                        hello = Hello(f"00:00:00:00:02:{number:02x}", "x", 1, number, 6783, (), True)
                        writer.write(session.encode(hello))
                    if self.says == "share":
                        writer.write(session.encode(PakeShare(bytes(33))))
                    self.waiting += 1
                    while await reader.read(4096):
                        pass
                finally:
                    writer.close()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("says", ["nothing", "first frame", "hello", "share"])
def test_a_peer_gets_in_with_its_first_dial_while_one_address_floods(says: str) -> None:
    """Two nodes with a password; before, the newcomer was refused and waited for up to 16 s."""

    async def work() -> None:
        with pairs.router("pass", name="a") as a, pairs.router("pass", name="b") as b:
            dials: list[object] = []
            for made in (a, b):
                made.tcp = TcpDriver(0, made.feed, RateLimitedLog(), "127.0.0.1")
                await made.tcp.listen()
            assert a.tcp is not None and b.tcp is not None
            port = a.tcp._servers[0].sockets[0].getsockname()[1]
            dial = b.tcp.dial
            b.tcp.dial = lambda address: (dials.append(address), dial(address))[1]  # type: ignore[method-assign,func-returns-value]
            flood = Flood(port, says)
            await until(lambda: flood.waiting > MAX_STRANGERS)
            await b.ask(lambda number: Connect(number, (Address("127.0.0.1", port),)))
            await until(lambda: "b" in a.node.mesh.neighbours and "a" in b.node.mesh.neighbours)
            assert len(dials) == 1
            for task in flood.tasks:
                task.cancel()
            await asyncio.wait(flood.tasks)
            await b.tcp.close()
            await a.tcp.close()

    asyncio.run(asyncio.wait_for(work(), 120))


def test_many_offenders_make_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A datagram's source can be forged, and one with an IPv6 subnet has addresses without end."""
    complaints = RateLimitedLog()
    with caplog.at_level(logging.WARNING):
        for number in range(5000):
            complaints.complain("udp", f"10.0.{number >> 8}.{number & 255}", "no message")
            complaints.complain("tcp", f"2001:db8::{number:x}", "no message")
    assert 1 < len(caplog.records) < 200
    assert len([record for record in caplog.records if "2001:db8" in record.getMessage()]) <= 10
    assert len(complaints._counts) <= 1024
