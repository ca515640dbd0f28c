"""The interfaces of a host as bytes for rtnetlink: links up, addresses, and thousands of permanent neighbour entries.

Pure. `plan.host_commands` is the same as text for `ip -batch`, which other backends use, and a test compares what the
two make. Neighbours are the same for all hosts of a network, so their messages are encoded once for each network and
family; a host fills in the index of its interface and leaves itself out.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from msgspec import Struct

from lab.fabric.plan import Interface

__all__ = ["NeighbourTables", "PlannedInterface", "address_message", "at_interface", "link_up", "neighbour_messages"]

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")
_NEWLINK, _NEWADDR, _NEWNEIGH = 16, 20, 28
_REQUEST, _REPLACE, _EXCL, _CREATE = 1, 0x100, 0x200, 0x400
_IFF_UP = 1
_GSO_MAX_SEGS = 40
_LOCAL, _BOTH_ENDS = 2, 1
_NODAD = 2
_PERMANENT = 0x80
_DST, _LLADDR = 1, 2
_INDEX_AT = 20
"""Where a neighbour's message has the index of the interface."""


class PlannedInterface(Struct, frozen=True):
    """One interface of a host, as its init sets it up."""

    name: str
    address: str
    prefix: int
    whole: bool
    """Offloads stay on; False: each packet must cross the cable individually."""
    neighbours: str
    """The file with the messages of the network's neighbours."""
    place: int
    """Which of them is the host itself."""


class NeighbourTables:
    """The neighbours in each network and family. Forgotten when an address changes."""

    def __init__(self, everyone: Mapping[str, Sequence[Interface]]) -> None:
        self._everyone = everyone
        self._places: dict[tuple[str, int], dict[str, int]] = {}
        self.version = 0
        """Grows whenever the tables change."""

    def forget(self) -> None:
        """The interfaces have changed."""
        self._places.clear()
        self.version += 1

    def place(self, interface: Interface) -> tuple[str, int]:
        """(name of the table that has this interface, its place there)."""
        if not self._places:
            for interfaces in self._everyone.values():
                for one in interfaces:
                    addresses = self._places.setdefault((one.network, _version(one.address)), {})
                    addresses[one.address] = len(addresses)
        key = interface.network, _version(interface.address)
        return f"{list(self._places).index(key)}-{self.version}", self._places[key][interface.address]

    def messages(self, interface: Interface) -> bytes:
        """The messages of the table that has this interface."""
        network, family = interface.network, _version(interface.address)
        listed = (one for interfaces in self._everyone.values() for one in interfaces if one.network == network)
        return neighbour_messages((one.address, one.mac) for one in listed if _version(one.address) == family)


def link_up(index: int, *, whole: bool = True) -> bytes:
    """Bring an interface up. Not `whole`: with segments of one packet only."""
    body = _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP)
    return _message(_NEWLINK, 0, body + (b"" if whole else _attribute(_GSO_MAX_SEGS, struct.pack("=I", 1))))


def address_message(index: int, address: str, prefix: int) -> bytes:
    """Add an address, without duplicate address detection."""
    parsed = ip_address(address)
    six = parsed.version == 6
    body = _ADDRESS.pack(_family(six), prefix, _NODAD if six else 0, 0, index)
    body += _attribute(_LOCAL, parsed.packed) + _attribute(_BOTH_ENDS, parsed.packed)
    return _message(_NEWADDR, _CREATE | _EXCL, body)


def neighbour_messages(neighbours: Iterable[tuple[str, str]]) -> bytes:
    """Permanent entries for these (address, MAC) of one family, at no interface yet."""
    found = bytearray()
    for address, mac in neighbours:
        packed = ip_address(address).packed
        body = _NEIGHBOUR.pack(_family(len(packed) == 16), 0, _PERMANENT, 0, 0)
        body += _attribute(_DST, packed) + _attribute(_LLADDR, bytes.fromhex(mac.replace(":", "")))
        found += _message(_NEWNEIGH, _CREATE | _REPLACE, body)
    return bytes(found)


def at_interface(messages: bytes, index: int, place: int) -> bytes:
    """The messages of a table for one host: with the index of its interface, and without itself."""
    (size,) = struct.unpack_from("=I", messages)
    filled = bytearray(messages)
    for offset, value in enumerate(struct.pack("=i", index)):
        filled[_INDEX_AT + offset :: size] = bytes((value,)) * (len(messages) // size)
    del filled[place * size : (place + 1) * size]
    return bytes(filled)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _family(six: bool) -> int:
    return 10 if six else 2


def _version(address: str) -> int:
    return 6 if ":" in address else 4
