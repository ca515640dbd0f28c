"""The routes that a container's `ethwe` keeps when the container is also on networks of the engine. Pure.

An engine refuses to give a container an address within a network to which the container's main table already has a
route. Without a default subnet, `ethwe` has a route to the router's whole range, which contains every subnet. So that
route is replaced by routes to the same network without the other interfaces' subnets. Packets take the same way as
before, because the longest prefix wins. Must not know netlink; `overlay.docker.sandbox` applies the routes.
"""

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network

__all__ = ["clash", "ways"]


def ways(held: Sequence[str], apart: Sequence[IPv4Network]) -> dict[IPv4Network, str]:
    """The directly connected routes of an interface with these addresses ("a.b.c.d/n"), each with its source address.

    `apart`: subnets to which other interfaces of the container lead.
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
    """The address of `held` in a subnet of another interface: replies to that subnet would leave by the wrong
    interface."""
    return next((cidr for cidr in held if IPv4Interface(cidr).ip in subnet), "")


def _without(piece: IPv4Network, subnet: IPv4Network) -> list[IPv4Network]:
    if not piece.overlaps(subnet):
        return [piece]
    return [] if piece.subnet_of(subnet) else sorted(piece.address_exclude(subnet))
