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
    can={
        "hosts": "yes",
        "topology": "yes",
        "routers": "yes: routes, filters, mappings that time out as Linux's; links from host to host",
        "nat": "yes, every pair of mapping and filtering",
        "cuts": "yes",
        "obstacles": "yes; a full TCP segment that is too big is lost at every retransmission",
        "drops": "yes",
        "rates": "yes; streams wait, datagrams wait 100 ms at most",
        "delays": "yes",
        "models": "yes",
        "links": "yes",
        "carrier": "nothing passes",
        "machine": "yes",
        "power": "yes",
        "engine": "yes",
        "live-restore": "yes",
        "signals": "yes",
        "stress": "yes: the daemon first waits for its turn, then gets its share of the cores",
        "disk": "yes",
        "full": "yes, for the daemon",
        "clock": "yes",
        "address": "yes; TCP connections of the old address hang until their timeout",
        "probes": "yes",
        "foreign-probes": "yes, those with `simulate`",
        "overlays": "yes",
        "password": "the same messages, sizes and refusals; the cryptography is replaced by a stand-in",
        "images": "`ksahnine/dummy-http`, `tutum/curl`",
        "commands": "the command does not run: the container answers 200 at its `port`; if it is a shell line that "
        "writes files for `python3 -m http.server`, these files are served",
        "exec": "the commands below; refused otherwise",
        "packets": "yes: the messages of simulated hosts in frames, at virtual times",
        "repeat": "`lab replay RUN`; the history is byte-identical",
    },
    lacks={
        "join": "hosts of the {} backend neither join nor leave while it plays; use netns",
        "own-answers": "its answer is unknown; ask for `reachable` instead, or use netns",
        "standing": "no virtual time passes between commands; use netns",
    },
)
