"""The underlay as data: networks, hosts' interfaces in them, and the commands that create both ends of every cable.

Pure: owns names, MAC addresses and the text for `ip -batch` and `bridge -batch`; `fabric.py` runs it. Interface names
in the fabric are `p<host>.<interface>`, in a host `eth<interface>`, bridges `br<network>`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from lab.links import Links
from lab.translation import MASQUERADE, Translation

MTU = 1500


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a host in a network."""

    name: str
    """In the host: eth0, eth1 …"""
    port: str
    """Port in the fabric, to which partitions and queues refer."""
    network: str
    bridge: str
    address: str
    prefix: int
    mac: str


@dataclass(frozen=True, slots=True)
class FabricRouter:
    """Joins networks. `nat`: the network whose hosts it hides behind its addresses in the others, or empty."""

    name: str
    places: tuple[tuple[str, str], ...]
    """(network, address) of each of its interfaces."""
    nat: str = ""
    drop: tuple[str, ...] = ()
    """Protocols that it does not forward."""
    translation: Translation = MASQUERADE


@dataclass(frozen=True)
class Underlay:
    """Networks, hosts and links of a lab."""

    networks: Mapping[str, str]
    """Name -> subnet as a.b.c.d/n."""
    hosts: Mapping[str, Sequence[tuple[str, str]]]
    """Name -> (network, address) of each interface."""
    links: Links = field(default_factory=Links)
    routers: Sequence[FabricRouter] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Network -> the name that users know, if different: the networks of a topology's nodes are parts of one network.
    Then hosts of different nodes are identified by the exit port and the sender's address."""

    @property
    def bridges(self) -> dict[str, str]:
        """Network -> its bridge."""
        return {network: f"br{index}" for index, network in enumerate(self.networks)}

    def interfaces(self, host: str) -> list[Interface]:
        """The interfaces of a host, eth0 first."""
        return self._interfaces(list(self.hosts).index(host), host, self._bridged())

    def all_interfaces(self) -> dict[str, list[Interface]]:
        """Host -> its interfaces, for all hosts."""
        bridged = self._bridged()
        return {host: self._interfaces(number, host, bridged) for number, host in enumerate(self.hosts)}

    def _bridged(self) -> dict[str, tuple[str, int]]:
        """Network -> its bridge and its prefix length."""
        return {name: (bridge, ip_network(self.networks[name]).prefixlen) for name, bridge in self.bridges.items()}

    def _interfaces(self, number: int, host: str, bridged: Mapping[str, tuple[str, int]]) -> list[Interface]:
        return [
            Interface(
                name=f"eth{index}",
                port=f"p{number}.{index}",
                network=network,
                bridge=bridged[network][0],
                address=address,
                prefix=bridged[network][1],
                mac=mac_of(address),
            )
            for index, (network, address) in enumerate(self.hosts[host])
        ]


def mac_of(address: str) -> str:
    """A locally administered unicast MAC that only depends on the address: 02:4c and the four bytes of IPv4."""
    parsed = ip_address(address)
    octets = parsed.packed if isinstance(parsed, IPv4Address) else blake2b(parsed.packed, digest_size=4).digest()
    head = b"\x02\x4c" if isinstance(parsed, IPv4Address) else b"\x02\x6c"
    return (head + octets).hex(":")


