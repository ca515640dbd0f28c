"""The proxy seen from other processes: its options, its addresses, and how to start and stop it.

The proxy is a separate process next to the router, so a build's gigabytes do not delay heartbeats. While the router is
stopped or restarted the engine stays reachable, and the proxy explains why nothing can be attached.
`overlay.proxy.main` runs in that process and is imported only there, because it needs an HTTP library that commands do
not need.
"""

import asyncio
import fcntl
import os
import select
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from overlay.errors import EnvironmentProblem
from overlay.options import DaemonPaths, socket_path
from overlay.proxy.policy import AttachmentPolicy
from overlay.runtime.process import hold, spawn

__all__ = [
    *("DEFAULT_TCP", "ProxyOptions", "Running", "endpoint", "forget_proxy", "hold_proxy", "running", "spawn_proxy"),
    "state_file",
    "stop_proxy",
]

DEFAULT_TCP = "tcp://127.0.0.1:12375"
_END_TIMEOUT = 10.0


class ProxyOptions(Struct, frozen=True, kw_only=True):
    """The options of one launch, parsed and checked. Field names are the flags' names with underscores."""

    host: tuple[str, ...] = ()
    """`-H`: "tcp://ADDRESS:PORT" or "unix://PATH"; empty: both default addresses."""
    tls: bool = False
    tlsverify: bool = False
    """Clients must present a certificate signed by `tlscacert`."""
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    docker_api: str = ""
    in_container: bool = False
    """The proxy runs in a container of the engine, not as a process of the host."""
    allow_host: tuple[str, ...] = ()
    """Host names of the TCP listeners, in addition to `localhost` and IP addresses."""
    log_level: str = "info"
    policy: AttachmentPolicy = AttachmentPolicy()

    @property
    def secured(self) -> bool:
        """Whether TCP listeners use TLS."""
        return self.tls or self.tlsverify


class Running(Struct, frozen=True):
    """The state that a running proxy publishes."""

    pid: int
    hosts: tuple[str, ...]
    """Its addresses, in the format of DOCKER_HOST; `weave env` prints the first one."""
    options: ProxyOptions
    version: str = ""
    """The version of the program; empty if it is unknown."""


def endpoint(host: str) -> tuple[str, str, int]:
    """("unix", path, 0) or ("tcp", address, port) of a `-H`. Raises `ValueError`."""
    kind, separator, rest = host.partition("://")
    if kind == "unix" and rest.startswith("/"):
        return "unix", rest, 0
    address, colon, port = rest.rpartition(":")
    if kind == "tcp" and separator and colon and port.isdigit() and 0 < int(port) < 65536:
        return "tcp", address.strip("[]") or "0.0.0.0", int(port)
    raise ValueError(f"-H {host}: expected tcp://ADDRESS:PORT or unix:///PATH")


def state_file(places: DaemonPaths) -> Path:
    """The file with a running proxy's state; the proxy holds a lock on it while it runs."""
    return Path(f"{places.proxy}.json")


def pid_file(places: DaemonPaths) -> Path:
    """The file with the proxy's process id."""
    return Path(f"{places.proxy}.pid")


def running(places: DaemonPaths) -> Running | None:
    """The running proxy of this host; None: there is none."""
    try:
        with state_file(places).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return msgspec.json.decode(file.read(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    except PermissionError:
        raise EnvironmentProblem(f"not allowed to read {state_file(places)}: run `weave` as root") from None
    return None


def stop_proxy(places: DaemonPaths) -> bool:
    """Stop the proxy, and wait until it is gone; False: none was running. Raises `EnvironmentProblem`."""
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


def forget_proxy(places: DaemonPaths) -> None:
    """Remove the files of a stopped proxy, except the waiter's: containers need it, and the next proxy restores it."""
    if running(places) is not None:
        return
    state_file(places).unlink(missing_ok=True)
    shutil.rmtree(places.waiter, ignore_errors=True)


def spawn_proxy(options: ProxyOptions, places: DaemonPaths, environment: Mapping[str, str]) -> None:
    """Fork a proxy; returns once it listens. Raises `EnvironmentProblem` on failure."""

    log_file = places.log.with_suffix(".proxy.log") if places.log.suffix else Path(f"{places.log}.proxy")
    spawn(_work(options, places, environment), "the proxy", log_file, pid_file(places), options.log_level)


def hold_proxy(options: ProxyOptions, places: DaemonPaths, environment: Mapping[str, str]) -> None:
    """Run the proxy in its own container; returns when the proxy ends. Raises `OverlayError`."""
    from overlay.runtime.in_container import prepare

    prepare(options.docker_api or socket_path(environment), places.db)
    hold(_work(options, places, environment), pid_file(places), options.log_level)


def _work(
    options: ProxyOptions, places: DaemonPaths, environment: Mapping[str, str]
) -> Callable[[Callable[[], None]], None]:
    def work(ready: Callable[[], None]) -> None:
        from overlay.proxy.main import Main

        main = Main(options, places, environment)
        try:
            import uvloop
        except ImportError:
            asyncio.run(main.serve(ready))
        else:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main.serve(ready))

    return work
