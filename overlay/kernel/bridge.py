"""The `weave` bridge and its VXLAN ports, one for each underlay address family; created once, then adopted.

Owns the devices' existence and settings. A daemon that finds devices from an earlier daemon changes only what differs,
so that traffic continues during its restart. `forwarding` owns what is forwarded where.
"""

import errno
import ipaddress
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from overlay.config import PeerName
from overlay.crypto.secure_peer import SECURE_DEVICE, SECURE_PORT, SECURE_VNI, WIREGUARD_DEVICE, tunnel_address
from overlay.datapath.vxlan import (
    BRIDGE,
    TUNNEL_DEVICE,
    TUNNEL_PORT,
    VNI,
    VXLAN6_DEVICE,
    VXLAN_DEVICE,
    VXLAN_PORT,
    VxlanPlan,
)
from overlay.errors import EnvironmentProblem
from overlay.kernel import rtnl
from overlay.kernel.messages import RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE
from overlay.kernel.netlink import Netlink, NetlinkError, NetlinkRequest

__all__ = [
    "PORT_PREFIX",
    "BridgeDevices",
    "add_secure",
    "again",
    "allow_ipv6",
    "ensure",
    "has_address",
    "interface_address",
    "remove",
    "remove_secure",
    "switch_vxlan",
    "underlay",
    "underlay_mtu",
]

log = logging.getLogger(__name__)

TTL = 64
PORT_PREFIX = "vethwe"
"""Prefix of the names of all containers' ports on the bridge."""

_EUI64_OFF = 1
_ARPHRD_LOOPBACK = 772
_IFF_UP = 1


class BridgeDevices(Struct, frozen=True):
    """The kernel's indexes of the devices, and their properties."""

    bridge: int
    vxlan: int
    tunnel: int
    """The userspace tunnel's port on the bridge."""
    mtu: int
    adopted: bool
    """The devices existed before this daemon started."""
    vxlan6: int = 0
    """The VXLAN device for hosts with an IPv6 address; 0 if the kernel has no IPv6."""
    secure: int = 0
    """The VXLAN device within WireGuard; 0 without it."""
    wireguard: int = 0

    @property
    def vxlans(self) -> tuple[int, ...]:
        """All existing VXLAN devices."""
        return tuple(index for index in (self.vxlan, self.vxlan6, self.secure) if index)


def _vxlan_info(vni: int, port: int, **more: Any) -> dict[str, Any]:
    data = rtnl.nested(
        IFLA_VXLAN_ID=vni,
        IFLA_VXLAN_PORT=port,
        IFLA_VXLAN_LEARNING=0,
        IFLA_VXLAN_TTL=TTL,
        # The inner packets have their own checksums, so the outer one is only a cost (RFC 7348, section 5).
        IFLA_VXLAN_UDP_CSUM=0,
        IFLA_VXLAN_UDP_ZERO_CSUM6_TX=1,
        IFLA_VXLAN_UDP_ZERO_CSUM6_RX=1,
        **more,
    )
    return rtnl.nested(IFLA_INFO_KIND="vxlan", IFLA_INFO_DATA=data)


def _bridge_info(**more: int) -> dict[str, Any]:
    data = rtnl.nested(IFLA_BR_MCAST_SNOOPING=0, **{f"IFLA_BR_{name}": value for name, value in more.items()})
    return rtnl.nested(IFLA_INFO_KIND="bridge", IFLA_INFO_DATA=data)


def _port_info() -> dict[str, Any]:
    return rtnl.port_settings(learning=False, suppress=True, isolated=True)


def _create(netlink: Netlink, request: NetlinkRequest, feature: str, remedy: str) -> None:
    try:
        netlink.one(request)
    except NetlinkError as error:
        if error.errno == errno.EPERM:
            raise EnvironmentProblem(
                f"not allowed to make a {feature}: run `weave` as root (or in a user namespace that owns this network)"
            ) from None
        if error.errno in (errno.EOPNOTSUPP, errno.ENOENT):
            raise EnvironmentProblem(f"this kernel has no {feature}: {remedy}") from None
        if error.errno == errno.EEXIST and "vxlan" in request.what:
            raise EnvironmentProblem(
                f"another VXLAN device of this host has number {VNI} on UDP port {VXLAN_PORT}: "
                "`ip -d link show type vxlan` names it; delete it"
            ) from None
        raise EnvironmentProblem(f"cannot make a {feature}: {error}") from None


