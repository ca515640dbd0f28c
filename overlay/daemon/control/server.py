"""The control API over HTTP: the route table as an aiohttp application, one for each listener.

Owns the conversion of HTTP requests into `Question`s and of answers into responses. The other files of this folder
implement the routes; `overlay.http` owns access control and error responses.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from aiohttp import web

from overlay.daemon.control.lines import MAX_BODY
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Fields, Json, Plain, Question, Takes
from overlay.daemon.control.table import ROUTES
from overlay.daemon.control.watching import Watcher
from overlay.errors import UsageError
from overlay.http.listener import Door, guarded, sentences

__all__ = ["application"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(parts: Parts, door: Door | None = None, *, read_only: bool = False) -> web.Application:
    """The routes for the unix socket, or for TCP if `door` is given. `read_only`: status, report and metrics only.

    Every route that is not marked as read-only requires the door's token.
    """
    app = web.Application(middlewares=[sentences] if door is None else [sentences, guarded(door.names)])
    for route in ROUTES:
        if route.on_status_port or not read_only:
            app.router.add_route(route.method, route.path, _behind(door, route.access, _handler(parts, route)))
    return app


def _behind(door: Door | None, access: Access, handler: Handler) -> Handler:
    if door is None or access is Access.LOOK:
        return handler
    return door.in_turn(handler) if access is Access.REPORT else door.with_token(handler)


def _handler(parts: Parts, route: ControlRoute) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        said = await route.call(parts, await _question(request, route.takes))
        return await _streamed(request, said) if isinstance(said, Watcher) else _response(said)

    return handle


async def _question(request: web.Request, takes: Takes) -> Question:
    return Question(
        named=request.match_info,
        query=Fields.of(request.query.items()),
        form=await _form(request) if takes is Takes.FORM else Fields(),
        body=await _body(request, takes),
        as_original="application/json" in request.headers.get("Accept", ""),
        over_tcp=request.transport is not None and bool(request.transport.get_extra_info("peername")),
    )


async def _body(request: web.Request, takes: Takes) -> bytes:
    if takes is Takes.JSON:
        return await request.read()
    found = bytearray()
    if takes is Takes.LINES:
        async for chunk in request.content.iter_any():
            found += chunk
            if len(found) > MAX_BODY:
                raise UsageError(f"the body has more than {MAX_BODY >> 20} MiB: send several batches")
    return bytes(found)


async def _form(request: web.Request) -> Fields:
    try:
        pairs = list((await request.post()).items())
    except (ValueError, LookupError, AssertionError, RuntimeError) as error:  # everything that reading a form can raise
        raise UsageError(f"the body is no form: {error}") from None
    found = []
    for key, value in pairs:
        if not isinstance(value, str):
            raise UsageError(f"`{key}` is a file: expected a plain form")
        found.append((key, value))
    return Fields.of(found)


def _response(said: str | Json | Plain | None) -> web.Response:
    match said:
        case None:
            return web.Response()
        case str():
            return web.Response(text=said)
        case Json():
            return web.Response(text=said.text, content_type="application/json")
        case Plain():
            return web.Response(body=said.text.encode(), headers={"Content-Type": said.kind})


async def _streamed(request: web.Request, watcher: Watcher) -> web.StreamResponse:
    try:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        with suppress(ConnectionError, asyncio.CancelledError):
            async with aclosing(watcher.lines()) as lines:
                async for line in lines:
                    await response.write(line)
        return response
    finally:
        watcher.close()
