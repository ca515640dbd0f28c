"""Short constructors for the rtnetlink messages of this project. Builds requests; sends nothing, decides nothing."""

import errno
import ipaddress
import socket
from typing import Any

from overlay.kernel.messages import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)
from overlay.kernel.netlink import AddressMessage, LinkMessage, NetlinkRequest, RouteMessage
from overlay.kernel.packed import neighbour

__all__ = [
    "AF_BRIDGE",
    "ALL_ZERO",
    "NTF_MASTER",
    "NTF_SELF",
    "NTF_STICKY",
    "NUD_NOARP",
    "NUD_PERMANENT",
    "RTPROT_KERNEL",
    "RT_TABLE_MAIN",
    "append_flood",
    "change_link",
    "connected_route",
    "create_link",
    "del_address",
    "del_connected_route",
    "del_fdb",
    "del_link",
    "del_neighbour",
    "family_of",
    "nested",
    "new_address",
    "new_route",
    "port_settings",
    "replace_bridge_fdb",
    "replace_neighbour",
    "replace_vxlan_fdb",
]

AF_BRIDGE = 7
NTF_SELF = 0x02
NTF_MASTER = 0x04
NTF_STICKY = 0x40
"""Frames do not move the entry to another port (Linux 4.20; older kernels ignore it)."""
NUD_PERMANENT = 0x80
NUD_NOARP = 0x40
_IFF_UP = 1
_IFF_NOARP = 0x80
_SCOPE_LINK = 253
_RTN_UNICAST = 1
RTPROT_KERNEL = 2
"""The protocol of routes that the kernel adds and removes with an address."""
_RTPROT_STATIC = 4
RT_TABLE_MAIN = 254
_IFA_F_NODAD = 0x02

ALL_ZERO = "00:00:00:00:00:00"
"""The key of a VXLAN device's default entries, for destinations without an entry of their own."""

_GONE = (errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH)


def nested(**attributes: Any) -> dict[str, Any]:
    """A nested attribute, with the kernel's names."""
    return {"attrs": list(attributes.items())}


