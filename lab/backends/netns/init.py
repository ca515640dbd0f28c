"""A host's PID 1: sets the host up, then reaps orphans until the power is cut.

Runs in a fork of the nursery that already has its own pid namespace. Owns the order of the set-up and its channel to
the runner: "made" (the network namespace exists), then the runner answers "go" (the cables are connected), then "up",
or "failed TEXT". Knows nothing of other hosts, of the overlay, or of the container engine, which starts when it is
first needed (`engine_start.py`). Every host keeps what this module imports in memory, so it must stay light.
"""

import contextlib
import os
import signal
import socket
import subprocess
import traceback
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from lab.backends.netns import mounts
from lab.backends.netns.host_network import connect_host
from lab.errors import no_room
from lab.fabric.host_messages import PlannedInterface
from lab.fabric.syscalls import set_process_name, sethostname

MADE, GO, UP, FAILED = b"made", b"go", b"up", b"failed "


class HostPlan(Struct, frozen=True, kw_only=True):
    """Everything that defines a host."""

    name: str
    disk: str
    """Its directory in the lab's state; survives a power cut."""
    keep: tuple[str, ...] = ()
    files: dict[str, str] = {}
    """Contents of /etc/hosts and the like."""
    copies: dict[str, str] = {}
    """The same, as files of the lab that are copied: what is long and equal on all hosts."""
    interfaces: tuple[PlannedInterface, ...] = ()
    """What is set up at this boot once the cables are connected."""
    routes: str = ""
    """Commands for `ip -batch` after that."""
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
        copies = {name: Path(place).read_text(encoding="utf-8") for name, place in plan.copies.items()}
        neighbours = {one.neighbours: Path(one.neighbours).read_bytes() for one in plan.interfaces}
        mounts.mount_host(Path(plan.disk), keep=plan.keep, files={**copies, **plan.files})
        _write_sysctls(plan.sysctls)
        if channel.recv(16) != GO:
            os._exit(0)  # the lab is going down
        connect_host(plan.interfaces, neighbours)
        if plan.routes:
            _batch(["ip", "-batch", "-"], plan.routes)
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
