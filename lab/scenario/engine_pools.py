"""Which network the hosts' container engines take for their own bridge: the first of Docker's pools that nothing else
in the scenario has, the same on every backend.

A real `dockerd` looks at the routes of its host when it starts. A lab's engines start before their host is plugged in,
and simulated ones have no routes to look at, so the lab chooses for all of them, as `dockerd` would. Pure.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, ip_interface, ip_network

from lab.kinds.overlays import OVERLAYS
from lab.scenario.resolve import Resolved
from overlay.ranges import Network, overlapping

__all__ = ["DEFAULT", "bridge_of", "first_free"]

DEFAULT = IPv4Network("172.17.0.0/16")
"""What they take where nobody is in the way."""
_POOLS = (
    *(IPv4Network(f"172.{number}.0.0/16") for number in range(17, 32)),
    *IPv4Network("192.168.0.0/16").subnets(new_prefix=20),
)
"""Docker's own, in its order."""


def first_free(taken: Iterable[Network]) -> IPv4Network | None:
    """The first pool that shares no address with these networks."""
    networks = tuple(taken)
    return next((pool for pool in _POOLS if overlapping(pool, networks) is None), None)


def bridge_of(scenario: Resolved) -> str:
    """The bridge's own address with its prefix, as `172.17.0.1/16`: free of the underlay, and of the overlay where that
    is possible too."""
    underlay: list[Network] = [ip_network(subnet) for subnet in scenario.networks.values()]
    overlay: list[Network] = [
        ip_interface(service.address).network for service in scenario.services.values() if service.address
    ]
    if (given := OVERLAYS.get(scenario.overlay).range_of(scenario.options)) is not None:
        overlay.append(given)
    pool = first_free([*underlay, *overlay]) or first_free(underlay) or DEFAULT
    return f"{pool.network_address + 1}/{pool.prefixlen}"
