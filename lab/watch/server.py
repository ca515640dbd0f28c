"""The live page over HTTP: the page for everybody, the lab's history by Server-Sent Events and its verbs with a token.

Owns the routes, the requirements of each on a request, and the limits for slow readers. `keys` decides permissions; the
lab defines verbs. It is queried over its control socket and refuses with its own messages.

The page itself contains nothing about the lab except its name, so it needs no token. Everything else does.
"""

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from lab.errors import LabError
from lab.records.history import decode
from lab.report.feed import Feed
from lab.watch.keys import May, WatchKeys
from lab.watch.standing import WatchedLab
from lab.watch.tail import Spool, follow
from overlay.clean import LINES, clean
from overlay.http.guard import refusal
from overlay.http.listener import sentences

__all__ = ["LivePage", "Save"]

Save = Callable[[Mapping[str, Any]], str]
"""Returns the session so far as a scenario file, from the lab's `state`. Raises `LabError` if there are no manual
steps."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_STREAMS = 48
"""Maximum number of open pages on one listener; a class has 30."""
SLOW = 20.0
"""Seconds in which a page must read what was sent; then it is disconnected, and resumes at its offset."""
BEAT = 10.0
"""Seconds of silence after which a keep-alive is sent to a page, so that a dead connection is noticed."""
ASK_STATE = 1.0
"""Seconds between two queries of the faults in force, while a page is open."""
LAST_LOOK = 5.0
"""Maximum time in seconds for reading the last records of a lab."""
MAX_BODY = 1 << 16
MAY = web.RequestKey("may", str)
"""The permission of a request, once it is known."""

_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""In addition to the page's own policy: it may run only its own script, and connect only to this server."""


