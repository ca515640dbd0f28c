"""The daemon's HTTP listeners: which requests are refused, how many connections are open, and how errors are answered.

Owns the listeners (a unix socket, TCP), their limits, the token file and the log lines about bad requests. `sentence`
maps errors to responses. Knows no path and no handler.
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
"""For each TCP listener, because all users of this host can connect; the unix socket has no limit."""
IDLE = 15.0
"""Seconds after which an idle connection over TCP is closed."""
REST = 3
"""After a report over TCP, the loop is reserved for the router for this many times the report's duration."""


class Turns:
    """Runs reports over TCP one at a time, each followed by a pause in proportion to its duration.

    A report blocks the loop (0.1 s with 2,000 peers), and 64 connections may request one at the same time. With the
    pauses the router keeps three quarters of its time, and the loop is blocked for one report at most.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._one = asyncio.Lock()
        self._next = 0.0

    async def take(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        """Wait for this request's turn, then run `handler`, which awaits nothing."""
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
    """The access rules of one TCP listener."""

    names: tuple[str, ...] = ()
    """Host names of this listener (`--allow-host`)."""
    token: str = ""
    """The token required for changes; empty: no changes are accepted."""
    token_file: Path = Path()
    socket: Path = Path()
    """The unix socket, which needs no token."""
    turns: Turns = field(default_factory=Turns)

    def with_token(self, handler: Handler) -> Handler:
        """Wrap `handler`: it requires the token."""

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
        """Wrap `handler`, which blocks the loop: one request at a time."""

        async def waited(request: web.Request) -> web.StreamResponse:
            return await self.turns.take(handler, request)

        return waited


def guarded(names: tuple[str, ...]) -> Any:
    """A middleware that refuses requests from web pages (see `overlay.http.guard`)."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = refusal(request.headers.items(), names)
        return await handler(request) if reason is None else web.Response(status=403, text=reason)

    return guard


def sentence(error: BaseException) -> tuple[int, str] | None:
    """As `overlay.http.sentence.sentence`, plus errors of reading a request and of the kernel."""
    match error:
        case web.RequestPayloadError() | HttpProcessingError():
            return 400, "the body is not what its headers say"
        case NetlinkError():
            return 503, f"the kernel refused it: {error.strerror}; `weave status` and the log say what is missing"
    return expected(error)


@web.middleware
async def sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a status code and one sentence."""
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
            raise  # the client is gone
        found = sentence(error)
        if found is None:
            faults.complain_of(error, f"{request.method} {request.path}")
            return web.Response(status=500, text=BUG)
        return web.Response(status=found[0], text=clean(found[1], keep=LINES))


class _Log(Bugs):
    """The logger of aiohttp's server: one line for each source of bad HTTP, one traceback for each bug."""

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
"""The shared logger of this process's HTTP servers."""


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """The runner of an application; `serve_tcp` and `web.SockSite` add listeners to it."""
    return web.AppRunner(app, access_log=None, shutdown_timeout=0.2, logger=faults, **options)


async def serve_tcp(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Listen on TCP. Above `MAX_CONNECTIONS` the oldest connection is closed; those waiting for an answer come last.

    Raises `OSError`.
    """
    server = runner.server
    assert server is not None

    def connected() -> asyncio.Protocol:
        alive = [each for each in server.connections if each.transport is not None]  # oldest first
        if len(alive) >= MAX_CONNECTIONS:
            waits = "_current_request"  # not None while it waits for its answer
            oldest = next((each for each in alive if getattr(each, waits, None) is None), alive[0])
            transport = oldest.transport
            oldest.force_close()
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # do not wait until it reads
        return server()

    return await asyncio.get_running_loop().create_server(connected, host or None, port, reuse_address=True)


def open_token(path: Path) -> str:
    """A new token, written to `path`, readable by its owner only, as a header line for `curl -H @FILE`. Raises
    `OSError`."""
    token = secrets.token_hex(32)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(token_header(token) + "\n")
    return token
