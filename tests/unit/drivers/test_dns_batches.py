"""The DNS port on real sockets: each client gets the answers to its own queries, at once or later, in batches."""

import asyncio
import socket
from pathlib import Path

import pytest

from overlay.inputs import DnsQuery
from overlay.runtime.dns_server import DnsServer
from overlay.runtime.recvmmsg import ReceiveBuffers
from overlay.runtime.sendmmsg import ReplyBuffers

PATIENCE = 60.0


def _socket(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    return made


def _known(payloads: list[bytes]) -> list[bytes]:
    """Answers every third query at once, and every sixth with more than fits into the common buffers."""
    number = [int.from_bytes(each[:2], "big") for each in payloads]
    return [
        b"" if n % 3 else each + b"!" * (5000 if n % 6 == 0 else n % 50)
        for n, each in zip(number, payloads, strict=True)
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_each_client_gets_its_own_answers(address: str) -> None:
    asyncio.run(_ask(address))


async def _ask(address: str) -> None:
    with _socket(address) as free:
        port = free.getsockname()[1]
    waiting: list[DnsQuery] = []
    server = DnsServer(address, waiting.append, Path("/nowhere"), port, known=_known)  # type: ignore[arg-type]
    await server.listen()
    clients = [_socket(address) for _ in range(3)]
    try:
        expected: list[dict[bytes, bytes]] = [{} for _ in clients]
        for number in range(60):
            for which, client in enumerate(clients):
                query = number.to_bytes(2, "big") + bytes((which,)) * number
                found = _known([query])[0]
                expected[which][query] = found or query + b" later"
                client.sendto(query, (address, port))
        for client in clients:
            client.setblocking(False)
        got: list[set[bytes]] = [set() for _ in clients]
        async with asyncio.timeout(PATIENCE):
            for which, client in enumerate(clients):
                while len(got[which]) < len(expected[which]):
                    for late in waiting:
                        server.answer(late.query, late.payload + b" later")
                    waiting.clear()
                    try:
                        got[which].add(client.recv(10_000))
                    except BlockingIOError:
                        await asyncio.sleep(0)
        assert got == [set(each.values()) for each in expected]
        assert server.waiting == 0
    finally:
        server.close()
        for client in clients:
            client.close()


def test_a_reply_that_cannot_be_sent_does_not_hold_back_the_others() -> None:
    received = ReceiveBuffers(4, 512)
    replies = ReplyBuffers(received, 70_000)
    with _socket("127.0.0.1") as server, _socket("127.0.0.1") as client:
        for word in (b"a", b"b", b"c"):
            client.sendto(word, server.getsockname())
        assert received.receive(server.fileno()) == 3  # loopback has delivered them when `sendto` returns
        assert received.copies(3) == [b"a", b"b", b"c"] and received.source(2) == client.getsockname()
        for slot, reply in enumerate((b"A", b"x" * 66_000, b"C")):  # a datagram has at most 65,507 bytes
            replies.add(slot, reply)
        replies.send(server.fileno())
        client.settimeout(PATIENCE)
        assert [client.recv(100), client.recv(100)] == [b"A", b"C"]
