"""Starts a host's container engine: a process of the host, forked from the preloaded one.

Runs inside the host. Owns the engine's log and its start; `engine_socket.py` decides when. The engine outlives the
process that starts it, as a child of the host's init.
"""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab.backends.netns.paths import ENGINE_SOCKET, ENGINE_STATE
from lab.fabric.syscalls import set_process_name

__all__ = ["start"]

ENGINE_LOG = "/var/log/engine.log"
_DEADLINE = 60.0
"""Timeout for an engine to listen, in seconds, on a machine that is busy with many hosts."""
_LISTENS = b"1"


def start(argv: Sequence[str]) -> int:
    """Start the engine and wait until it listens. `argv`: the host's name, the address of its bridge, and `taken` if
    standard input is the socket at which clients wait already."""
    name, bridge, *taken = argv
    listener = socket.socket(fileno=os.dup(0)) if taken else None
    heard, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(heard)
        os.setsid()
        _serve(name, bridge, listener, told)
    os.close(told)
    if not select.select([heard], [], [], _DEADLINE)[0]:
        os.kill(pid, signal.SIGKILL)
        why = "does not listen"
    elif os.read(heard, 1) == _LISTENS:
        return 0
    else:
        why = "ended"
    print(f"the container engine of {name} {why}:\n{Path(ENGINE_LOG).read_text(encoding='utf-8')}", file=sys.stderr)
    return 1


def _serve(name: str, bridge: str, listener: socket.socket | None, told: int) -> NoReturn:
    """In the engine's process."""
    code = 1
    try:
        log = os.open(ENGINE_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(log)
        os.close(null)
        set_process_name("lab-engine")
        from lab.engine import serve_engine, until_signalled

        def listens() -> None:
            os.write(told, _LISTENS)
            os.close(told)

        service = serve_engine(
            hostname=name,
            socket_path=ENGINE_SOCKET,
            state_dir=ENGINE_STATE,
            bridge_address=bridge,
            listener=listener,
            ready=listens,
        )
        asyncio.run(until_signalled(service))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
