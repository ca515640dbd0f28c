"""The backend `sim`: hosts are objects in virtual time; a run is a function of scenario, seed and code."""

from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


def _make() -> Backend:
    from lab.backends.simulated.backend import SimBackend

    return SimBackend()


KIND = BackendKind(
    name="sim",
    about="hosts are objects in virtual time; a run is a function of scenario, seed and code",
    make=_make,
    virtual=True,
)
