"""What a backend says of itself before it is imported, and the registry of backends.

Owns `BackendKind`. What a backend does is `lab.contracts.lab.Backend`'s. Nothing heavy is imported before `make`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.registry import Registry

if TYPE_CHECKING:
    from lab.contracts.lab import Backend

__all__ = ["BACKENDS", "DEFAULT", "BackendKind", "backend", "is_virtual", "lacking", "virtual_backends"]

DEFAULT = "netns"
"""The backend of a command that names none."""


@dataclass(frozen=True, kw_only=True)
class BackendKind:
    """One kind of hosts: `lab run --backend NAME`."""

    name: str
    about: str
    """What its hosts are made of (Markdown)."""
    make: "Callable[[], Backend]"
    virtual: bool = False
    """It has a time of its own: nothing of this machine is taken, and many runs may go on at once."""
    shares_python: bool = True
    """Its hosts run this Python, with all packages that are installed here: probes of other packages too."""
    can: Mapping[str, str] = field(default_factory=dict)
    """Ability (`lab.kinds.abilities`) -> how it does that, for the table of backends (Markdown)."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Ability -> why it cannot do that, and what to do instead: steps that need it are refused in these words. What is
    before the first `;` stands in the table too; `{}` is the backend's name."""
    serves: str = ""
    """For `lab check`: what it is good for, where it needs more than features of the kernel; empty: it does not."""


BACKENDS = Registry("backend", BackendKind, "lab.backends.kinds", first=(DEFAULT, "sim", "dind", "vagrant"))


def backend(name: str = DEFAULT) -> "Backend":
    """A backend by name; raises `KindError`, which lists the names."""
    return BACKENDS.get(name).make()


def lacking(name: str) -> Mapping[str, str]:
    """Ability -> why a backend cannot do that, as a sentence; empty for a backend that nobody knows."""
    kind = BACKENDS.find(name)
    return {key: why.format(name) for key, why in kind.lacks.items()} if kind is not None else {}


def virtual_backends() -> tuple[str, ...]:
    """Those with a time of their own."""
    return tuple(kind.name for kind in BACKENDS if kind.virtual)


def is_virtual(name: str) -> bool:
    """Whether this is a backend with a time of its own."""
    kind = BACKENDS.find(name)
    return kind is not None and kind.virtual
