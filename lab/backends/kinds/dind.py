"""The backend `dind`: hosts are containers with a Docker Engine of their own (Docker-in-Docker)."""

from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


def _make() -> Backend:
    from lab.backends.dind.backend import DindBackend

    return DindBackend()


KIND = BackendKind(
    name="dind",
    about="hosts are containers with a Docker Engine of their own (Docker-in-Docker)",
    make=_make,
    shares_python=False,
    serves="hosts with a Docker Engine each",
)
