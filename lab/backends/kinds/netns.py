"""The backend `netns`: hosts are network namespaces of this machine, with the lab's own container engine."""

from collections.abc import Mapping

from lab.backends.kinds._real import REAL, REAL_LACKS
from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


_LACKS: Mapping[str, str] = {
    **{ability: why for ability, why in REAL_LACKS.items() if ability != "topology"},
    "live-restore": "containers of the {} backend end with their engine, which holds their output; leave "
    "`live_restore` out, or use dind or sim",
}


def _make() -> Backend:
    from lab.backends.netns.backend import NetnsBackend

    return NetnsBackend()


KIND = BackendKind(
    name="netns",
    about="hosts are network namespaces of this machine, with an engine of the lab's own",
    make=_make,
    can={
        **{ability: how for ability, how in REAL.items() if ability not in _LACKS},
        "engine": "yes: `SIGKILL` or `SIGTERM` to the lab's own engine",
        "full": "yes, for all that is on it",
        "topology": "a namespace for each router, a route to each host; cables as links; IPv4 only",
        "join": "yes; not into a topology",
        "foreign-probes": "yes",
        "images": "`ksahnine/dummy-http`, `tutum/curl`",
    },
    lacks=_LACKS,
)
