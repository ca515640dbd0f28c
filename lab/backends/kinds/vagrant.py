"""The backend `vagrant`: hosts are virtual machines, each with its own kernel and Docker Engine."""

from collections.abc import Mapping

from lab.backends.kinds._real import REAL, REAL_LACKS
from lab.contracts.lab import Backend
from lab.kinds.backends import BackendKind

__all__ = ["KIND"]


_LACKS: Mapping[str, str] = {
    **REAL_LACKS,
    "routers": "machines of the {} backend are plugged into networks without routers so far; use netns, dind or sim",
    "nat": "as it has no routers; use netns, dind or sim",
    "models": "netem in machines of the {} backend does not do this as the model does; use netns, dind or sim",
    "links": "links of the {} backend cannot be changed while they run; use netns, dind or sim",
    "carrier": "cables of the {} backend cannot be pulled; say `between: [a, b]`, or use netns, dind or sim",
    "disk": "the disks of the {} backend cannot be slowed or torn; use netns, dind or sim",
    "address": "machines of the {} backend keep the addresses that Vagrant gives them, by which the rules inside "
    "of them know each other; use netns, dind or sim",
    "packets": "packets of machines of the {} backend are not captured; use netns, dind or sim, or "
    "`lab exec HOST -- tcpdump …` where a machine has tcpdump",
    "join": "hosts of the {} backend neither join nor leave a running lab; use netns",
    "foreign-probes": "hosts of the {} backend have a Python of their own, without packages of this one; use netns "
    "or sim",
}


def _make() -> Backend:
    from lab.backends.vagrant.backend import VagrantBackend

    return VagrantBackend()


KIND = BackendKind(
    name="vagrant",
    about="hosts are virtual machines with kernels and Docker Engines of their own",
    make=_make,
    shares_python=False,
    serves="hosts that are virtual machines",
    can={
        **{ability: how for ability, how in REAL.items() if ability not in _LACKS},
        "cuts": "nft rules in each machine, one transaction a machine",
        "obstacles": "nft rules in each machine",
        "drops": "nft rules of the receiver",
        "rates": "tbf; per receiver htb",
        "delays": "netem in the sender's kernel",
        "power": "yes: a `kill`ed host loses power, `restart` boots it",
        "engine": "yes: the unit `docker` is masked meanwhile",
        "live-restore": "yes: Docker's own",
        "stress": "yes, inside the machine",
        "full": "yes: files that take all that is free",
        "clock": "sets the machine's own clock and its rate",
        "password": "as `netns`, and VXLAN inside the kernel's WireGuard",
        "images": "any image",
    },
    lacks=_LACKS,
)
