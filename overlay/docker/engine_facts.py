"""What a container engine tells a router: of a container, its networks, and what happens. Data, without the client.

`engine` reads them from the Docker Engine API; the simulated engine has them as they are.
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
    """What else the container is called there."""
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
    """Empty: in none."""
    network: str
    """The id of its network."""


class EngineNetworks(Struct, frozen=True):
    """What the engine's networks hold."""

    endpoints: dict[str, NetworkEndpoint]
    """By their ids."""
    addresses: frozenset[str]
    """All that are taken: of endpoints, gateways and what `--aux-address` sets aside; without prefix lengths."""
    options: dict[str, dict[str, Any]]
    """What `-o` said when a network was made, by its id."""


class Container(Struct, frozen=True):
    """What a router wants to know of a container."""

    id: str
    name: str
    """Without the leading slash."""
    hostname: str
    pid: int
    """0: it is not running."""
    network_mode: str
    domainname: str = ""
    env: tuple[str, ...] = ()
    """"NAME=VALUE"."""
    hosts_path: str = ""
    """The file on this host that is the container's `/etc/hosts`; empty: unknown."""
    networks: tuple[NetworkMembership, ...] = ()
    entry: str = ""
    """The program that its first process runs."""
    labels: tuple[tuple[str, str], ...] = ()
    """Those that policies may name, sorted."""

    @property
    def running(self) -> bool:
        """It has processes."""
        return self.pid > 0

    @property
    def waits(self) -> bool:
        """It was made through the proxy: its own process starts once it is on the overlay."""
        return self.entry == WAITER


class EngineEvent(Struct, frozen=True):
    """Something that happened to a container: `start`, `die`, `destroy`, `connect` (to a network); `connected` when the
    stream begins."""

    action: str
    container: str
