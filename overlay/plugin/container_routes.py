"""Which routes a container's `ethwe` keeps where it is on networks of the engine too. Pure.

An engine refuses to give a container an address within a network that the container's main table leads to already, and
every subnet of the router's range lies within what `ethwe` leads to where no default subnet is set. So the route of
`ethwe` makes room: it is replaced by routes to all of its network but the others' subnets, which is where packets went
anyway, by the longest prefix. Must not know netlink; `overlay.docker.sandbox` carries it out.
"""

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network

__all__ = ["clash", "ways"]


def ways(held: Sequence[str], apart: Sequence[IPv4Network]) -> dict[IPv4Network, str]:
    """The directly connected routes of an interface with these addresses ("a.b.c.d/n"), each with its source address.

    `apart`: subnets that other interfaces of the container lead to.
    """
    found: dict[IPv4Network, str] = {}
    for interface in map(IPv4Interface, held):
        pieces = [interface.network]
        for subnet in apart:
            pieces = [left for piece in pieces for left in _without(piece, subnet)]
        for piece in pieces:
            found.setdefault(piece, str(interface.ip))
    return found


def clash(held: Sequence[str], subnet: IPv4Network) -> str:
    """The address of `held` that lies in a subnet of another interface: answers to it would leave by the wrong one."""
    return next((cidr for cidr in held if IPv4Interface(cidr).ip in subnet), "")


def _without(piece: IPv4Network, subnet: IPv4Network) -> list[IPv4Network]:
    if not piece.overlaps(subnet):
        return [piece]
    return [] if piece.subnet_of(subnet) else sorted(piece.address_exclude(subnet))