def family_of(address: str) -> int:
    """AF_INET or AF_INET6 of an address literal, with or without a prefix length."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def create_link(name: str, *attributes: tuple[str, Any], what: str) -> NetlinkRequest:
    """Create an interface; EEXIST if one of that name exists."""
    message = LinkMessage()
    message["attrs"] = [("IFLA_IFNAME", name), *attributes]
    return NetlinkRequest(RTM_NEWLINK, message, flags=NLM_F_CREATE | NLM_F_EXCL, what=what)


def change_link(
    index: int, *attributes: tuple[str, Any], up: bool | None = None, no_arp: bool = False, what: str
) -> NetlinkRequest:
    """Set attributes of an interface; `up` switches it on or off, `no_arp` disables ARP on it."""
    message = LinkMessage()
    message["index"] = index
    if up is not None:
        message["change"] = _IFF_UP | (_IFF_NOARP if no_arp else 0)
        message["flags"] = message["change"] if up else 0
    message["attrs"] = list(attributes)
    return NetlinkRequest(RTM_NEWLINK, message, what=what)


def port_settings(*, learning: bool, suppress: bool, isolated: bool) -> dict[str, Any]:
    """The settings of a bridge port, as the value of `IFLA_LINKINFO`."""
    data = nested(
        IFLA_BRPORT_MODE=0,
        IFLA_BRPORT_GUARD=0,
        IFLA_BRPORT_LEARNING=int(learning),
        IFLA_BRPORT_UNICAST_FLOOD=1,
        IFLA_BRPORT_MCAST_FLOOD=1,
        IFLA_BRPORT_BCAST_FLOOD=1,
        IFLA_BRPORT_NEIGH_SUPPRESS=int(suppress),
        IFLA_BRPORT_ISOLATED=int(isolated),
    )
    return nested(IFLA_INFO_SLAVE_KIND="bridge", IFLA_INFO_SLAVE_DATA=data)


def del_link(index: int) -> NetlinkRequest:
    """Remove an interface; ignored if it is gone already."""
    message = LinkMessage()
    message["index"] = index
    return NetlinkRequest(RTM_DELLINK, message, ignore=_GONE, what=f"delete link {index}")


def _address(kind: int, index: int, cidr: str, flags: int, ignore: tuple[int, ...]) -> NetlinkRequest:
    interface = ipaddress.ip_interface(cidr)
    message = AddressMessage()
    message["family"] = family_of(cidr)
    message["prefixlen"] = interface.network.prefixlen
    message["index"] = index
    address = str(interface.ip)
    message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    if interface.version == 4 and interface.network.prefixlen < 31:
        message["attrs"].append(("IFA_BROADCAST", str(interface.network.broadcast_address)))
    if interface.version == 6:
        # Address management guarantees uniqueness; duplicate detection would only delay the first packet.
        message["attrs"].append(("IFA_FLAGS", _IFA_F_NODAD))
    return NetlinkRequest(kind, message, flags=flags, ignore=ignore, what=f"address {cidr}")


def new_address(index: int, cidr: str) -> NetlinkRequest:
    """Give an interface an address ("a.b.c.d/n"); ignored if it has it already."""
    return _address(RTM_NEWADDR, index, cidr, NLM_F_CREATE | NLM_F_EXCL, (errno.EEXIST,))


def del_address(index: int, cidr: str) -> NetlinkRequest:
    """Take an address away; ignored if it is not there."""
    return _address(RTM_DELADDR, index, cidr, 0, _GONE)


def _route(index: int, destination: str, protocol: int, *attributes: tuple[str, Any]) -> Any:
    network = ipaddress.ip_network(destination)
    message = RouteMessage()
    message["family"] = family_of(destination)
    message["dst_len"] = network.prefixlen
    message["table"] = RT_TABLE_MAIN
    message["proto"] = protocol
    message["scope"] = _SCOPE_LINK
    message["type"] = _RTN_UNICAST
    message["attrs"] = [("RTA_DST", str(network.network_address)), ("RTA_OIF", index), *attributes]
    return message


def new_route(index: int, destination: str) -> NetlinkRequest:
    """A directly connected route through an interface."""
    message = _route(index, destination, _RTPROT_STATIC)
    return NetlinkRequest(RTM_NEWROUTE, message, flags=NLM_F_CREATE | NLM_F_REPLACE, what=f"route {destination}")


def connected_route(index: int, destination: str, source: str) -> NetlinkRequest:
    """A route like the one that the kernel adds and removes with an address. Other routes to this destination stay."""
    message = _route(index, destination, RTPROT_KERNEL, ("RTA_PREFSRC", source))
    flags = NLM_F_CREATE | NLM_F_APPEND
    return NetlinkRequest(RTM_NEWROUTE, message, flags=flags, ignore=(errno.EEXIST,), what=f"route {destination}")


def del_connected_route(index: int, destination: str) -> NetlinkRequest:
    """Remove such a route; ignored if it is not there."""
    message = _route(index, destination, RTPROT_KERNEL)
    return NetlinkRequest(RTM_DELROUTE, message, ignore=_GONE, what=f"delete route {destination}")


def replace_bridge_fdb(port: int, mac: str) -> NetlinkRequest:
    """Bridge: always send frames for `mac` to this port, even if frames with that source MAC come in at another
    port."""
    message = neighbour(AF_BRIDGE, port, NUD_NOARP, NTF_MASTER | NTF_STICKY, mac=mac)
    return NetlinkRequest(RTM_NEWNEIGH, message, flags=NLM_F_CREATE | NLM_F_REPLACE, what=f"bridge fdb {mac}")


def replace_vxlan_fdb(device: int, mac: str, remote: str, over: int = 0) -> NetlinkRequest:
    """VXLAN: send frames for `mac` to the underlay host `remote`, through the interface `over` if it is not 0."""
    message = neighbour(AF_BRIDGE, device, NUD_PERMANENT, NTF_SELF, mac=mac, destination=remote, over=over)
    return NetlinkRequest(
        RTM_NEWNEIGH, message, flags=NLM_F_CREATE | NLM_F_REPLACE, what=f"vxlan fdb {mac} to {remote}"
    )


def append_flood(device: int, remote: str, over: int = 0) -> NetlinkRequest:
    """VXLAN: send frames without an entry of their own to `remote` too."""
    message = neighbour(AF_BRIDGE, device, NUD_PERMANENT, NTF_SELF, mac=ALL_ZERO, destination=remote, over=over)
    return NetlinkRequest(
        RTM_NEWNEIGH, message, flags=NLM_F_CREATE | NLM_F_APPEND, ignore=(errno.EEXIST,), what=f"flood to {remote}"
    )


def del_fdb(device: int, mac: str, ntf: int, remote: str = "", over: int = 0) -> NetlinkRequest:
    """Remove a forwarding entry of the bridge port (`NTF_MASTER`) or the VXLAN device (`NTF_SELF`)."""
    message = neighbour(AF_BRIDGE, device, 0, ntf, mac=mac, destination=remote, over=over)
    return NetlinkRequest(RTM_DELNEIGH, message, ignore=_GONE, what=f"delete fdb {mac}")


def replace_neighbour(device: int, address: str, mac: str) -> NetlinkRequest:
    """A permanent ARP or ND entry, which neighbour suppression answers with."""
    message = neighbour(family_of(address), device, NUD_PERMANENT, 0, mac=mac, destination=address)
    return NetlinkRequest(RTM_NEWNEIGH, message, flags=NLM_F_CREATE | NLM_F_REPLACE, what=f"neighbour {address} {mac}")


def del_neighbour(device: int, address: str) -> NetlinkRequest:
    """Remove an ARP or ND entry."""
    message = neighbour(family_of(address), device, 0, 0, destination=address)
    return NetlinkRequest(RTM_DELNEIGH, message, ignore=_GONE, what=f"delete neighbour {address}")
