"""The kernel's links, forwarding entries and neighbours, each read in one dump.

Owns the parsing, which is done by hand: the tables are read every few seconds, and pyroute2's decoder takes fifty times
as long. Does not know the expected state.
"""

import socket
from collections.abc import Iterator

from msgspec import Struct

from overlay.kernel import packed, rtnl
from overlay.kernel.messages import NLM_F_DUMP, RTM_GETLINK, RTM_GETNEIGH
from overlay.kernel.netlink import Netlink, NetlinkRequest, attributes

__all__ = [
    "LEARNED",
    "LOCAL",
    "STATIC",
    "STICKY",
    "KernelLink",
    "NeighbourEntry",
    "entries",
    "links",
    "manner",
    "ports_of",
]

LOCAL, STICKY, STATIC, LEARNED = "local", "sticky", "static", "learned"

_HEADER = 16
_LINK_BODY, _NEIGHBOUR_BODY = 16, 12
_ADDRESS, _NAME, _MTU, _MASTER, _INFO = 1, 3, 4, 10, 18
_KIND, _DATA, _PORT_DATA = 1, 2, 5
_VNI, _VXLAN_LEARNING, _VXLAN_PORT = 1, 7, 15
_BRIDGE_SWITCHES = {5: "STP", 7: "VLAN filtering", 23: "multicast snooping"}
"""Features that are off on our bridge."""
_PORT_SWITCHES = {
    4: "hairpin",
    5: "guard",
    8: "learning",
    9: "unicast flooding",
    27: "multicast flooding",
    30: "broadcast flooding",
    32: "neighbour suppression",
    33: "isolation",
}
_DESTINATION, _LLADDR, _NEIGHBOUR_MASTER = 1, 2, 9
_UP = 1


class KernelLink(Struct, frozen=True):
    """An interface."""

    index: int
    name: str
    kind: str
    up: bool
    mtu: int
    master: int
    """Index of its bridge if it is a port; else 0."""
    mac: str
    vxlan: tuple[int, int, bool]
    """VNI, UDP port, and whether it learns; for a VXLAN device."""
    switched_on: tuple[str, ...]
    """The enabled features; for a bridge or a port of one."""


class NeighbourEntry(Struct, frozen=True):
    """A forwarding entry or a neighbour."""

    device: int
    master: int
    state: int
    flags: int
    mac: str
    destination: str
    """An address, or empty."""


def ports_of(netlink: Netlink, bridge: str) -> tuple[str, ...]:
    """The names of the ports of a bridge; empty if the bridge does not exist."""
    there = links(netlink)
    index = there[bridge].index if bridge in there else -1
    return tuple(name for name, each in there.items() if each.master == index)


def links(netlink: Netlink) -> dict[str, KernelLink]:
    """All interfaces by name."""
    found = {}
    for payload in netlink.raw(NetlinkRequest(RTM_GETLINK, packed.link_query(), flags=NLM_F_DUMP, what="dump links")):
        fields = dict(attributes(payload[_HEADER + _LINK_BODY :]))
        info = dict(attributes(fields.get(_INFO, b"")))
        data, port = dict(attributes(info.get(_DATA, b""))), dict(attributes(info.get(_PORT_DATA, b"")))
        kind = _text(info.get(_KIND, b""))
        vxlan = (0, 0, False)
        if kind == "vxlan":
            number, learns = _number(data.get(_VNI, b"")), bool(_number(data.get(_VXLAN_LEARNING, b"")))
            vxlan = (number, int.from_bytes(data.get(_VXLAN_PORT, b"")[:2], "big"), learns)
        switches = [name for number, name in _PORT_SWITCHES.items() if _number(port.get(number, b""))]
        if kind == "bridge":
            switches += [name for number, name in _BRIDGE_SWITCHES.items() if _number(data.get(number, b""))]
        name = _text(fields.get(_NAME, b""))
        found[name] = KernelLink(
            index=_number(payload[_HEADER + 4 : _HEADER + 8]),
            name=name,
            kind=kind,
            up=bool(_number(payload[_HEADER + 8 : _HEADER + 12]) & _UP),
            mtu=_number(fields.get(_MTU, b"")),
            master=_number(fields.get(_MASTER, b"")),
            mac=fields.get(_ADDRESS, b"").hex(":"),
            vxlan=vxlan,
            switched_on=tuple(switches),
        )
    return found


def entries(netlink: Netlink, family: int) -> Iterator[NeighbourEntry]:
    """All forwarding entries (`rtnl.AF_BRIDGE`) or neighbours (both address families: 0)."""
    query = packed.neighbour_query(family)
    for payload in netlink.raw(NetlinkRequest(RTM_GETNEIGH, query, flags=NLM_F_DUMP, what="dump neighbours")):
        fields = dict(attributes(payload[_HEADER + _NEIGHBOUR_BODY :]))
        yield NeighbourEntry(
            device=_number(payload[20:24]),
            master=_number(fields.get(_NEIGHBOUR_MASTER, b"")),
            state=_number(payload[24:26]),
            flags=payload[26],
            mac=fields.get(_LLADDR, b"").hex(":"),
            destination=_literal(fields.get(_DESTINATION, b"")),
        )


def manner(entry: NeighbourEntry) -> str:
    """The kind of a bridge's entry; a sticky one does not move to another port."""
    if entry.state & rtnl.NUD_PERMANENT:
        return LOCAL
    if not entry.state & rtnl.NUD_NOARP:
        return LEARNED
    return STICKY if entry.flags & rtnl.NTF_STICKY else STATIC


def _literal(packed: bytes) -> str:
    if len(packed) not in (4, 16):
        return ""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
