"""The backends by name: the one place that knows all of them. Nothing is imported before it is asked for."""

from collections.abc import Callable
from importlib import import_module

from lab.contracts.lab import Backend
from lab.errors import LabError

_BACKENDS: dict[str, str] = {
    "netns": "lab.backends.netns.backend:NetnsBackend",
    "sim": "lab.backends.simulated.backend:SimBackend",
    "dind": "lab.backends.dind.backend:DindBackend",
    "vagrant": "lab.backends.vagrant.backend:VagrantBackend",
}
"""Name -> module:class."""

DEFAULT = "netns"


def names() -> tuple[str, ...]:
    """All backends, the default first."""
    return (DEFAULT, *(name for name in _BACKENDS if name != DEFAULT))


def backend(name: str = DEFAULT) -> Backend:
    """A backend by name; raises `LabError` that lists the names."""
    if name not in _BACKENDS:
        raise LabError(f"no backend named {name!r}, expected one of: {', '.join(names())}")
    module, _, kind = _BACKENDS[name].partition(":")
    make: Callable[[], Backend] = getattr(import_module(module), kind)
    return make()
