"""Which networks can hold hosts or containers, and which of their addresses. Pure; used by `weave` and the lab."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

__all__ = ["Network", "misfit", "overlapping", "reserved", "room", "usable"]

Network = IPv4Network | IPv6Network

_RESERVED: tuple[tuple[Network, str], ...] = (
    (ip_network("0.0.0.0/8"), "this network, which no host has"),
    (ip_network("127.0.0.0/8"), "the loopback network of every host"),
    (ip_network("169.254.0.0/16"), "link-local addresses, which hosts take by themselves"),
    (ip_network("224.0.0.0/4"), "multicast"),
    (ip_network("255.255.255.255/32"), "the broadcast address"),
    (ip_network("::/128"), "the unspecified address"),
    (ip_network("::1/128"), "the loopback address of every host"),
    (ip_network("::ffff:0:0/96"), "IPv4 addresses written as IPv6 ones"),
    (ip_network("fe80::/10"), "link-local addresses, which hosts take by themselves"),
    (ip_network("ff00::/8"), "multicast"),
)


def overlapping(network: Network, others: Iterable[Network]) -> Network | None:
    """The first of `others` that overlaps this network."""
    return next((other for other in others if other.version == network.version and other.overlaps(network)), None)


def reserved(network: Network) -> str:
    """Why hosts cannot use this network: `127.0.0.0/8 is the loopback network …`; empty if they can."""
    for other, use in _RESERVED:
        if overlapping(network, (other,)):
            return f"{other} is {use}"
    return ""


def usable(network: Network) -> int:
    """Number of addresses for hosts; both of a /31 (RFC 3021), all except the routers' address (`::`) of IPv6."""
    if network.num_addresses <= 2:
        return network.num_addresses
    return network.num_addresses - (2 if network.version == 4 else 1)


def room(network: Network, wanted: int) -> str:
    """Why `wanted` hosts and routers do not fit; empty if they do."""
    free = usable(network)
    return "" if wanted <= free else f"room for {wanted}: {network} has {free}"


def misfit(address: IPv4Address | IPv6Address, network: Network) -> str:
    """The role of an address in its network that makes it unusable for hosts; empty if it is usable."""
    if network.num_addresses <= 2:
        return ""
    if address == network.network_address:
        return "network" if network.version == 4 else "subnet routers' (RFC 4291 2.6.1)"
    return "broadcast" if network.version == 4 and address == network.broadcast_address else ""
