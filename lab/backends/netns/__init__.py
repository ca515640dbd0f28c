"""Hosts as Linux namespaces: the embedded default backend.

    launch(main)            run a function inside a fresh lab (command line, pytest plugin)
    NetnsBackend().up(...)  in there: hosts, engines, fabric
    serve(lab, ...)         in there: answer the commands of other terminals
    LabClient(find(name))   outside: inspect, exec, partition, heal, down
    enter(...)              outside: a command or shell of a running lab's host, on the caller's own terminal

Names are imported when they are used, so that `launch` can fork before anything heavy is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.backends.netns.backend import NetnsBackend
    from lab.backends.netns.control import LabClient, LabName, find, labs
    from lab.backends.netns.entering import enter, enter_host
    from lab.backends.netns.operations import serve
    from lab.backends.netns.runtime import ready
    from lab.backends.netns.supervisor import INTERRUPTED, launch

__all__ = [
    "INTERRUPTED",
    "LabClient",
    "LabName",
    "NetnsBackend",
    "enter",
    "enter_host",
    "find",
    "labs",
    "launch",
    "ready",
    "serve",
]

_HOMES = {
    "backend": ("NetnsBackend",),
    "control": ("LabClient", "LabName", "find", "labs"),
    "entering": ("enter", "enter_host"),
    "supervisor": ("INTERRUPTED", "launch"),
    "runtime": ("ready",),
    "operations": ("serve",),
}


def __getattr__(name: str) -> Any:
    for module, members in _HOMES.items():
        if name in members:
            return getattr(import_module(f"lab.backends.netns.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