def bridge_commands(networks: Mapping[str, str]) -> str:
    """For `ip -batch` in the fabric: one bridge per network, without learning, because all addresses are configured."""
    lines = []
    for index, _ in enumerate(networks):
        lines.append(
            f"link add br{index} address 02:4b:00:00:{index >> 8:02x}:{index & 255:02x} "
            "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        )
        lines.append(f"link set br{index} up")
    return _batch(lines)


def router_commands(underlay: Underlay) -> str:
    """For `ip -batch` in the fabric's namespace, which acts as all routers: their addresses on the bridges."""
    lines = []
    for router in underlay.routers:
        for network, address in router.places:
            prefix = ip_network(underlay.networks[network]).prefixlen
            no_dad = " nodad" if ":" in address else ""
            lines.append(f"address add {address}/{prefix} dev {underlay.bridges[network]}{no_dad}")
    return _batch(lines)


def route_commands(underlay: Underlay, host: str) -> str:
    """For `ip -batch` in a host: the routes over routers to networks that are not hidden from it."""
    own = {network for network, _ in underlay.hosts[host]}
    lines = []
    for router in underlay.routers:
        near = next((address for network, address in router.places if network in own), None)
        for network, address in router.places if near is not None else ():
            if network not in own and network != router.nat and (":" in address) == (":" in str(near)):
                lines.append(f"route replace {underlay.networks[network]} via {near}")
    return _batch(lines)


def cable_commands(interfaces: Sequence[Interface], pid: int) -> str:
    """For `ip -batch` in the fabric: cables from its bridges into the network namespace of a process."""
    lines = []
    for interface in interfaces:
        lines.append(
            f"link add {interface.port} mtu {MTU} numtxqueues 1 numrxqueues 1 type veth "
            f"peer name {interface.name} address {interface.mac} mtu {MTU} numtxqueues 1 numrxqueues 1 netns {pid}"
        )
        lines.append(f"link set {interface.port} master {interface.bridge} up")
    return _batch(lines)


def forwarding_commands(interfaces: Sequence[Interface]) -> str:
    """For `bridge -batch` in the fabric: frames to a host go only to its port, even before it has sent any."""
    return _batch(f"fdb replace {one.mac} dev {one.port} master static" for one in interfaces)


def host_commands(host: str, everyone: Mapping[str, Sequence[Interface]], *, impaired: Sequence[str] = ()) -> str:
    """For `ip -batch` in a host: addresses, and permanent neighbour entries for all others of its networks.

    The kernel's limit on neighbours is shared by all namespaces of the machine, and permanent entries do not count.
    `impaired`: interfaces whose offloads must be off, so that each packet crosses individually.
    """
    lines = ["link set lo up"]
    for own in everyone[host]:
        if own.name in impaired:
            lines.append(f"link set {own.name} gso_max_segs 1")
        lines.append(f"link set {own.name} up")
        no_dad = " nodad" if isinstance(ip_address(own.address), IPv6Address) else ""
        lines.append(f"address add {own.address}/{own.prefix} dev {own.name}{no_dad}")
        lines += [
            f"neighbour replace {other.address} lladdr {other.mac} dev {own.name} nud permanent"
            for peer, interfaces in everyone.items()
            for other in interfaces
            if peer != host and other.network == own.network and _family(other) == _family(own)
        ]
    return _batch(lines)


def neighbour_change(own: Interface, before: str, after: Interface) -> str:
    """Shell commands for a host of the same network when another host's address changes."""
    return (
        f"ip neighbour replace {after.address} lladdr {after.mac} dev {own.name} nud permanent; "
        f"ip neighbour del {before} dev {own.name} 2>/dev/null; "
    )


def neighbour_join(own: Interface, other: Interface) -> str:
    """Shell commands for a host of the same network when another host joins it."""
    return f"ip neighbour replace {other.address} lladdr {other.mac} dev {own.name} nud permanent; "


def address_change(before: str, after: Interface, routes: str) -> str:
    """Commands for the host itself: the old address first, because the kernel removes secondary ones of its subnet with
    it."""
    no_dad = " nodad" if ":" in after.address else ""
    lines = [
        f"address del {before}/{after.prefix} dev {after.name}",
        f"address add {after.address}/{after.prefix} dev {after.name}{no_dad}",
        *routes.splitlines(),
    ]
    return "; ".join(f"ip {line}" for line in lines)


def ports_between(everyone: Mapping[str, Sequence[Interface]], sender: str, receiver: str) -> Iterator[tuple[str, str]]:
    """(port of the sender, port of the receiver) for each network that they share."""
    for source in everyone[sender]:
        for target in everyone[receiver]:
            if source.network == target.network:
                yield source.port, target.port


def _family(interface: Interface) -> int:
    return ip_address(interface.address).version


def _batch(lines: "Iterator[str] | list[str]") -> str:
    return "".join(line + "\n" for line in lines)
