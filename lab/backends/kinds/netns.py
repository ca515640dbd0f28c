"""The backend `netns`: hosts are network namespaces of this machine, with an engine of the lab's own."""

from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


def _make() -> Backend:
    from lab.backends.netns.backend import NetnsBackend

    return NetnsBackend()


KIND = BackendKind(
    name="netns",
    about="hosts are network namespaces of this machine, with an engine of the lab's own",
    make=_make,
)
