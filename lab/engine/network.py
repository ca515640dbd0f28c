"""The host's side of container networking: docker0, addresses, published ports.

Owns the bridge, its address pool, one nft table and the reservation of published ports in the network namespace in
which `BridgeNetwork` is created. `inside.py` sets up a container's side of its veth pair. Knows containers only as
`Lease`s. Operations that may take the kernel long run in the system's tools, so that they do not block this process.
"""

import asyncio
import errno
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from lab.engine.errors import ApiError
from lab.engine.reaper import Reaper
from lab.engine.spec import PortBinding
from overlay.kernel import rtnl
from overlay.kernel.messages import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    ifaddrmsg,
    ifinfmsg,
    rtmsg,
)
from overlay.kernel.netlink import Netlink, NetlinkRequest
from overlay.kernel.packet_tables import Tables

__all__ = ["BridgeNetwork", "Lease", "PublishedPort", "configure_eth0", "make_veth"]

_IFF_UP = 1
_TABLE = "container_engine"
_CHAIN = "ENGINE"
"""The chain in iptables' table `filter`."""
_EPHEMERAL = range(49153, 65536)


class PublishedPort(Struct, frozen=True):
    """One published port."""

    protocol: str
    container_port: int
    host_ip: str
    """`0.0.0.0`, or the one address at which it is reachable."""
    host_port: int


class Lease(Struct, frozen=True):
    """The network resources of one running container."""

    address: str
    prefix: int
    gateway: str
    mac: str
    mtu: int
    bridge: str
    veth: str
    """Name of the host's end of the veth pair."""
    ports: tuple[PublishedPort, ...]


