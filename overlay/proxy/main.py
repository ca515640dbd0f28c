"""The proxy process: its lock, its listeners, and the waiter on disk.

Owns the life of that process. `overlay.proxy.process` starts, finds and ends it from outside; `overlay.proxy.server`
handles requests.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import signal
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from overlay import __version__
from overlay.docker.waiter import program
from overlay.errors import EnvironmentProblem
from overlay.kernel.host_files import host_socket
from overlay.options import DaemonPaths, socket_path
from overlay.proxy.connections import CHUNK
from overlay.proxy.process import DEFAULT_TCP, ProxyOptions, Running, endpoint, state_file
from overlay.proxy.router import RouterSide
from overlay.proxy.server import Proxy

__all__ = ["Main", "install_waiter"]

log = logging.getLogger(__name__)


def install_waiter(directory: Path) -> None:
    """Write the waiter for this architecture into a directory. Raises `EnvironmentProblem`."""
    code = program(platform.machine())
    if not code:
        raise EnvironmentProblem(f"no waiter for a machine of kind {platform.machine()}: there are x86_64 and aarch64")
    path = directory / "w"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        directory.chmod(0o755)
        if not path.exists() or path.read_bytes() != code:
            new = directory / ".new"  # a container may be running the old file
            new.write_bytes(code)
            new.chmod(0o755)
            new.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"cannot put the waiter into {directory}: {error.strerror}") from None


class Main:
    """One proxy process, from taking its lock to its end."""

    def __init__(self, options: ProxyOptions, places: DaemonPaths, environment: Mapping[str, str]) -> None:
        self._options = options
        self._places = places
        self._environment = environment
        self._stack = contextlib.AsyncExitStack()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Run until told to stop. Raises `OverlayError`."""
        stop = asyncio.Event()
        async with self._stack:
            await self._start()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            ready()
            await stop.wait()

    async def _start(self) -> None:
        options, places = self._options, self._places
        state = self._lock(state_file(places))
        engine = options.docker_api.removeprefix("unix://") or socket_path(self._environment)
        if not engine.startswith("/"):
            raise EnvironmentProblem(f"the container engine at `{engine}` is no unix socket: set DOCKER_HOST")
        install_waiter(places.waiter)
        router = RouterSide(str(places.socket))
        self._stack.push_async_callback(router.close)
        proxy = Proxy(
            host_socket(engine),
            router,
            str(places.waiter),
            options.policy,
            options.allow_host,
            partial(install_waiter, places.waiter),
        )
        hosts = options.host or (DEFAULT_TCP, f"unix://{places.proxy}")
        if any(endpoint(host)[1] == engine for host in hosts):
            raise EnvironmentProblem(f"the proxy cannot listen on the engine's own socket {engine}: -H names another")
        context = _context(options) if options.secured else None
        for host in hosts:
            await self._listen(host, proxy, host_socket(engine), context)
        self._stack.callback(proxy.close)
        told = Running(pid=os.getpid(), hosts=hosts, options=options, version=__version__)
        os.truncate(state, 0)
        os.pwrite(state, msgspec.json.encode(told), 0)
        log.info("proxy of %s listens on %s", engine, " ".join(hosts))

    def _lock(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        state = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._stack.callback(os.close, state)
        try:
            fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnvironmentProblem("another proxy runs on this host: `weave stop-proxy` ends it") from None
        return state

    async def _listen(self, host: str, proxy: Proxy, engine: str, context: ssl.SSLContext | None) -> None:
        kind, address, port = endpoint(host)
        try:
            server: Any
            if kind == "unix":
                path = _vacant(address)
                before = os.umask(0o117)
                try:
                    server = await asyncio.start_unix_server(proxy.serve_client, address, limit=CHUNK, backlog=512)
                finally:
                    os.umask(before)
                self._share(path, engine)
                self._stack.callback(path.unlink, missing_ok=True)
            else:
                serve = partial(proxy.serve_client, context=context)
                server = await asyncio.start_server(serve, address, port, limit=CHUNK, backlog=512)
        except OSError as error:
            raise EnvironmentProblem(f"cannot listen on {host}: {error.strerror or error}") from None
        self._stack.callback(server.close)

    @staticmethod
    def _share(path: Path, engine: str) -> None:
        """Give the socket the group of the engine's socket, because users of the engine may use the proxy."""
        with contextlib.suppress(OSError):
            os.chown(path, -1, Path(engine).stat().st_gid)


def _vacant(address: str) -> Path:
    """Free the path of a socket. We hold the lock, so nobody listens there."""
    path = Path(address)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.unlink(missing_ok=True)
    return path


def _context(options: ProxyOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tlscert, options.tlskey)
        if options.tlsverify:
            context.load_verify_locations(options.tlscacert)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        files = " ".join(name for name in (options.tlscert, options.tlskey, options.tlscacert) if name)
        raise EnvironmentProblem(f"cannot use the certificates {files}: {error}") from None
    return context