class LivePage:
    """The page of one lab, for any number of listeners."""

    def __init__(self, lab: WatchedLab, spool: Spool, html: str, about: Mapping[str, Any], save: Save) -> None:
        """`spool`: where the records of the page go, one per line. `html`: the page. `about`: initial data of the page
        in addition to its permission (its verbs). `save`: the session so far as a scenario file."""
        self._lab = lab
        self._spool = spool
        self._html = html
        self._about = dict(about)
        self._save = save
        self._ended = ""
        self._state: bytes = b""
        self._looking = 0
        self._stir = asyncio.Event()
        self._at_its_end = asyncio.Event()
        """Set when the history has been read to its end after this was cleared."""

    def application(self, keys: WatchKeys) -> web.Application:
        """The routes of one listener."""
        app = web.Application(middlewares=[sentences, _guard], client_max_size=MAX_BODY)
        app.on_response_prepare.append(_dress)
        streams: set[int] = set()
        app.router.add_get("/", self._page)
        looking: dict[str, Handler] = {
            "/about": self._tell,
            "/records": lambda request: self._records(request, streams),
            "/log/{host}": self._log,
            "/scenario": self._scenario,
        }
        changing: dict[str, Handler] = {"/step": self._step, "/undo": self._undo}
        for path, handler in looking.items():
            app.router.add_get(path, _behind(keys, "look", handler), allow_head=False)
        for path, handler in changing.items():
            app.router.add_post(path, _behind(keys, "change", handler))
        return app

    async def follow(self, history: Path) -> None:
        """Convert the growing history into the records of the page, until cancelled."""
        feed = Feed()
        async with aclosing(follow(history)) as batches:
            async for lines in batches:
                made = [msgspec.json.encode(each) for line in lines for each in feed.feed(decode(line))]
                if made:
                    await self._spool.append(made)
                if not lines:
                    self._at_its_end.set()

    async def watch(self) -> None:
        """Poll the faults in force while a page is open, until cancelled."""
        while True:
            if not self._looking:
                self._stir.clear()
                await self._stir.wait()
            with suppress(LabError):
                state = msgspec.json.encode(await self._lab.ask("state"))
                if state != self._state:
                    self._state = state
                    await self._spool.stir()
            await asyncio.sleep(ASK_STATE)

    async def end(self, reason: str) -> None:
        """The lab is gone: tell every page after the last record; it keeps what it shows."""
        self._at_its_end.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._at_its_end.wait(), LAST_LOOK)
        self._ended = reason
        await self._spool.stir()

    # Routes

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=self._html, content_type="text/html")

    async def _tell(self, request: web.Request) -> web.Response:
        return _json({**self._about, "lab": self._lab.name, "may": request[MAY], "ended": self._ended})

    async def _records(self, request: web.Request, streams: set[int]) -> web.StreamResponse:
        offset = self._offset(request)
        if len(streams) >= MAX_STREAMS:
            full = f"{MAX_STREAMS} pages look at this lab already: close one of them, and load this again"
            raise web.HTTPServiceUnavailable(text=full)
        streams.add(id(request))
        self._looking += 1
        self._stir.set()
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            with suppress(ConnectionError, TimeoutError):
                await self._stream(response, offset)
            return response
        finally:
            streams.discard(id(request))
            self._looking -= 1

    def _offset(self, request: web.Request) -> int:
        """The offset at which a page wants to resume: one that it received, or the beginning."""
        last = request.headers.get("Last-Event-ID", "")
        if not last:
            return 0
        if not (last.isascii() and last.isdigit() and len(last) < 16 and self._spool.starts_line(int(last))):
            raise web.HTTPBadRequest(text="Last-Event-ID is no place in this history: load the page again")
        return int(last)

    async def _stream(self, response: web.StreamResponse, offset: int) -> None:
        """Send all records from the offset, the faults in force when they change, and the lab's end."""
        told, caught_up = b"", False
        while True:
            seen = self._spool.stirs
            lines, offset = self._spool.read(offset)
            if lines:
                await _send(response, b"records", b"[" + b",".join(lines) + b"]", offset)
                continue
            if not caught_up:
                caught_up = True
                await _send(response, b"now", b"{}", offset)
            if self._state != told:
                told = self._state
                await _send(response, b"state", told)
            if self._ended:
                await _send(response, b"ended", msgspec.json.encode({"reason": self._ended}))
                return
            try:
                await asyncio.wait_for(self._spool.stirred(seen), BEAT)
            except TimeoutError:
                async with asyncio.timeout(SLOW):
                    await response.write(b": beat\n\n")

    async def _log(self, request: web.Request) -> web.Response:
        """The end of the overlay daemon's log on a host."""
        told = await self._lab.ask("log", host=request.match_info["host"])
        return _json({"log": clean(str(told.get("log", "")), keep=LINES)})

    async def _scenario(self, request: web.Request) -> web.Response:
        """The session so far as a scenario file."""
        text = await asyncio.to_thread(self._save, await self._lab.ask("state"))
        named = {"Content-Disposition": 'attachment; filename="session.yaml"'}
        return web.Response(text=text, content_type="application/yaml", headers=named)

    async def _step(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        step, lease, seen = asked.get("step"), asked.get("lease"), asked.get("seen")
        if not isinstance(step, dict) or not all(each is None or type(each) is int for each in (lease, seen)):
            wanted = '{"step": {"kill": "a"}, "lease": nanoseconds or null}'
            raise web.HTTPBadRequest(text=f"found no step, expected {wanted}")
        return _json(await self._lab.ask("step", step=step, by=_who(), lease=lease, seen=seen))

    async def _undo(self, request: web.Request) -> web.Response:
        index = (await _body(request)).get("step")
        if index is not None and type(index) is not int:
            wanted = 'the number of one that is in force, or null: {"step": 3}'
            raise web.HTTPBadRequest(text=f"found no step, expected {wanted}")
        return _json(await self._lab.ask("undo", index=index, by=_who()))


def _who() -> str:
    """The recorded author of steps from the page."""
    return f"{getpass.getuser()} (page)"


def _json(content: Mapping[str, Any]) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        asked = json.loads(await request.read())
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise web.HTTPBadRequest(text="the body is no JSON object")
    return asked


async def _send(response: web.StreamResponse, event: bytes, data: bytes, offset: int | None = None) -> None:
    """Send one event; disconnect a page that does not read it in time. JSON contains no line breaks."""
    place = b"id: %d\n" % offset if offset is not None else b""
    async with asyncio.timeout(SLOW):
        await response.write(b"%bevent: %b\ndata: %b\n\n" % (place, event, data))


def _behind(keys: WatchKeys, needs: May, handler: Handler) -> Handler:
    """Wrap `handler` with a check of permission `needs`."""

    async def checked(request: web.Request) -> web.StreamResponse:
        may = keys.may(request.headers.items())
        if may == "nothing":
            text = "this page needs its token: open the whole address that `lab watch` printed, with what is behind `#`"
            return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})
        if needs == "change" and may != "change":
            return web.Response(status=403, text="this address is for looking on: it changes nothing in the lab")
        request[MAY] = may
        try:
            return await handler(request)
        except LabError as error:
            return web.Response(status=409, text=clean(str(error), keep=LINES))

    return checked


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject requests from pages of other origins; a link from elsewhere to this page is allowed."""
    headers = list(request.headers.items())
    if request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate":
        headers = [(key, value) for key, value in headers if key.lower() != "sec-fetch-site"]
    reason = refusal(headers)
    return await handler(request) if reason is None else web.Response(status=403, text=reason)


async def _dress(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every answer."""
    response.headers.update(_HEADERS)
