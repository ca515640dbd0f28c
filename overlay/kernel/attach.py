"""Plugs a container into the bridge: its `ethwe`, addresses and routes.

Owns the changes in a container's network namespace, and the order in which its port is opened: widen its port rule
before an address is added, narrow it after an address is removed. The caller decides the addresses. From the engine it
needs only the process id of the namespace. `effects.Announce` announces the address to others.
"""

import errno
import ipaddress
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from overlay.datapath.port_rules import PortRule, PortWanted, widened
from overlay.datapath.vxlan import CONTAINER_DEVICE, veth_names
from overlay.errors import EnvironmentProblem, UsageError
from overlay.kernel import rtnl
from overlay.kernel.bridge import BridgeDevices, allow_ipv6
from overlay.kernel.messages import RTM_GETADDR, RTM_GETLINK
from overlay.kernel.netlink import Netlink, NetlinkError, NetlinkRequest
from overlay.kernel.netns import inside
from overlay.kernel.port_filter import PortFilter

__all__ = [
    "MULTICAST",
    "EndpointPorts",
    "Ports",
    "addresses_of",
    "addresses_on",
    "plug",
    "plugged",
    "port_name",
    "port_rule",
    "unplug",
]

log = logging.getLogger(__name__)

MULTICAST = "224.0.0.0/4"


class Ports:
    """The ports of this host's bridge: `plug` and `unplug` with the current devices."""

    def __init__(self, netlink: Netlink, devices: Callable[[], BridgeDevices], guard: PortFilter) -> None:
        self._netlink = netlink
        self._devices = devices
        self._guard = guard
        self._foreign: dict[str, str] = {}
        """Container to its port, for ports that an engine created."""

    def plug(self, wanted: PortWanted) -> bool:
        """See the function `plug`."""
        rule = port_rule(wanted.mac, wanted.addresses, wanted.spoofing)
        where = (wanted.container, wanted.pid)
        return plug(
            self._netlink, self._devices(), self._guard, *where, rule, wanted.addresses, multicast=wanted.multicast
        )

    def guard(self, container: str, pid: int, mac: str, addresses: tuple[str, ...], *, spoofing: bool = False) -> None:
        """Guard the port of a container that an engine itself plugged into the bridge."""
        port = self._engine_port(pid, mac)
        if not port:
            log.warning("container %.12s: its port on the bridge is not found, so it is not guarded", container)
            return
        self._foreign[container] = port
        rule = port_rule(mac, addresses, spoofing)
        self._guard.allow(port, rule)
        self._netlink.run(plugged(self._netlink.index(port), self._devices(), rule))

    def _engine_port(self, pid: int, mac: str) -> str:
        """The port that leads to a process and is not assigned to another container; empty if there is none.

        Only the kernel's namespace number tells where a port leads, because a container can choose indexes and MACs.
        The MAC selects one of several ports of the same container.
        """
        with _namespace(pid) as namespace:
            ports = _ports_into(self._netlink, self._devices().bridge, namespace)
            for end, port in list(ports.items()):
                held = self._guard.rules.get(port)
                if held is not None and held.mac != mac:
                    del ports[end]  # `plug` or `EndpointPorts` created it for this container
            if len(ports) > 1:
                with _netlink_in(namespace) as there:
                    named = [int(link["index"]) for link in there.dump(RTM_GETLINK) if _mac(link) == mac]
                ports = {end: port for end, port in ports.items() if end in named}
        return next(iter(ports.values()), "")

    def unplug(self, container: str) -> None:
        """See the function `unplug`; a port that an engine created is left to the engine."""
        foreign = self._foreign.pop(container, None)
        if foreign is not None:
            self._guard.forget(foreign)
        unplug(self._netlink, self._guard, container)

    def held(self, container: str, pid: int) -> tuple[str, ...]:
        """The addresses ("a.b.c.d/n") of a running container that has a port on the bridge; empty without one."""
        return addresses_of(pid) if self._netlink.index(port_name(container)) else ()


class EndpointPorts:
    """Ports of the bridge whose other end the engine moves into a container."""

    def __init__(self, netlink: Netlink, devices: Callable[[], BridgeDevices], guard: PortFilter) -> None:
        self._netlink = netlink
        self._devices = devices
        self._guard = guard

    @staticmethod
    def inner_name(owner: str) -> str:
        """The name of the end that the engine moves."""
        return veth_names(owner)[1]

    def make(self, owner: str, mac: str, addresses: tuple[str, ...], *, spoofing: bool = False) -> None:
        """Create the veth pair, with its port on the bridge and up. Raises `EnvironmentProblem`."""
        self.remove(owner)
        rule = port_rule(mac, addresses, spoofing)
        self._guard.allow(port_name(owner), rule)
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _make_pair(self._netlink, self._devices(), owner, home, mac, name=self.inner_name(owner))
        finally:
            os.close(home)
        self._netlink.run(plugged(self._netlink.index(port_name(owner)), self._devices(), rule))

    def keep(self, owner: str, mac: str, addresses: tuple[str, ...], *, spoofing: bool = False) -> None:
        """Guard the port of an existing pair."""
        rule = port_rule(mac, addresses, spoofing)
        self._guard.allow(port_name(owner), rule)
        self._netlink.run(plugged(self._netlink.index(port_name(owner)), self._devices(), rule))

    def alive(self, owner: str) -> bool:
        """Whether the pair exists; it ends with the container's namespace."""
        return bool(self._netlink.index(port_name(owner)))

    def remove(self, owner: str) -> None:
        """Remove the pair; does nothing if there is none."""
        unplug(self._netlink, self._guard, owner)


