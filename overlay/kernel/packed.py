"""The bodies of the most frequent rtnetlink messages, packed by hand: dumps, a link by its name, neighbour entries.

A daemon sends dozens of these when it starts, and a few for each peer; pyroute2 takes ten times as long to encode them.
A test compares the bytes of both. Knows no socket and no header.
"""

import socket
import struct

__all__ = ["address_query", "link_query", "neighbour", "neighbour_query"]

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")
_IFLA_IFNAME = 3
_NDA_DST, _NDA_LLADDR, _NDA_IFINDEX = 1, 2, 8


def link_query(name: str = "") -> bytes:
    """The body of RTM_GETLINK for one interface; without a name, for a dump of all."""
    return _LINK.pack(0, 0, 0, 0, 0) + (_attribute(_IFLA_IFNAME, name.encode() + b"\0") if name else b"")


def address_query(family: int = 0) -> bytes:
    """The body of RTM_GETADDR for a dump."""
    return _ADDRESS.pack(family, 0, 0, 0, 0)


def neighbour_query(family: int = 0) -> bytes:
    """The body of RTM_GETNEIGH for a dump."""
    return _NEIGHBOUR.pack(family, 0, 0, 0, 0)


def neighbour(
    family: int, index: int, state: int, flags: int, *, mac: str = "", destination: str = "", over: int = 0
) -> bytes:
    """The body of RTM_NEWNEIGH and RTM_DELNEIGH. Raises `OSError` if `destination` is no address."""
    body = _NEIGHBOUR.pack(family, index, state, flags, 0)
    if destination:
        kind = socket.AF_INET6 if ":" in destination else socket.AF_INET
        body += _attribute(_NDA_DST, socket.inet_pton(kind, destination))
    if mac:
        body += _attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return body + (_attribute(_NDA_IFINDEX, struct.pack("=I", over)) if over else b"")


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