def maker(netlink: Netlink) -> str:
    """The name of the peer that created the bridge; empty if there is no bridge, or a foreign one."""
    link = netlink.link(BRIDGE)
    if link is None or _kind(link) != "bridge" or netlink.link(VXLAN_DEVICE) is None:
        return ""
    return str(link.get_attr("IFLA_ADDRESS"))


def ensure(netlink: Netlink, plan: VxlanPlan) -> BridgeDevices:
    """Create or adopt the bridge and its ports. A new VXLAN device stays off until `switch_vxlan`.

    Raises `EnvironmentProblem`.
    """
    bridge = netlink.link(plan.bridge)
    if bridge is None:
        attributes = (("IFLA_ADDRESS", plan.bridge_mac), ("IFLA_MTU", plan.mtu), ("IFLA_LINKINFO", _bridge_info()))
        _create(
            netlink,
            rtnl.create_link(plan.bridge, *attributes, what="make bridge"),
            "network bridge",
            "`modprobe bridge`, or a kernel with CONFIG_BRIDGE",
        )
    elif _kind(bridge) != "bridge":
        raise EnvironmentProblem(f"there is an interface `{plan.bridge}` that is no bridge: rename or delete it")
    index = netlink.index(plan.bridge)
    netlink.one(rtnl.change_link(index, ("IFLA_MTU", plan.mtu), what="mtu of bridge"))
    netlink.one(rtnl.change_link(index, ("IFLA_LINKINFO", _bridge_info(STP_STATE=0)), what="set up bridge"))
    with suppress(NetlinkError):  # a kernel without VLAN support on bridges does not filter VLANs
        netlink.one(rtnl.change_link(index, ("IFLA_LINKINFO", _bridge_info(VLAN_FILTERING=0)), what="VLANs of bridge"))
    if bridge is not None and bridge.get_attr("IFLA_ADDRESS") != plan.bridge_mac:
        netlink.one(rtnl.change_link(index, ("IFLA_ADDRESS", plan.bridge_mac), what="MAC of bridge"))
    vxlan, found = _ensure_vxlan(netlink, plan, plan.device, index)
    try:
        vxlan6, _ = _ensure_vxlan(netlink, plan, VXLAN6_DEVICE, index, IFLA_VXLAN_LOCAL6="::")
    except (NetlinkError, EnvironmentProblem) as error:
        log.info("no VXLAN over IPv6: %s", error)
        vxlan6 = 0
    tunnel = _ensure_tunnel(netlink, index, plan.mtu)
    for name in (plan.bridge, plan.device, VXLAN6_DEVICE, TUNNEL_PORT, TUNNEL_DEVICE):
        _no_link_local(name)
    netlink.run(
        (
            rtnl.change_link(index, up=True, what="bridge up"),
            rtnl.change_link(tunnel, up=True, what="tunnel's port up"),
            rtnl.change_link(netlink.index(TUNNEL_DEVICE), up=True, no_arp=True, what="tunnel's device up"),
        )
    )
    adopted = bridge is not None and found
    return BridgeDevices(bridge=index, vxlan=vxlan, tunnel=tunnel, mtu=plan.mtu, adopted=adopted, vxlan6=vxlan6)


def _ensure_vxlan(netlink: Netlink, plan: VxlanPlan, name: str, bridge: int, **more: Any) -> tuple[int, bool]:
    """Create or adopt a VXLAN device and plug it into the bridge. Returns its index, and whether it existed before."""
    link = netlink.link(name)
    if link is not None and not _fits(link):
        netlink.one(rtnl.del_link(int(link["index"])))
        link = None
    if link is None:
        info = _vxlan_info(plan.vni, plan.port, **more)
        request = rtnl.create_link(name, ("IFLA_MTU", plan.mtu), ("IFLA_LINKINFO", info), what="make vxlan")
        _create(netlink, request, "VXLAN device", "`modprobe vxlan`, or a kernel with CONFIG_VXLAN")
    index = netlink.index(name)
    netlink.run(
        (
            rtnl.change_link(index, ("IFLA_MASTER", bridge), what="plug vxlan into bridge"),
            rtnl.change_link(index, ("IFLA_MTU", plan.mtu), what="mtu of vxlan"),
        )
    )
    try:
        netlink.one(rtnl.change_link(index, ("IFLA_LINKINFO", _port_info()), what="set up vxlan port"))
    except NetlinkError as error:
        raise EnvironmentProblem(
            f"this kernel's bridge lacks neighbour suppression or port isolation ({error}): use Linux 4.18 or newer"
        ) from None
    return index, link is not None


