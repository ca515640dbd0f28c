"""The backend `vagrant`: hosts are virtual machines with kernels and Docker Engines of their own."""

from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


def _make() -> Backend:
    from lab.backends.vagrant.backend import VagrantBackend

    return VagrantBackend()


KIND = BackendKind(
    name="vagrant",
    about="hosts are virtual machines with kernels and Docker Engines of their own",
    make=_make,
    shares_python=False,
    serves="hosts that are virtual machines",
)
