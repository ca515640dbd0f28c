"""A host's PID 1: sets the host up, starts its container engine, reaps orphans until the power is cut.

Runs in a fork of the zygote that already has its own pid namespace. Owns the order of the set-up and its channel to the
runner: "made" (the network namespace exists), then the runner answers "go" (the cables are connected), then "up", or
"failed TEXT". Knows nothing of other hosts or of the overlay.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from lab.backends.netns import mounts
from lab.backends.netns.paths import ENGINE_SOCKET, ENGINE_STATE
from lab.errors import no_room
from lab.fabric.syscalls import set_process_name, sethostname

MADE, GO, UP, FAILED = b"made", b"go", b"up", b"failed "
ENGINE_LOG = "/var/log/engine.log"
_ENGINE_DEADLINE = 20.0
"""Timeout for an engine to listen, in seconds, on a machine that is busy with many hosts."""


class HostPlan(Struct, frozen=True, kw_only=True):
    """Everything that defines a host."""

    name: str
    disk: str
    """Its directory in the lab's state; survives a power cut."""
    keep: tuple[str, ...] = ()
    files: dict[str, str] = {}
    """Contents of /etc/hosts and the like."""
    network: str = ""
    """Commands for `ip -batch`, run at this boot once the cables are connected."""
    sysctls: dict[str, str] = {}
    """Path below /proc/sys -> value. Paths that this kernel does not have are skipped."""
    env: dict[str, str] = {}
    engine: bool = True
    bridge: str = "172.17.0.1/16"
    """The address of the engine's bridge."""


def run_host(plan: HostPlan, channel: socket.socket) -> NoReturn:
    """Run as the host's init; never returns."""
    try:
        set_process_name("lab-host")
        channel.send(MADE)
        os.environ.clear()
        os.environ.update(plan.env)
        sethostname(plan.name)
        mounts.mount_host(Path(plan.disk), keep=plan.keep, files=plan.files)
        _write_sysctls(plan.sysctls)
        if channel.recv(16) != GO:
            os._exit(0)  # the lab is going down
        _batch(["ip", "-batch", "-"], plan.network)
        if plan.engine:
            _start_engine(plan, channel)
        channel.send(UP)
    except BaseException as error:
        text = no_room(error) or traceback.format_exc()
        with contextlib.suppress(OSError):
            channel.send(FAILED + text.encode()[-60_000:])
        os._exit(1)
    channel.close()
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwait({signal.SIGCHLD})


def _write_sysctls(sysctls: dict[str, str]) -> None:
    for name, value in sysctls.items():
        with contextlib.suppress(FileNotFoundError):
            Path("/proc/sys", name).write_text(value, encoding="utf-8")


def _batch(argv: list[str], text: str) -> None:
    """Feed commands to a tool; raises with its error output."""
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}\n{text}")


def engine_again(argv: Sequence[str]) -> int:
    """Restart the engine of a host whose engine was ended: `argv` is the host's name and its bridge's address.

    Runs inside the host; the engine outlives this process as a child of the host's init.
    """
    name, bridge = argv
    try:
        _start_engine(HostPlan(name=name, disk="", bridge=bridge), None)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _start_engine(plan: HostPlan, channel: socket.socket | None) -> None:
    """Fork the container engine and wait until it answers on its socket."""
    pid = os.fork()
    if pid == 0:
        if channel is not None:
            channel.close()
        os.setsid()
        _serve_engine(plan)
    deadline = time.monotonic() + _ENGINE_DEADLINE
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(ENGINE_SOCKET)
            return
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise RuntimeError(
                f"the container engine of {plan.name} ended:\n{Path(ENGINE_LOG).read_text(encoding='utf-8')}"
            )
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"the container engine of {plan.name} does not listen:\n{Path(ENGINE_LOG).read_text(encoding='utf-8')}"
            )
        time.sleep(0.002)


def _serve_engine(plan: HostPlan) -> NoReturn:
    """In the engine's process."""
    code = 1
    try:
        log = os.open(ENGINE_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        set_process_name("lab-engine")
        from lab.engine import serve_engine, until_signalled

        service = serve_engine(
            hostname=plan.name, socket_path=ENGINE_SOCKET, state_dir=ENGINE_STATE, bridge_address=plan.bridge
        )
        asyncio.run(until_signalled(service))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