def again(netlink: Netlink, plan: VxlanPlan, before: BridgeDevices, clear: bool, own: PeerName) -> BridgeDevices:
    """Create missing devices again, and set what differs. Raises `EnvironmentProblem`, `NetlinkError`."""
    made = switch_vxlan(netlink, ensure(netlink, plan), clear)
    made = replace(made, secure=before.secure, wireguard=before.wireguard)
    if not before.wireguard:
        return made
    link = netlink.link(WIREGUARD_DEVICE)
    if link is None or int(link["index"]) != before.wireguard:
        raise EnvironmentProblem(f"{WIREGUARD_DEVICE} is gone, and its keys with it: `weave stop`, then `weave launch`")
    if netlink.index(SECURE_DEVICE) != before.secure:
        return add_secure(netlink, made, before.wireguard, tunnel_address(own))
    netlink.run(_secure_port(before.secure, made))
    return made


def switch_vxlan(netlink: Netlink, devices: BridgeDevices, up: bool) -> BridgeDevices:
    """Open or close the UDP ports of plain VXLAN: the kernel does not listen while a device is off.

    A host without IPv6 (or with IPv6 switched off) has no device for IPv6.
    """
    netlink.one(rtnl.change_link(devices.vxlan, up=up, what=f"vxlan {'up' if up else 'down'}"))
    if not devices.vxlan6:
        return devices
    try:
        netlink.one(rtnl.change_link(devices.vxlan6, up=up, what=f"vxlan over IPv6 {'up' if up else 'down'}"))
    except NetlinkError as error:
        log.info("no VXLAN over IPv6: %s", error)
        netlink.one(rtnl.del_link(devices.vxlan6))
        return replace(devices, vxlan6=0)
    return devices


def add_secure(netlink: Netlink, devices: BridgeDevices, lower: int, address: str) -> BridgeDevices:
    """Create the VXLAN device within WireGuard, whose interface is `lower` and has `address`. Raises `NetlinkError`."""
    # A link-local source binds the device to its interface, so it accepts no packet from another one.
    info = _vxlan_info(SECURE_VNI, SECURE_PORT, IFLA_VXLAN_LINK=lower, IFLA_VXLAN_LOCAL6=address)
    attributes = (("IFLA_MTU", devices.mtu), ("IFLA_LINKINFO", info))
    netlink.one(rtnl.create_link(SECURE_DEVICE, *attributes, what="make vxlan within WireGuard"))
    index = netlink.index(SECURE_DEVICE)
    _no_link_local(SECURE_DEVICE)
    netlink.run(_secure_port(index, devices))
    return replace(devices, secure=index, wireguard=lower)


def _secure_port(index: int, devices: BridgeDevices) -> tuple[NetlinkRequest, ...]:
    return (
        rtnl.change_link(index, ("IFLA_MASTER", devices.bridge), what="plug vxlan within WireGuard into bridge"),
        rtnl.change_link(index, ("IFLA_MTU", devices.mtu), what="mtu of vxlan within WireGuard"),
        rtnl.change_link(index, ("IFLA_LINKINFO", _port_info()), what="set up port of vxlan within WireGuard"),
        rtnl.change_link(index, up=True, what="vxlan within WireGuard up"),
    )


def remove_secure(netlink: Netlink) -> None:
    """Delete the VXLAN device within WireGuard and the WireGuard interface, if they exist."""
    indices = [netlink.index(name) for name in (SECURE_DEVICE, WIREGUARD_DEVICE)]
    netlink.run(rtnl.del_link(index) for index in indices if index)


