"""Facts that a container engine reports: containers, networks, events. Data only, without the client.

`engine` reads them from the Docker Engine API; the simulated engine produces them directly.
"""

from typing import Any

from msgspec import Struct

from overlay.docker.waiter import WAITER

__all__ = ["Container", "EngineEvent", "EngineNetworks", "NetworkEndpoint", "NetworkMembership"]


class NetworkMembership(Struct, frozen=True):
    """A container's place on one of the engine's networks."""

    endpoint: str
    """Its id."""
    aliases: tuple[str, ...] = ()
    """Other names of the container on this network."""
    address: str = ""
    """"a.b.c.d/n"; empty: none."""
    mac: str = ""
    gateway: str = ""


class NetworkEndpoint(Struct, frozen=True):
    """An endpoint of one of the engine's networks."""

    address: str
    """"a.b.c.d/n"; empty: none."""
    mac: str
    container: str
    """Empty if it is in none."""
    network: str
    """The id of its network."""


class EngineNetworks(Struct, frozen=True):
    """The endpoints and addresses of the engine's networks."""

    endpoints: dict[str, NetworkEndpoint]
    """By their ids."""
    addresses: frozenset[str]
    """All used addresses: of endpoints, gateways and `--aux-address`; without prefix lengths."""
    options: dict[str, dict[str, Any]]
    """The `-o` options of each network, by its id."""


class Container(Struct, frozen=True):
    """A container as the router needs it."""

    id: str
    name: str
    """Without the leading slash."""
    hostname: str
    pid: int
    """0 if it is not running."""
    network_mode: str
    domainname: str = ""
    env: tuple[str, ...] = ()
    """"NAME=VALUE"."""
    hosts_path: str = ""
    """The file on this host that is the container's `/etc/hosts`; empty if unknown."""
    networks: tuple[NetworkMembership, ...] = ()
    entry: str = ""
    """The program of its first process."""
    labels: tuple[tuple[str, str], ...] = ()
    """Labels that policies may refer to, sorted."""

    @property
    def running(self) -> bool:
        """Whether it has processes."""
        return self.pid > 0

    @property
    def waits(self) -> bool:
        """Whether it was created through the proxy; its own program then starts once it is on the overlay."""
        return self.entry == WAITER


class EngineEvent(Struct, frozen=True):
    """A container event: `start`, `die`, `destroy`, `connect` (to a network); `connected` when the stream begins."""

    action: str
    container: str