class BridgeNetwork:
    """The default bridge network of one engine."""

    def __init__(self, reaper: Reaper, bridge: str = "docker0", cidr: str = "172.17.0.1/16", mtu: int = 1500) -> None:
        interface = ipaddress.IPv4Interface(cidr)
        self.bridge = bridge
        self.gateway = str(interface.ip)
        self.subnet = interface.network
        self.mtu = mtu
        self._free_from = int(self.subnet.network_address) + 1
        self._used = {int(interface.ip)}
        self._reserved: dict[PublishedPort, socket.socket] = {}
        self._reaper = reaper
        self._netlink = Netlink()

    async def setup(self) -> None:
        """Create the bridge, forwarding and the nft table, replacing those of a killed engine. Idempotent."""
        if not self._netlink.index(self.bridge):
            mac = bytes((0x02, 0x42)) + secrets.token_bytes(4)
            # The kernel would change the MAC with every port that comes or goes; an explicit MAC stays.
            attributes = [("IFLA_IFNAME", self.bridge), ("IFLA_MTU", self.mtu), ("IFLA_ADDRESS", mac.hex(":"))]
            message = _new(ifinfmsg)
            message["attrs"] = [*attributes, ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})]
            create = NLM_F_CREATE | NLM_F_EXCL
            self._netlink.one(NetlinkRequest(RTM_NEWLINK, message, flags=create, what=f"add bridge {self.bridge}"))
        _sysctl(f"net/ipv6/conf/{self.bridge}/disable_ipv6", "1")
        index = self._netlink.index(self.bridge)
        self._netlink.run([_address(index, self.gateway, self.subnet.prefixlen), _up(index)])
        for stale in self._netlink.dump(RTM_GETLINK):
            name = str(stale.get_attr("IFLA_IFNAME"))
            if stale.get_attr("IFLA_MASTER") == index and name.startswith("veth"):
                await self._delete_link(name)
        _sysctl("net/ipv4/ip_forward", "1")
        called = await self._close_forward()
        # As on Docker's hosts, if the machine has br_netfilter: bridged packets pass the IP rules too.
        _sysctl("net/bridge/bridge-nf-call-iptables", "1" if called else "0")
        # The host itself can reach published ports at 127.0.0.1.
        _sysctl(f"net/ipv4/conf/{self.bridge}/route_localnet", "1")
        await self._nft(_ruleset(self.bridge, str(self.subnet)))

    async def _close_forward(self) -> bool:
        """Docker's usual FORWARD policy: drop what is not allowed. False: this machine has no suitable iptables.

        An overlay that attaches containers to its own bridge must allow its traffic, as on real hosts.
        """
        tables = Tables(_CHAIN)
        try:
            jumps = tables.see(4, "filter", "FORWARD").jumps
        except InterruptedError:
            jumps = False  # a second jump is harmless
        finally:
            tables.close()
        scripts = {
            "iptables-restore": _forward(self.bridge, jump=not jumps),
            "ip6tables-restore": "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
        }
        try:
            ended = await asyncio.gather(
                *(self._reaper.run([command, "-w", "--noflush"], script) for command, script in scripts.items())
            )
        except FileNotFoundError:
            return False
        return not any(code for code, _ in ended)

    async def lease(self, container: str, wanted: Sequence[tuple[int, str, PortBinding]]) -> Lease:
        """An address, and the requested ports: all or nothing. Raises `ApiError` 500 with Docker's texts."""
        address = self._take_address()
        ports: list[PublishedPort] = []
        try:
            for container_port, protocol, place in wanted:
                ports.append(self._reserve(container, container_port, protocol, place))
            if ports:
                await self._nft("".join(_element("add", port, str(address)) for port in ports))
        except BaseException:
            for port in ports:
                self._reserved.pop(port).close()
            self._used.discard(int(address))
            raise
        return Lease(
            address=str(address),
            prefix=self.subnet.prefixlen,
            gateway=self.gateway,
            mac="02:42:" + address.packed.hex(":"),
            mtu=self.mtu,
            bridge=self.bridge,
            veth="veth" + secrets.token_hex(4),
            ports=tuple(ports),
        )

    async def release(self, lease: Lease) -> None:
        """Release everything. The veth pair goes at once, even if another process holds the container's namespace."""
        await self._delete_link(lease.veth)
        if lease.ports:
            await self._nft("".join(_element("delete", port, lease.address) for port in lease.ports))
        for port in lease.ports:
            self._reserved.pop(port).close()
        self._used.discard(int(ipaddress.IPv4Address(lease.address)))

    def close(self) -> None:
        """Close sockets; bridge and table stay, as in Docker."""
        self._netlink.close()
        for reserved in self._reserved.values():
            reserved.close()

    def _take_address(self) -> ipaddress.IPv4Address:
        for number in range(self._free_from, int(self.subnet.broadcast_address)):
            if number not in self._used:
                self._used.add(number)
                return ipaddress.IPv4Address(number)
        raise ApiError(500, "no available IPv4 addresses on this network's address pools: bridge")

    def _reserve(self, container: str, container_port: int, protocol: str, place: PortBinding) -> PublishedPort:
        """Bind the port on the host, without listening: nobody else can bind it, and a conflict is reported at once."""
        host_ip = place.host_ip or "0.0.0.0"
        asked = int(place.host_port or 0)
        for host_port in (asked,) if asked else _EPHEMERAL:
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
            try:
                holder.bind((host_ip, host_port))
            except OSError as error:
                holder.close()
                if error.errno == errno.EADDRINUSE and not asked:
                    continue
                reason = "port is already allocated" if error.errno == errno.EADDRINUSE else str(error.strerror)
                raise ApiError(
                    500,
                    f"driver failed programming external connectivity on endpoint {container} "
                    f"({secrets.token_hex(32)}): Bind for {host_ip}:{host_port} failed: {reason}",
                ) from None
            port = PublishedPort(protocol, container_port, host_ip, host_port)
            self._reserved[port] = holder
            return port
        raise ApiError(500, "no free port on this host")

    async def _delete_link(self, name: str) -> None:
        """Takes the kernel about 20 ms, so it does not use netlink in this process."""
        if not self._netlink.index(name):
            return  # it was removed with the container's namespace
        code, said = await self._reaper.run(["ip", "link", "delete", name])
        if code and self._netlink.index(name):
            raise ApiError(500, f"ip link delete {name}: {said.strip()}")

    async def _nft(self, script: str) -> None:
        """Run a script as one transaction."""
        try:
            code, said = await self._reaper.run(["nft", "-f", "-"], script)
        except FileNotFoundError:
            raise ApiError(500, "nft is missing on this machine: install the package nftables") from None
        if code:
            raise ApiError(500, f"nft: {said.strip()}")


