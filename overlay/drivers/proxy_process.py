"""The proxy as a process: what it was told, where it listens, the waiter on disk, and what others may know of it.

It is a process of its own beside the router: a build's gigabytes do not stand in the way of heartbeats, and while the
router is stopped or restarted the engine stays reachable and says why nothing can be put on the overlay.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import select
import signal
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from overlay.drivers.engine import socket_path
from overlay.drivers.options import Places
from overlay.drivers.process import spawn
from overlay.drivers.proxy import Proxy
from overlay.drivers.proxy_router import RouterSide
from overlay.drivers.sides import CHUNK
from overlay.errors import EnvironmentProblem
from overlay.proxy.policy import Policy
from overlay.proxy.waiter import program

__all__ = ["DEFAULT_TCP", "ProxyOptions", "Running", "endpoint", "running", "spawn_proxy", "stop_proxy"]

log = logging.getLogger(__name__)

DEFAULT_TCP = "tcp://127.0.0.1:12375"
_END_TIMEOUT = 10.0


class ProxyOptions(Struct, frozen=True, kw_only=True):
    """The options of one launch, as typed and checked. Field names are the flags' names with underscores."""

    host: tuple[str, ...] = ()
    """`-H`: "tcp://ADDRESS:PORT" or "unix://PATH"; none: both usual ones."""
    tls: bool = False
    tlsverify: bool = False
    """Clients must show a certificate that `tlscacert` signed."""
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    docker_api: str = ""
    allow_host: tuple[str, ...] = ()
    """Host names by which TCP is asked, beside `localhost` and IP addresses."""
    log_level: str = "info"
    policy: Policy = Policy()

    @property
    def secured(self) -> bool:
        """TCP listeners speak TLS."""
        return self.tls or self.tlsverify


class Running(Struct, frozen=True):
    """What a running proxy says of itself."""

    pid: int
    hosts: tuple[str, ...]
    """Where it listens, as for DOCKER_HOST; the first one is what `weave env` names."""
    options: ProxyOptions


def endpoint(host: str) -> tuple[str, str, int]:
    """("unix", path, 0) or ("tcp", address, port) of a `-H`. Raises `ValueError`."""
    kind, separator, rest = host.partition("://")
    if kind == "unix" and rest.startswith("/"):
        return "unix", rest, 0
    address, colon, port = rest.rpartition(":")
    if kind == "tcp" and separator and colon and port.isdigit() and 0 < int(port) < 65536:
        return "tcp", address.strip("[]") or "0.0.0.0", int(port)
    raise ValueError(f"-H {host}: expected tcp://ADDRESS:PORT or unix:///PATH")


def running(places: Places) -> Running | None:
    """The proxy of this host; None: there is none."""
    try:
        with _state(places).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return msgspec.json.decode(file.read(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    except PermissionError:
        raise EnvironmentProblem(f"not allowed to read {_state(places)}: run `weave` as root") from None
    return None


def stop_proxy(places: Places) -> bool:
    """End the proxy, and wait until it is gone; False: none ran. Raises `EnvironmentProblem`."""
    found = running(places)
    if found is None:
        return False
    try:
        handle = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _END_TIMEOUT)[0]:
            raise EnvironmentProblem(f"the proxy (process {found.pid}) has not ended within {_END_TIMEOUT:g} s")
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    return True


def spawn_proxy(options: ProxyOptions, places: Places, environment: Mapping[str, str]) -> None:
    """Fork a proxy away; returns once it listens. Raises `EnvironmentProblem` if it cannot."""

    def work(ready: Callable[[], None]) -> None:
        main = _Main(options, places, environment)
        try:
            import uvloop
        except ImportError:
            asyncio.run(main.serve(ready))
        else:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main.serve(ready))

    log_file = places.log.with_suffix(".proxy.log") if places.log.suffix else Path(f"{places.log}.proxy")
    spawn(work, "the proxy", log_file, Path(f"{places.proxy}.pid"), options.log_level)


def install_waiter(directory: Path) -> None:
    """Put the waiter for this machine into a directory. Raises `EnvironmentProblem`."""
    code = program(platform.machine())
    if not code:
        raise EnvironmentProblem(f"no waiter for a machine of kind {platform.machine()}: there are x86_64 and aarch64")
    path = directory / "w"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        directory.chmod(0o755)
        if not path.exists() or path.read_bytes() != code:
            new = directory / ".new"  # a container may be running the old one
            new.write_bytes(code)
            new.chmod(0o755)
            new.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"cannot put the waiter into {directory}: {error.strerror}") from None


class _Main:
    """One proxy, from its lock to its end."""

    def __init__(self, options: ProxyOptions, places: Places, environment: Mapping[str, str]) -> None:
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
        state = self._lock(_state(places))
        engine = options.docker_api.removeprefix("unix://") or socket_path(self._environment)
        if not engine.startswith("/"):
            raise EnvironmentProblem(f"the container engine at `{engine}` is no unix socket: set DOCKER_HOST")
        install_waiter(places.waiter)
        router = RouterSide(str(places.socket))
        self._stack.push_async_callback(router.close)
        proxy = Proxy(engine, router, str(places.waiter), options.policy, options.allow_host)
        hosts = options.host or (DEFAULT_TCP, f"unix://{places.proxy}")
        if any(endpoint(host)[1] == engine for host in hosts):
            raise EnvironmentProblem(f"the proxy cannot listen on the engine's own socket {engine}: -H names another")
        context = _context(options) if options.secured else None
        for host in hosts:
            await self._listen(host, proxy, context)
        self._stack.callback(proxy.close)
        told = Running(pid=os.getpid(), hosts=hosts, options=options)
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

    async def _listen(self, host: str, proxy: Proxy, context: ssl.SSLContext | None) -> None:
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
                self._share(path)
                self._stack.callback(path.unlink, missing_ok=True)
            else:
                serve = partial(proxy.serve_client, context=context)
                server = await asyncio.start_server(serve, address, port, limit=CHUNK, backlog=512)
        except OSError as error:
            raise EnvironmentProblem(f"cannot listen on {host}: {error.strerror or error}") from None
        self._stack.callback(server.close)

    @staticmethod
    def _share(path: Path) -> None:
        """Whoever may use the engine may use the proxy: the group `docker`, where there is one."""
        import grp
        import shutil

        with contextlib.suppress(KeyError, LookupError, OSError):
            grp.getgrnam("docker")
            shutil.chown(path, group="docker")


def _vacant(address: str) -> Path:
    """A socket's path with nothing there: the lock says that nobody listens."""
    path = Path(address)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.unlink(missing_ok=True)
    return path


def _state(places: Places) -> Path:
    return Path(f"{places.proxy}.json")


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
