"""Plugging a container into the bridge: its `ethwe`, addresses, routes, and the announcement of its address.

Owns what happens in a container's network namespace. Which addresses it gets is decided elsewhere; the engine is
asked for nothing but the process id whose namespace this is.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2.netlink.rtnl import RTM_GETADDR

from overlay.datapath.vxlan import CONTAINER_DEVICE, veth_names
from overlay.drivers import rtnl
from overlay.drivers.bridge import Devices, allow_ipv6
from overlay.drivers.netlink import Netlink, NetlinkError
from overlay.drivers.netns import inside
from overlay.errors import EnvironmentProblem, UsageError

__all__ = ["Endpoints", "Ports", "addresses_of", "addresses_on", "plug", "port_name", "unplug"]

MULTICAST = "224.0.0.0/4"
_ETH_P_ARP = 0x0806


class Ports:
    """The ports of this host's bridge: what `plug` and `unplug` do, on devices that are known."""

    def __init__(self, netlink: Netlink, devices: Devices) -> None:
        self._netlink = netlink
        self._devices = devices

    def plug(self, container: str, pid: int, mac: str, addresses: tuple[str, ...], *, multicast: bool = True) -> bool:
        """See `plug` of this module."""
        return plug(self._netlink, self._devices, container, pid, mac, addresses, multicast=multicast)

    def unplug(self, container: str) -> None:
        """See `unplug` of this module."""
        unplug(self._netlink, container)

    def held(self, container: str, pid: int) -> tuple[str, ...]:
        """The addresses ("a.b.c.d/n") of a running container that has a port on the bridge; empty without one."""
        return addresses_of(pid) if self._netlink.index(port_name(container)) else ()


class Endpoints:
    """Ports of the bridge whose other end the engine takes into a container itself."""

    def __init__(self, netlink: Netlink, devices: Devices) -> None:
        self._netlink = netlink
        self._devices = devices

    @staticmethod
    def inner_name(owner: str) -> str:
        """The name of the end that the engine takes."""
        return veth_names(owner)[1]

    def make(self, owner: str, mac: str) -> None:
        """Make the pair, with its port on the bridge and up. Raises `EnvironmentProblem`."""
        self.remove(owner)
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _make_pair(self._netlink, self._devices, owner, home, mac, name=self.inner_name(owner))
        finally:
            os.close(home)
        port = self._netlink.index(port_name(owner))
        self._netlink.run(
            (
                rtnl.change_link(port, ("IFLA_MASTER", self._devices.bridge), what="plug port into bridge"),
                rtnl.change_link(port, ("IFLA_MTU", self._devices.mtu), up=True, what="port up"),
            )
        )

    def alive(self, owner: str) -> bool:
        """The pair exists; it goes with the container's namespace."""
        return bool(self._netlink.index(port_name(owner)))

    def remove(self, owner: str) -> None:
        """Take the pair away; fine if there is none."""
        unplug(self._netlink, owner)


def port_name(container: str) -> str:
    """The name of a container's port on the bridge, stable over restarts."""
    return veth_names(container)[0]


@contextmanager
def _namespace(pid: int) -> Iterator[int]:
    try:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UsageError("the container is not running") from None
    except PermissionError:
        raise EnvironmentProblem(f"not allowed to open the network namespace of process {pid}: run as root") from None
    try:
        if os.fstat(fd).st_ino == Path("/proc/self/ns/net").stat().st_ino:
            raise UsageError("the container shares the host's network: there is nothing to attach")
        yield fd
    finally:
        os.close(fd)


def _netlink_in(namespace: int) -> Netlink:
    with inside(namespace):
        return Netlink()