def port_rule(mac: str, addresses: tuple[str, ...], spoofing: bool) -> PortRule:
    """The rule for what a port with this MAC and these addresses ("a.b.c.d/n") may send."""
    return PortRule(mac, tuple(str(ipaddress.ip_interface(cidr).ip) for cidr in addresses), spoofing)


def port_name(container: str) -> str:
    """The name of a container's port on the bridge; the same after restarts."""
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
    devices: BridgeDevices,
    guard: PortFilter,
    container: str,
    pid: int,
    rule: PortRule,
    addresses: tuple[str, ...],
    *,
    multicast: bool = True,
) -> bool:
    """Give the container of process `pid` exactly these addresses ("a.b.c.d/n") on `ethwe`; create `ethwe` if needed.

    The bridge's end goes up last, so a carrier on `ethwe` means that everything is in place, and a process in the
    container can wait for it. `multicast`: the route for 224.0.0.0/4 leads to `ethwe` too.

    Idempotent; returns whether `ethwe` was created now. Raises `UsageError` (not running, host network) and
    `EnvironmentProblem`.
    """
    mac = rule.mac
    with _namespace(pid) as namespace, _netlink_in(namespace) as there:
        link = there.link(CONTAINER_DEVICE)
        port = netlink.index(port_name(container))
        if link is not None and (not port or link.get_attr("IFLA_ADDRESS") != mac):
            # A leftover of a deleted bridge, or of an earlier start of this container.
            there.one(rtnl.del_link(int(link["index"])))
            link = None
            port = netlink.index(port_name(container))
        if link is None:
            if port:
                netlink.one(rtnl.del_link(port))
            guard.forget(port_name(container))
            _make_pair(netlink, devices, container, namespace, mac)
        inner = there.index(CONTAINER_DEVICE)
        if any(":" in cidr for cidr in addresses):
            with inside(namespace):
                allow_ipv6(CONTAINER_DEVICE)
        guard.allow(port_name(container), widened(guard.rules.get(port_name(container)), rule))
        stale = [cidr for cidr in addresses_on(there, inner) if cidr not in addresses]
        there.run(
            (
                rtnl.change_link(inner, ("IFLA_MTU", devices.mtu), up=True, what="ethwe up"),
                *(rtnl.del_address(inner, cidr) for cidr in stale),
                *(rtnl.new_address(inner, cidr) for cidr in addresses),
                *((rtnl.new_route(inner, MULTICAST),) if multicast else ()),
            )
        )
        guard.allow(port_name(container), rule)
        netlink.run(plugged(netlink.index(port_name(container)), devices, rule))
        return link is None


def unplug(netlink: Netlink, guard: PortFilter, container: str) -> None:
    """Remove the container's `ethwe`; does nothing if it has none."""
    port = netlink.index(port_name(container))
    if port:
        netlink.one(rtnl.del_link(port))
    guard.forget(port_name(container))


def plugged(port: int, devices: BridgeDevices, rule: PortRule) -> tuple[NetlinkRequest, ...]:
    """Put the port on the bridge and up, and have only this port receive the frames for its MAC.

    MAC learning is on only if the container may have other MACs (VRRP), because those are unknown and have no entry.
    """
    settings = rtnl.port_settings(learning=rule.free, suppress=False, isolated=False)
    return (
        rtnl.change_link(port, ("IFLA_MASTER", devices.bridge), what="plug port into bridge"),
        rtnl.change_link(port, ("IFLA_LINKINFO", settings), what="set up port"),
        rtnl.replace_bridge_fdb(port, rule.mac),
        rtnl.change_link(port, ("IFLA_MTU", devices.mtu), up=True, what="port up"),
    )


def _ports_into(netlink: Netlink, bridge: int, namespace: int) -> dict[int, str]:
    """The bridge's ports whose other end is in this network namespace, by the index of that end."""
    links = netlink.dump(RTM_GETLINK)
    number = netlink.namespace(namespace)
    return {
        int(link.get_attr("IFLA_LINK")): str(link.get_attr("IFLA_IFNAME"))
        for link in links
        if number >= 0 and link.get_attr("IFLA_MASTER") == bridge and link.get_attr("IFLA_LINK_NETNSID") == number
    }


def _mac(link: Any) -> str:
    return str(link.get_attr("IFLA_ADDRESS"))


def addresses_of(pid: int) -> tuple[str, ...]:
    """The addresses ("a.b.c.d/n") on the container's `ethwe`; empty without one."""
    with _namespace(pid) as namespace, _netlink_in(namespace) as there:
        index = there.index(CONTAINER_DEVICE)
        return tuple(addresses_on(there, index)) if index else ()


def _make_pair(
    netlink: Netlink, devices: BridgeDevices, container: str, namespace: int, mac: str, name: str = CONTAINER_DEVICE
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
    """The addresses ("a.b.c.d/n") of an interface, without link-local ones."""
    found = []
    for entry in netlink.dump(RTM_GETADDR):
        literal = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
        if int(entry["index"]) == index and not ipaddress.ip_address(literal).is_link_local:
            found.append(f"{literal}/{entry['prefixlen']}")
    return found
