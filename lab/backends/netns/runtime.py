"""Data that the supervisor passes to the runner: descriptors and facts, set once per lab, before the runner's function.

Owns only the hand-over; `launch` fills it in, the backend and the control server read it.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import LabError


@dataclass(frozen=True)
class Runtime:
    """The running lab that this process is in."""

    name: str
    zygote: socket.socket
    """Socket for requests to start processes in hosts; see `zygote.py`."""
    nursery: socket.socket
    """Socket for requests to start hosts; see `nursery.py`."""
    listener: socket.socket
    """Listening abstract socket of the control server, bound in the network namespace of the user who started the
    lab."""
    keep: tuple[str, ...]
    """Directories of the machine that must be visible in hosts (interpreter, import path)."""
    ready: Callable[[], None]
    """Notify a detached lab's starter that the lab is up."""


_current: Runtime | None = None


def enter(runtime: Runtime) -> None:
    """Set the process's lab; called once, by `launch`."""
    global _current
    _current = runtime


def current() -> Runtime:
    """The lab that this process runs in; raises `LabError` outside of one."""
    if _current is None:
        raise LabError("no lab here: the netns backend works inside of lab.backends.netns.launch(...) only")
    return _current


def ready() -> None:
    """Declare the lab up: a detached lab's starter returns now, and output goes to the lab's own log."""
    current().ready()