def _ensure_tunnel(netlink: Netlink, bridge: int, mtu: int) -> int:
    """Create or adopt the veth pair of the userspace tunnel; returns the index of the end on the bridge."""
    if not netlink.index(TUNNEL_PORT):
        peer: Any = {"attrs": [("IFLA_IFNAME", TUNNEL_DEVICE), ("IFLA_MTU", mtu)]}
        info = rtnl.nested(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=rtnl.nested(VETH_INFO_PEER=peer))
        request = rtnl.create_link(TUNNEL_PORT, ("IFLA_LINKINFO", info), what="make veth of the tunnel")
        _create(netlink, request, "veth device", "`modprobe veth`, or a kernel with CONFIG_VETH")
    port, device = netlink.index(TUNNEL_PORT), netlink.index(TUNNEL_DEVICE)
    netlink.run(
        (
            rtnl.change_link(port, ("IFLA_MASTER", bridge), what="plug tunnel into bridge"),
            rtnl.change_link(port, ("IFLA_MTU", mtu), what="mtu of tunnel's port"),
            rtnl.change_link(device, ("IFLA_MTU", mtu), what="mtu of tunnel's device"),
            rtnl.change_link(port, ("IFLA_LINKINFO", _port_info()), what="set up tunnel's port"),
        )
    )
    return port


def remove(netlink: Netlink) -> None:
    """Delete the devices and every container port on the bridge (and with it the container's `ethwe`)."""
    bridge = netlink.index(BRIDGE)
    ports = [
        int(link["index"])
        for link in netlink.dump(RTM_GETLINK)
        if (name := link.get_attr("IFLA_IFNAME")).startswith(PORT_PREFIX) or name in (VXLAN_DEVICE, VXLAN6_DEVICE)
    ]
    remove_secure(netlink)
    netlink.run(rtnl.del_link(index) for index in (*ports, bridge) if index)


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND")) if info is not None else ""


def _fits(link: Any) -> bool:
    """Whether an existing VXLAN device has the settings of a new one."""
    if _kind(link) != "vxlan":
        return False
    data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    return (
        data.get_attr("IFLA_VXLAN_ID") == VNI
        and data.get_attr("IFLA_VXLAN_PORT") == VXLAN_PORT
        and not data.get_attr("IFLA_VXLAN_LEARNING")
    )


def _no_link_local(name: str) -> None:
    """Give the device no link-local address, because without an address it sends nothing of its own on the overlay."""
    setting = Path(f"/proc/sys/net/ipv6/conf/{name}/addr_gen_mode")
    try:
        setting.write_text(f"{_EUI64_OFF}\n", encoding="utf-8")
    except OSError as error:
        log.debug("%s: %s", setting, error)


def allow_ipv6(name: str) -> None:
    """Allow IPv6 addresses on an interface, even if IPv6 was switched off (as container engines do)."""
    try:
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0\n", encoding="utf-8")
    except OSError as error:
        log.debug("%s: %s", name, error)


def underlay_mtu(netlink: Netlink) -> int:
    """The MTU to other hosts: that of the default route's interface, else the smallest of an interface with an
    address."""
    return underlay(netlink)[1]


def underlay(netlink: Netlink) -> tuple[str, int]:
    """The interface of `underlay_mtu`, and the MTU; the name is empty if there is none."""
    links = {int(link["index"]): link for link in netlink.dump(RTM_GETLINK)}
    for route in netlink.dump(RTM_GETROUTE, socket.AF_INET):
        device = route.get_attr("RTA_OIF")
        if route["dst_len"] == 0 and device in links:
            return str(links[device].get_attr("IFLA_IFNAME")), int(links[device].get_attr("IFLA_MTU"))
    candidates = []
    for address in netlink.dump(RTM_GETADDR):
        link = links.get(int(address["index"]))
        if link is None or int(link["ifi_type"]) == _ARPHRD_LOOPBACK or not int(link["flags"]) & _IFF_UP:
            continue
        if _kind(link) == "bridge" or ipaddress.ip_address(address.get_attr("IFA_ADDRESS")).is_link_local:
            continue
        candidates.append((int(link.get_attr("IFLA_MTU")), str(link.get_attr("IFLA_IFNAME"))))
    mtu, name = min(candidates, default=(1500, ""))
    return name, mtu


def interface_address(netlink: Netlink, name: str) -> str:
    """The first IPv4 address of an interface, or "" (no such interface, or none)."""
    index = netlink.index(name)
    if not index:
        return ""
    for address in netlink.dump(RTM_GETADDR, socket.AF_INET):
        if int(address["index"]) == index:
            return str(address.get_attr("IFA_LOCAL"))
    return ""


def has_address(netlink: Netlink, literal: str) -> bool:
    """Whether an interface of this host has this address."""
    return any(str(address.get_attr("IFA_ADDRESS")) == literal for address in netlink.dump(RTM_GETADDR))
