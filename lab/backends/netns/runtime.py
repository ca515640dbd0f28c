"""What the supervisor hands to the runner: descriptors and facts, set once per lab, before the runner's function runs.

Owns nothing but the hand-over; `launch` fills it in, the backend and the control server take from it.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import LabError


@dataclass(frozen=True)
class Runtime:
    """The inside of a running lab."""

    name: str
    zygote: socket.socket
    """Where to ask for processes inside of hosts; see `zygote.py`."""
    listener: socket.socket
    """Listening abstract socket of the control server, bound in the network namespace of the user who started the
    lab."""
    keep: tuple[str, ...]
    """Directories of the machine that hosts must see wherever they are (interpreter, import path)."""
    ready: Callable[[], None]
    """Tell a detached lab's starter that all is up."""


_current: Runtime | None = None


def enter(runtime: Runtime) -> None:
    """Make this the process's lab; called once, by `launch`."""
    global _current
    _current = runtime


def current() -> Runtime:
    """The lab that this process runs in; raises `LabError` outside of one."""
    if _current is None:
        raise LabError("no lab here: the netns backend works inside of lab.backends.netns.launch(...) only")
    return _current


def ready() -> None:
    """Say that the lab is up: a detached lab's starter returns now, and output goes to the lab's own log."""
    current().ready()
