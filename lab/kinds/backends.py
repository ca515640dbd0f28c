"""The description of a backend, available before it is imported, and the registry of backends.

Owns `BackendKind`; `lab.contracts.lab.Backend` owns what a backend does. Nothing heavy is imported before `make`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.registry import Registry

if TYPE_CHECKING:
    from lab.contracts.lab import Backend

__all__ = ["BACKENDS", "DEFAULT", "BackendKind", "backend", "is_virtual", "lacking", "virtual_backends"]

DEFAULT = "netns"
"""The default backend of a command."""


@dataclass(frozen=True, kw_only=True)
class BackendKind:
    """One kind of hosts: `lab run --backend NAME`."""

    name: str
    about: str
    """What its hosts are made of (Markdown)."""
    make: "Callable[[], Backend]"
    virtual: bool = False
    """It has virtual time: it uses nothing of this machine, and many runs may go on at once."""
    shares_python: bool = True
    """Its hosts run this Python with all packages installed here, so probes of other packages work too."""
    can: Mapping[str, str] = field(default_factory=dict)
    """Ability (`lab.kinds.abilities`) -> how the backend does it, for the table of backends (Markdown)."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Ability -> why the backend lacks it, and the alternative: steps that need it are refused with these words. The
    table also shows the part before the first `;`; `{}` is the backend's name."""
    serves: str = ""
    """For `lab check`: what it is good for, if it needs more than kernel features; otherwise empty."""


BACKENDS = Registry("backend", BackendKind, "lab.backends.kinds", first=(DEFAULT, "sim", "dind", "vagrant"))


def backend(name: str = DEFAULT) -> "Backend":
    """A backend by name; raises `KindError`, which lists the names."""
    return BACKENDS.get(name).make()


def lacking(name: str) -> Mapping[str, str]:
    """Ability -> why a backend lacks it, as a sentence; empty for an unknown backend."""
    kind = BACKENDS.find(name)
    return {key: why.format(name) for key, why in kind.lacks.items()} if kind is not None else {}


def virtual_backends() -> tuple[str, ...]:
    """Names of the backends with virtual time."""
    return tuple(kind.name for kind in BACKENDS if kind.virtual)


def is_virtual(name: str) -> bool:
    """Whether this backend has virtual time."""
    kind = BACKENDS.find(name)
    return kind is not None and kind.virtual
