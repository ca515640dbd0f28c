"""HTTP as the daemon serves it: who is turned away, how many come in, and what becomes of errors.

Owns the listeners (a unix socket, TCP), their bounds, the token's file and the log lines about bad requests; what an
error becomes stands in `sentence`. Knows no path and no handler.
"""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct, field

from overlay.clean import LINES, clean
from overlay.http.guard import has_token, refusal, token_header
from overlay.http.sentence import BUG, SHOWN, Bugs, no_path, wrong_method
from overlay.http.sentence import sentence as expected
from overlay.kernel.netlink import NetlinkError
from overlay.runtime.rate_limited_log import RateLimitedLog

__all__ = [
    "IDLE",
    "Door",
    "Turns",
    "faults",
    "guarded",
    "make_runner",
    "open_token",
    "sentence",
    "sentences",
    "serve_tcp",
]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_CONNECTIONS = 64
"""On one TCP listener, which everybody on this host reaches; the unix socket has no limit."""
IDLE = 15.0
"""Seconds for which a connection over TCP may say nothing."""
REST = 3
"""How many times as long as a report over TCP took the loop is left to the router behind it."""


class Turns:
    """Lets those who ask for reports over TCP in one by one, with a rest behind each that fits what it took.

    Making a report holds the loop (0.1 s with 2,000 peers), and 64 connections may ask at once, in one round of it:
    so however many ask, the router keeps three quarters of its time, and the longest wait is that for one report.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._one = asyncio.Lock()
        self._next = 0.0

    async def take(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        """What `handler`, which awaits nothing, says when it is this request's turn."""
        async with self._one:
            rest = self._next - self._clock()
            if rest > 0:
                await self._sleep(rest)
            begun = self._clock()
            try:
                return await handler(request)
            finally:
                ended = self._clock()
                self._next = ended + REST * (ended - begun)


class Door(Struct, frozen=True):
    """What one TCP listener asks of requests."""

    names: tuple[str, ...] = ()
    """Host names by which it is known (`--allow-host`)."""
    token: str = ""
    """What requests that change something must carry; empty: none of them is taken."""
    token_file: Path = Path()
    socket: Path = Path()
    """The unix socket, where none is needed."""
    turns: Turns = field(default_factory=Turns)

    def with_token(self, handler: Handler) -> Handler:
        """`handler` for those who carry the token."""

        async def checked(request: web.Request) -> web.StreamResponse:
            if has_token(request.headers.items(), self.token):
                return await handler(request)
            text = (
                f"refused: {request.method} {clean(request.path, most=SHOWN)} takes a token over TCP:"
                f" `curl -H @{self.token_file} ...`; over the unix socket {self.socket} it takes none"
            )
            return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})

        return checked

    def in_turn(self, handler: Handler) -> Handler:
        """`handler`, which holds the loop, one request at a time."""

        async def waited(request: web.Request) -> web.StreamResponse:
            return await self.turns.take(handler, request)

        return waited


def guarded(names: tuple[str, ...]) -> Any:
    """A middleware that turns away what web pages send (see `http_guard`)."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = refusal(request.headers.items(), names)
        return await handler(request) if reason is None else web.Response(status=403, text=reason)

    return guard


def sentence(error: BaseException) -> tuple[int, str] | None:
    """As `overlay.http.sentence`, for what reading a request and asking the kernel can raise as well."""
    match error:
        case web.RequestPayloadError() | HttpProcessingError():
            return 400, "the body is not what its headers say"
        case NetlinkError():
            return 503, f"the kernel refused it: {error.strerror}; `weave status` and the log say what is missing"
    return expected(error)


@web.middleware
async def sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes a status code and one sentence."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        return web.Response(status=405, text=wrong_method(request.path, error.method, error.allowed_methods))
    except web.HTTPNotFound:
        return web.Response(status=404, text=no_path(request.path))
    except web.HTTPException:
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and getattr(request.transport, "is_closing", bool)():
            raise  # nobody reads a sentence
        found = sentence(error)
        if found is None:
            faults.complain_of(error, f"{request.method} {request.path}")
            return web.Response(status=500, text=BUG)
        return web.Response(status=found[0], text=clean(found[1], keep=LINES))


class _Log(Bugs):
    """What aiohttp's server takes for its logger: one line for each source of bad HTTP, one traceback for each bug."""

    def __init__(self) -> None:
        super().__init__()
        self._complaints = RateLimitedLog()

    def debug(self, *_arguments: Any, **_keywords: Any) -> None:
        pass

    def exception(self, message: str, *arguments: Any, exc_info: Any = None, **_keywords: Any) -> None:
        error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            source = str(arguments[0] or "") if arguments else ""
            said = " ".join(str(error).split())
            self._complaints.complain("HTTP from", source or "the unix socket", clean(said, most=SHOWN))
        elif error is not None and not isinstance(error, OSError):
            self.complain_of(error, message)


faults = _Log()
"""What the HTTP servers of one process complain to."""


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """What serves an application; `serve_tcp` and `web.SockSite` give it listeners."""
    return web.AppRunner(app, access_log=None, shutdown_timeout=0.2, logger=faults, **options)


async def serve_tcp(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Listen on TCP. Of more than `MAX_CONNECTIONS` the longest ones go, those that wait for an answer last.

    Raises `OSError`.
    """
    server = runner.server
    assert server is not None

    def connected() -> asyncio.Protocol:
        alive = [each for each in server.connections if each.transport is not None]  # in the order of their coming
        if len(alive) >= MAX_CONNECTIONS:
            waits = "_current_request"  # for its answer
            oldest = next((each for each in alive if getattr(each, waits, None) is None), alive[0])
            transport = oldest.transport
            oldest.force_close()
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # what it does not read must not keep it open
        return server()

    return await asyncio.get_running_loop().create_server(connected, host or None, port, reuse_address=True)


def open_token(path: Path) -> str:
    """A new token, written to `path` for its owner alone, as a header line for `curl -H @FILE`. Raises `OSError`."""
    token = secrets.token_hex(32)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(token_header(token) + "\n")
    return token
