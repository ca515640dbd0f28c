"""The backend `dind`: hosts are containers with a Docker Engine of their own (Docker-in-Docker)."""

from collections.abc import Mapping

from lab.backends.kinds._real import REAL, REAL_LACKS
from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


_LACKS: Mapping[str, str] = {
    **REAL_LACKS,
    "join": "hosts of the {} backend neither join nor leave a running lab; use netns",
    "foreign-probes": "hosts of the {} backend have a Python of their own, without packages of this one; use netns "
    "or sim",
}


def _make() -> Backend:
    from lab.backends.dind.backend import DindBackend

    return DindBackend()


KIND = BackendKind(
    name="dind",
    about="hosts are containers with a Docker Engine of their own (Docker-in-Docker)",
    make=_make,
    shares_python=False,
    serves="hosts with a Docker Engine each",
    can={
        **{ability: how for ability, how in REAL.items() if ability not in _LACKS},
        "engine": "yes: `SIGKILL` or `SIGTERM` to `dockerd`",
        "live-restore": "yes: Docker's own",
        "full": "yes, for all that is on it; with your own engine for the daemon only",
        "images": "any image",
    },
    lacks=_LACKS,
)
