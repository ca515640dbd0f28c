"""Serves one engine on a unix socket, inside the namespaces of its host; also a separate program for tests.

Owns the order of start and end: reaper, network, containers to restart, then the socket.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from lab.engine.api import make_app
from lab.engine.engine import ProcessEngine
from lab.engine.logs import ContainerStore
from lab.engine.network import BridgeNetwork
from lab.engine.reaper import Reaper
from lab.fabric.features import tool_path
from lab.images import IMAGES, Image

__all__ = ["main", "serve_engine", "until_signalled"]


async def serve_engine(
    *,
    hostname: str,
    socket_path: str,
    state_dir: str,
    images: Mapping[str, Image] = IMAGES,
    ready: Callable[[], None] = lambda: None,
    reaper: Reaper | None = None,
    resolv_conf: str = "/etc/resolv.conf",
    bridge: str = "docker0",
    bridge_address: str = "172.17.0.1/16",
    listener: socket.socket | None = None,
) -> None:
    """Serve until cancelled; then end every container and remove the socket.

    Must run in a process with one thread, inside the host's net, mnt, uts and pid namespaces with a matching /proc. A
    process with other children passes its `Reaper`; otherwise one is created. `ready` is called when clients can
    connect. `state_dir` keeps containers and logs over restarts of the host; `resolv_conf` is the host's file, for
    containers without their own name servers. `listener`: the socket at that path, if clients wait there already.
    Raises OSError or `ApiError` when the host's network cannot be set up.
    """
    own_reaper = reaper is None
    reaper = reaper or Reaper(asyncio.get_running_loop())
    network = BridgeNetwork(reaper, bridge, bridge_address)
    engine = ProcessEngine(
        hostname=hostname,
        store=ContainerStore(state_dir),
        network=network,
        reaper=reaper,
        images=images,
        resolv_conf=resolv_conf,
    )
    runner = web.AppRunner(make_app(engine), access_log=None, handle_signals=False, shutdown_timeout=0.1)
    gc.freeze()  # children copy only pages that are written, and the collector would write to all
    try:
        await engine.open()
        await runner.setup()
        if listener is not None:
            # This calls listen() again, so clients that connect from now on see this process's pid.
            await web.SockSite(runner, listener).start()
        else:
            _make_way(Path(socket_path))
            await web.UnixSite(runner, socket_path).start()
        ready()
        await asyncio.get_running_loop().create_future()
    finally:
        _make_way(Path(socket_path))
        await engine.close()
        await runner.cleanup()
        if own_reaper:
            reaper.close()


async def until_signalled(service: Coroutine[Any, Any, None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(service)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _make_way(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """`python -m lab.engine --socket PATH --state DIR`: an engine of its own until SIGTERM or SIGINT.

    To be run in fresh namespaces, for instance `unshare -n -m -p -f --mount-proc --kill-child`.
    """
    parser = argparse.ArgumentParser(prog="engine", description=main.__doc__)
    parser.add_argument("--socket", default="/var/run/docker.sock")
    parser.add_argument("--state", required=True)
    parser.add_argument("--hostname", default=os.uname().nodename)
    parser.add_argument("--bridge", default="docker0")
    parser.add_argument("--bridge-address", default="172.17.0.1/16")
    chosen = parser.parse_args(arguments)
    os.environ["PATH"] = tool_path()

    service = serve_engine(
        hostname=chosen.hostname,
        socket_path=chosen.socket,
        state_dir=chosen.state,
        ready=lambda: print("ready", flush=True),
        bridge=chosen.bridge,
        bridge_address=chosen.bridge_address,
    )
    asyncio.run(until_signalled(service))
    return 0


if __name__ == "__main__":
    sys.exit(main())
