"""Passes one request to the engine and the response back, unchanged: bodies, streams, and upgraded connections.

Owns the order of bytes on a proxied connection. Rewrites nothing.
"""

import asyncio
import contextlib

from overlay.proxy.connections import ConnectionLost, Side, connect_unix
from overlay.proxy.http import MAX_HEAD, BadMessage, Body, Head, ResponseHead, parse_response

__all__ = ["EngineGone", "fetch", "read_body", "relay"]

_HEAD_END = b"\r\n\r\n"
_RAW = ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream")
MAX_BODY = 1 << 26
"""Maximum size of a request or response that is rewritten; those that pass through have no limit."""


class EngineGone(Exception):
    """The engine does not answer, or closed the connection."""


async def connect(path: str) -> Side:
    """A new connection to the engine. Raises `EngineGone`."""
    try:
        return await connect_unix(path)
    except OSError as error:
        raise EngineGone(
            f"cannot connect to the container engine at unix://{path}: {error.strerror or error}. Is it running?"
        ) from None


async def read_body(side: Side, body: Body) -> bytes:
    """The content of a complete body. Raises `BadMessage`."""
    body.collect = True
    size = 0
    while not body.done:
        data = await side.recv()
        taken = body.feed(data)
        size += taken
        if size > MAX_BODY:
            raise BadMessage(f"a body of more than {MAX_BODY >> 20} MiB")
        side.buffer = data[taken:]
    return b"".join(body.content)


async def read_head(server: Side, method: str) -> tuple[ResponseHead, Body]:
    """The engine's next response head, and the body that follows. Raises `EngineGone` and `BadMessage`."""
    try:
        data = await server.until(_HEAD_END, MAX_HEAD)
    except (ConnectionLost, ValueError, ConnectionError) as error:
        raise EngineGone(f"the container engine broke off: {error}") from None
    if not data:
        raise EngineGone("the container engine closed the connection without an answer")
    return parse_response(data, method)


async def fetch(path: str, head: Head, content: bytes | None) -> tuple[ResponseHead, bytes]:
    """One complete exchange with the engine, for a request that is (or was) rewritten. Raises `EngineGone`.

    The head's framing headers are replaced to match `content`; None: there is no body.
    """
    server = await connect(path)
    try:
        framing = () if content is None else (("Content-Length", str(len(content))),)
        dropped = ("content-length", "transfer-encoding", "expect", "connection")
        await server.send(head.encode(without=dropped, add=(*framing, ("Connection", "close"))) + (content or b""))
        while True:
            response, body = await read_head(server, head.method)
            if response.status >= 200:
                break
        return response, await read_body(server, body)
    except (ConnectionLost, BadMessage, ConnectionError) as error:
        raise EngineGone(f"the container engine broke off: {error}") from None
    finally:
        server.abort()


async def relay(client: Side, path: str, head: Head, body: Body, content: bytes | None = None) -> bool:
    """Pass a request to the engine and the response back; returns whether the client may send another request.

    `content`: the body, if it is already read. Raises `EngineGone` if nothing of a response was sent yet, else
    `ConnectionError`.
    """
    server = await connect(path)
    raw = head.encode()
    if content is not None:
        framing = (("Content-Length", str(len(content))),)
        raw = head.encode(without=("content-length", "transfer-encoding", "expect"), add=framing) + content
    up: asyncio.Task[None] | None = None
    try:
        try:
            await server.send(raw)
        except ConnectionError as error:
            raise EngineGone(f"the container engine broke off: {error}") from None
        up = asyncio.get_running_loop().create_task(_upwards(client, server, body))
        while True:
            response, answer = await read_head(server, head.method)
            await client.send(response.encode())
            if response.status >= 200 or response.status == 101:
                break
        raw_stream = head.method == "POST" and response.header("content-type") in _RAW and response.is_unframed
        if response.status == 101 or raw_stream:
            await _stop(up)
            await _tunnel(client, server)
            return False
        while not answer.done:
            data = await server.recv()
            if not data:
                break
            taken = answer.feed(data)
            await client.send(data[:taken])
        whole = answer.done and body.done and head.keeps_alive and "close" not in response.header("connection").lower()
        return whole and response.version == "HTTP/1.1"
    finally:
        if up is not None:
            await _stop(up)
        server.abort()


async def _upwards(client: Side, server: Side, body: Body) -> None:
    """Send the request's body; then pass on the client's end of file, which tells the engine that nobody reads any
    more."""
    try:
        while not body.done:
            data = await client.recv()
            if not data:
                await server.send_eof()
                return
            taken = body.feed(data)
            client.buffer = data[taken:]
            await server.send(data[:taken])
        if not client.buffer and not await client.fill():
            await server.send_eof()
    except (ConnectionError, BadMessage):
        # The engine may have answered before it read everything; use its answer.
        return


async def _tunnel(client: Side, server: Side) -> None:
    """Relay both directions until the engine closes its own; the client's may end earlier."""
    up = asyncio.get_running_loop().create_task(_pump(client, server))
    try:
        await _pump(server, client)
    finally:
        await _stop(up)


async def _pump(source: Side, sink: Side) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.recv():
            await sink.send(data)
    await sink.send_eof()


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await task
