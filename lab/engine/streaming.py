"""The streaming endpoints: logs, events, wait.

Owns how a stream ends: when the client disconnects, when the container's run ends, or at `until`.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from aiohttp import web

from lab.engine import views
from lab.engine.clock import parse_time
from lab.engine.container import ProcessContainer
from lab.engine.engine import ContainerEvent, ProcessEngine
from lab.engine.errors import invalid
from lab.engine.logs import LogEntry
from lab.engine.streams import STDERR, STDOUT

__all__ = ["events", "logs", "wait"]

T = TypeVar("T")

_HEADER = struct.Struct(">BxxxI")
_BACKLOG = 10_000
"""A client with more unread entries than this is disconnected."""


async def wait(container: ProcessContainer, request: web.Request, condition: str) -> web.StreamResponse:
    """`POST /containers/{id}/wait`: the exit code, once the condition holds.

    The response head is sent first, because `docker run` starts its container only after it.
    """
    ended = asyncio.ensure_future(container.wait(condition))
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        await asyncio.sleep(0)  # so that the wait is registered
        await response.prepare(request)
        await response.write(msgspec.json.encode({"StatusCode": await ended, "Error": None}) + b"\n")
        await response.write_eof()
    except ConnectionError:
        pass  # the client is gone
    finally:
        ended.cancel()
    return response


async def logs(container: ProcessContainer, request: web.Request) -> web.StreamResponse:
    """`GET /containers/{id}/logs`: the existing entries, and with `follow` new ones until the run ends."""
    query = request.query
    chosen = [name for name in ("stdout", "stderr") if query.get(name) in ("1", "true", "True")]
    if not chosen:
        raise invalid("Bad parameters: you must choose at least one stream")
    tail = query.get("tail", "all")
    limit = int(tail) if tail.isdigit() else None
    since, until = _time(request, "since"), _time(request, "until")
    stamped = query.get("timestamps") in ("1", "true", "True")
    tty = container.request.tty

    def wire(entry: LogEntry) -> bytes:
        moment = parse_time(entry.time) if since or until else 0
        if entry.stream not in chosen or moment < since or (until and moment > until):
            return b""
        data = (f"{entry.time} " if stamped else "").encode() + entry.log.encode()
        return data if tty else _HEADER.pack(STDOUT if entry.stream == "stdout" else STDERR, len(data)) + data

    # Read the file and add the follower in one iteration of the loop: no entry is lost or sent twice.
    body = b"".join(wire(entry) for entry in container.log.read(limit))
    queue: asyncio.Queue[LogEntry | None] = asyncio.Queue()
    following = query.get("follow") in ("1", "true", "True") and container.running
    unfollow = container.log.follow(queue.put_nowait) if following else None
    try:
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.docker.raw-stream"})
        await response.prepare(request)
        if body:
            await response.write(body)
        while following:
            entry = await _next(queue, request)
            if entry is None:
                break
            if data := wire(entry):
                await response.write(data)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has disconnected
    finally:
        if unfollow is not None:
            unfollow()
    return response


async def events(engine: ProcessEngine, request: web.Request, filters: Mapping[str, list[str]]) -> web.StreamResponse:
    """`GET /events`: stored events from `since` on, then new ones, to `until` or without end."""
    since, until = _time(request, "since"), _time(request, "until")
    queue: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()
    if since:
        for event in engine.events:
            if since <= event.time and not (until and event.time > until):
                queue.put_nowait(event)
    timer = None
    if until:
        timer = engine.loop.call_later(max(0, until - engine.now()) / 1e9, queue.put_nowait, None)
    unlisten = engine.listen(queue.put_nowait)
    try:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            happened = await _next(queue, request)
            if happened is None:
                break
            if views.event_matches(happened, filters):
                await response.write(msgspec.json.encode(views.event(happened)) + b"\n")
        await response.write_eof()
    except ConnectionError:
        pass  # the client has disconnected
    finally:
        unlisten()
        if timer is not None:
            timer.cancel()
    return response


async def _next(queue: "asyncio.Queue[T | None]", request: web.Request) -> T | None:
    """The next element; None when the client has disconnected or has too many unread entries."""
    if queue.qsize() > _BACKLOG or request.transport is None:
        return None
    return await queue.get()


def _time(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    try:
        return parse_time(text) if text else 0
    except ValueError:
        raise invalid(f"invalid value for {name}: {text!r}") from None
