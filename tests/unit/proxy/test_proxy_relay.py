"""What passes through the proxy, byte by byte: Expect, trailers, pipelining, half-closed and upgraded connections.

Client, proxy and a scripted engine speak over unix sockets in one process.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from typing import cast

from overlay.proxy.policy import AttachmentPolicy
from overlay.proxy.router import RouterSide
from overlay.proxy.server import Proxy

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE = 60.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def play(engine: Talk, client: Talk) -> None:
    """Both to their ends; what the engine complains of is raised too."""

    async def work() -> None:
        failed: list[BaseException] = []

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await engine(reader, writer)
            except BaseException as error:
                failed.append(error)
            finally:
                writer.close()

        with tempfile.TemporaryDirectory() as folder:
            proxy = Proxy(f"{folder}/engine", cast(RouterSide, None), "w", AttachmentPolicy())
            async with (
                await asyncio.start_unix_server(served, f"{folder}/engine"),
                await asyncio.start_unix_server(proxy.serve_client, f"{folder}/proxy"),
            ):
                reader, writer = await asyncio.open_unix_connection(f"{folder}/proxy")
                try:
                    await client(reader, writer)
                finally:
                    writer.close()
                    proxy.close()
        assert not failed, failed

    asyncio.run(asyncio.wait_for(work(), PATIENCE))


def test_a_body_waits_for_the_engine_to_want_it() -> None:
    head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\r\n\r\n") == head
        writer.write(go_on)
        assert await reader.readexactly(4) == b"body"
        writer.write(OK)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        assert await reader.readexactly(len(go_on)) == go_on
        writer.write(b"body")
        assert await reader.readexactly(len(OK)) == OK

    play(engine, client)


def test_chunks_extensions_and_trailers_pass_as_they_are() -> None:
    head = b"POST /v1.41/build HTTP/1.1\r\nHost: d\r\nX-Case: Kept\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"5;ext=1\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n"
    answer = b"HTTP/1.1 200 Fine by me\r\nX-Case: Kept\r\nTransfer-Encoding: chunked\r\n\r\n" + body

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(head + body)) == head + body
        writer.write(answer)
        assert await reader.read() == b""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)
        writer.write_eof()
        assert await reader.read() == answer

    play(engine, client)


def test_requests_sent_at_once_are_answered_in_their_order() -> None:
    asked: list[bytes] = []

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        if asked[-1] == b"/v1.41/b":
            assert await reader.readexactly(3) == b"abc"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + asked[-1])
        await reader.read()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        get = b"GET /v1.41/%c HTTP/1.1\r\nHost: d\r\n\r\n"
        post = b"POST /v1.41/b HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc"
        writer.write(get % b"a" + post + get % b"c")
        for path in (b"/v1.41/a", b"/v1.41/b", b"/v1.41/c"):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert await reader.readexactly(8) == path

    play(engine, client)
    assert asked == [b"/v1.41/a", b"/v1.41/b", b"/v1.41/c"]


def hijacked(answer: bytes) -> None:
    """After `answer` both directions are no HTTP, and one may end before the other."""
    head = b"POST /v1.41/exec/1/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    head += b"Content-Length: 2\r\n\r\n"

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(head) + 2) == head + b"{}"
        writer.write(answer + b"\0\1first")
        assert await reader.read() == b"early\r\n\r\n\xff late"
        writer.write(b"after the end of the other direction")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"{}early\r\n\r\n")
        assert await reader.readexactly(len(answer) + 7) == answer + b"\0\1first"
        writer.write(b"\xff late")
        writer.write_eof()
        assert await reader.read() == b"after the end of the other direction"

    play(engine, client)


def test_an_upgraded_connection_is_a_tunnel_that_may_be_half_closed() -> None:
    hijacked(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")


def test_a_raw_stream_is_one_without_the_upgrade_too() -> None:
    hijacked(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")


def test_what_is_no_http_is_refused_and_never_reaches_the_engine() -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("nothing should come here")

    for head in (
        b"POST /v1.41/x HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /v1.41/x HTTP/1.1\r\nHost: d\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /v1.41/x HTTP/1.1\r\n\r\n",
    ):

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes = head) -> None:
            writer.write(head)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")

        play(engine, client)