def plug(
    netlink: Netlink,
    devices: Devices,
    container: str,
    pid: int,
    mac: str,
    addresses: tuple[str, ...],
    *,
    multicast: bool = True,
) -> bool:
    """Give the container of process `pid` exactly these addresses ("a.b.c.d/n") on `ethwe`, made if need be.

    The bridge's end goes up last: a carrier on `ethwe` says that all of it is in place, and whoever waits for that in
    the container may go on. `multicast`: the route for 224.0.0.0/4 leads there too.

    Idempotent; returns whether `ethwe` was made now. Raises `UsageError` (not running, host network) and
    `EnvironmentProblem`.
    """
    with _namespace(pid) as namespace, _netlink_in(namespace) as there:
        link = there.link(CONTAINER_DEVICE)
        port = netlink.index(port_name(container))
        if link is not None and (not port or link.get_attr("IFLA_ADDRESS") != mac):
            # From a bridge that is gone, or from another life of this container: of no use.
            there.one(rtnl.del_link(int(link["index"])))
            link = None
            port = netlink.index(port_name(container))
        if link is None:
            if port:
                netlink.one(rtnl.del_link(port))
            _make_pair(netlink, devices, container, namespace, mac)
        inner = there.index(CONTAINER_DEVICE)
        if any(":" in cidr for cidr in addresses):
            with inside(namespace):
                allow_ipv6(CONTAINER_DEVICE)
        stale = [cidr for cidr in addresses_on(there, inner) if cidr not in addresses]
        there.run(
            (
                rtnl.change_link(inner, ("IFLA_MTU", devices.mtu), up=True, what="ethwe up"),
                *(rtnl.del_address(inner, cidr) for cidr in stale),
                *(rtnl.new_address(inner, cidr) for cidr in addresses),
                *((rtnl.new_route(inner, MULTICAST),) if multicast else ()),
            )
        )
        port = netlink.index(port_name(container))
        netlink.run(
            (
                rtnl.change_link(port, ("IFLA_MASTER", devices.bridge), what="plug port into bridge"),
                rtnl.change_link(port, ("IFLA_MTU", devices.mtu), up=True, what="port up"),
            )
        )
        with inside(namespace):
            _announce(mac, addresses)
        return link is None


def unplug(netlink: Netlink, container: str) -> None:
    """Take the container's `ethwe` away; fine if it has none."""
    port = netlink.index(port_name(container))
    if port:
        netlink.one(rtnl.del_link(port))


def addresses_of(pid: int) -> tuple[str, ...]:
    """The addresses ("a.b.c.d/n") on the container's `ethwe`; empty without one."""
    with _namespace(pid) as namespace, _netlink_in(namespace) as there:
        index = there.index(CONTAINER_DEVICE)
        return tuple(addresses_on(there, index)) if index else ()


def _make_pair(
    netlink: Netlink, devices: Devices, container: str, namespace: int, mac: str, name: str = CONTAINER_DEVICE
) -> None:
    peer: Any = {
        "attrs": [
            ("IFLA_IFNAME", name),
            ("IFLA_ADDRESS", mac),
            ("IFLA_MTU", devices.mtu),
            ("IFLA_NET_NS_FD", namespace),
        ]
    }
    info = rtnl.nested(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=rtnl.nested(VETH_INFO_PEER=peer))
    try:
        netlink.one(rtnl.create_link(port_name(container), ("IFLA_LINKINFO", info), what="make veth"))
    except NetlinkError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOENT):
            raise EnvironmentProblem(
                "this kernel has no veth devices: `modprobe veth`, or a kernel with CONFIG_VETH"
            ) from None
        raise EnvironmentProblem(f"cannot make the container's interface: {error}") from None


def addresses_on(netlink: Netlink, index: int) -> list[str]:
    """The addresses ("a.b.c.d/n") of an interface, link-local ones left out."""
    found = []
    for entry in netlink.dump(RTM_GETADDR):
        literal = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
        if int(entry["index"]) == index and not ipaddress.ip_address(literal).is_link_local:
            found.append(f"{literal}/{entry['prefixlen']}")
    return found


def _announce(mac: str, addresses: tuple[str, ...]) -> None:
    """Gratuitous ARP (RFC 5227, section 3): neighbours and the bridge learn where the address is now."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    try:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except OSError as error:
        raise EnvironmentProblem(f"cannot open a packet socket in the container's namespace: {error}") from None
    with raw:
        raw.bind((CONTAINER_DEVICE, _ETH_P_ARP))
        for cidr in addresses:
            interface = ipaddress.ip_interface(cidr)
            if interface.version != 4:
                continue
            packed = interface.ip.packed
            header = b"\xff" * 6 + hardware + struct.pack("!H", _ETH_P_ARP)
            body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + packed + bytes(6) + packed
            with suppress(OSError):  # the link may need a moment; the next ARP request teaches the same
                raw.send(header + body)