def make_veth(netlink: Netlink, lease: Lease, namespace_pid: int) -> None:
    """Create the pair: one end up on the bridge, the other as `eth0` in the network namespace of a process.

    `netlink` belongs to the host's network namespace; the pid is in the caller's pid namespace.
    """
    peer = [
        ("IFLA_IFNAME", "eth0"),
        ("IFLA_ADDRESS", lease.mac),
        ("IFLA_MTU", lease.mtu),
        ("IFLA_NET_NS_PID", namespace_pid),
    ]
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": peer})]}
    message = _new(ifinfmsg)
    message["attrs"] = [
        ("IFLA_IFNAME", lease.veth),
        ("IFLA_MTU", lease.mtu),
        ("IFLA_MASTER", netlink.index(lease.bridge)),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}),
    ]
    message["flags"] = message["change"] = _IFF_UP
    netlink.one(NetlinkRequest(RTM_NEWLINK, message, flags=NLM_F_CREATE | NLM_F_EXCL, what=f"add veth {lease.veth}"))
    # Hairpin: a container that connects to its own published port gets the packet back on the bridge port.
    port = rtnl.nested(IFLA_INFO_SLAVE_KIND="bridge", IFLA_INFO_SLAVE_DATA=rtnl.nested(IFLA_BRPORT_MODE=1))
    netlink.one(rtnl.change_link(netlink.index(lease.veth), ("IFLA_LINKINFO", port), what=f"hairpin of {lease.veth}"))


def configure_lo(netlink: Netlink) -> None:
    """Bring up loopback, which is always interface 1 of a network namespace."""
    netlink.one(_up(1))


def configure_eth0(netlink: Netlink, lease: Lease) -> None:
    """Address and default route of a container, from inside its network namespace."""
    index = netlink.index("eth0")
    _sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
    route = _new(rtmsg)
    route["family"] = socket.AF_INET
    route["table"], route["proto"], route["type"] = 254, 3, 1  # main, boot, unicast
    route["attrs"] = [("RTA_GATEWAY", lease.gateway), ("RTA_OIF", index)]
    create = NetlinkRequest(RTM_NEWROUTE, route, flags=NLM_F_CREATE | NLM_F_EXCL, what="add default route")
    netlink.run([_address(index, lease.address, lease.prefix), _up(index), create])


def _new(kind: Any) -> Any:
    """An empty message; pyroute2 has no types."""
    return kind()


def _address(index: int, address: str, prefix: int) -> NetlinkRequest:
    message = _new(ifaddrmsg)
    message["family"], message["prefixlen"], message["index"] = socket.AF_INET, prefix, index
    broadcast = ipaddress.IPv4Interface(f"{address}/{prefix}").network.broadcast_address
    message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address), ("IFA_BROADCAST", str(broadcast))]
    create = NLM_F_CREATE | NLM_F_EXCL
    return NetlinkRequest(RTM_NEWADDR, message, flags=create, ignore=(errno.EEXIST,), what=f"add {address}")


def _up(index: int) -> NetlinkRequest:
    message = _new(ifinfmsg)
    message["index"] = index
    message["flags"] = message["change"] = _IFF_UP
    return NetlinkRequest(RTM_NEWLINK, message, what=f"set up interface {index}")


def _sysctl(name: str, value: str) -> None:
    """Set a per-network-namespace sysctl; ignored if this kernel lacks it (no IPv6)."""
    path = Path("/proc/sys", name)
    if path.exists():
        path.write_text(value, encoding="utf-8")


def _ruleset(bridge: str, subnet: str) -> str:
    return f"""
table ip {_TABLE} {{}}
delete table ip {_TABLE}
table ip {_TABLE} {{
    map bound {{ type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }}
    map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    chain publish {{
        dnat ip to meta l4proto . ip daddr . th dport map @bound
        dnat ip to meta l4proto . th dport map @published
    }}
    chain prerouting {{ type nat hook prerouting priority -100; fib daddr type local jump publish; }}
    chain output {{ type nat hook output priority -100; fib daddr type local jump publish; }}
    chain postrouting {{
        type nat hook postrouting priority 100;
        ip saddr {subnet} oifname != "{bridge}" masquerade
        oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
        ip saddr {subnet} oifname "{bridge}" ct status dnat masquerade
    }}
}}
"""


def _forward(bridge: str, *, jump: bool) -> str:
    """Docker's rules for its bridge, including published ports, in this engine's own chain."""
    return "\n".join(
        (
            "*filter",
            ":FORWARD DROP [0:0]",
            f":{_CHAIN} - [0:0]",
            f"-A {_CHAIN} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
            f"-A {_CHAIN} -i {bridge} -j ACCEPT",
            *((f"-A FORWARD -j {_CHAIN}",) if jump else ()),
            "COMMIT",
            "",
        )
    )


def _element(verb: str, port: PublishedPort, address: str) -> str:
    if port.host_ip == "0.0.0.0":
        name, key = "published", f"{port.protocol} . {port.host_port}"
    else:
        name, key = "bound", f"{port.protocol} . {port.host_ip} . {port.host_port}"
    return f"{verb} element ip {_TABLE} {name} {{ {key} : {address} . {port.container_port} }}\n"
