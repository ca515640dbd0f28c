"""A routed topology as a fabric: routers and cables as text for `ip`. Pure; `fabric.py` runs it.

A router is a namespace connected to the fabric like a host, a cable is a network with two routers, and the hosts of one
node are a network with their router. So the mechanisms that impair and cut links between hosts also work for cables.
Hosts keep their addresses, which are all in one subnet: each host has a route to each host of another node over its
router, and each router one to each host, by shortest paths. Routers have link-local addresses (RFC 3927), which nothing
else here uses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

from lab.fabric.plan import Underlay
from lab.links import Link, Links
from lab.links.topology import PathFinder, RoutedTopology

__all__ = ["ROUTER", "RoutedPlan", "refusal", "router_name"]

ROUTER = "router:"
"""Prefix of a node's name where the fabric expects hosts' names; no host has such a name."""
_FIRST = int(IPv4Address("169.254.0.2"))


def router_name(node: str) -> str:
    """The name of a node's router in the fabric."""
    return ROUTER + node


class RoutedPlan:
    """The networks, routers and routes of a topology. Parallel cables are one: only the first is used."""

    def __init__(self, topology: RoutedTopology, underlay: Underlay) -> None:
        """`underlay`: the hosts in their one network."""
        self.topology = topology
        (self._network, subnet), *_ = underlay.networks.items()
        self._addresses = {host: places[0][1] for host, places in underlay.hosts.items()}
        self._free = _FIRST
        networks: dict[str, str] = {}
        places: dict[str, list[tuple[str, str]]] = {router_name(node): [] for node in topology.nodes}
        hosts: dict[str, list[tuple[str, str]]] = {}
        self._near: dict[str, str] = {}
        """Node -> its router's address for its hosts."""
        self._hops: dict[tuple[str, str], str] = {}
        """(node, neighbour) -> the neighbour's address on the cable."""
        for host, address in self._addresses.items():
            node = topology.places[host]
            network = f"at {node}"
            if network not in networks:
                networks[network] = subnet
                self._near[node] = self._address()
                places[router_name(node)].append((network, self._near[node]))
            hosts[host] = [(network, address)]
        links: dict[tuple[str, str], Link] = {}
        for edge in topology.edges:
            one, other = sorted((edge.sender, edge.receiver), key=topology.nodes.index)
            if (one, other) not in self._hops:
                network = f"cable {one} {other}"
                self._free += self._free % 2
                ends = self._address(), self._address()
                networks[network] = f"{ends[0]}/31"
                self._hops[one, other], self._hops[other, one] = ends[1], ends[0]
                places[router_name(one)].append((network, ends[0]))
                places[router_name(other)].append((network, ends[1]))
            links.setdefault((router_name(edge.sender), router_name(edge.receiver)), edge.link)
        pairs = {**underlay.links.pairs, **links}
        aliases = {network: self._network for network in networks if network.startswith("at ")}
        self.underlay = replace(
            underlay, networks=networks, hosts={**hosts, **places}, links=Links(pairs=pairs), aliases=aliases
        )
        self.missing = [
            (router_name(one), router_name(other))
            for one, other in self._hops
            if (router_name(one), router_name(other)) not in links
        ]
        """Directions that a cable lacks: no packet may pass there."""

    def _address(self) -> str:
        self._free += 1
        return str(IPv4Address(self._free - 1))

    def host_routes(self, host: str) -> str:
        """For `ip -batch` in a host: to each host of another node over its router."""
        node = self.topology.places[host]
        return "".join(
            f"route replace {address}/32 via {self._near[node]} dev eth0 onlink\n"
            for other, address in self._addresses.items()
            if self.topology.places[other] != node
        )

    def router_routes(self, node: str, finder: PathFinder, devices: Mapping[str, str]) -> dict[str, str]:
        """Address of a host -> `via …` of a router, by these routes. `devices`: network -> the router's interface."""
        found: dict[str, str] = {}
        for host, address in self._addresses.items():
            place = self.topology.places[host]
            if place == node:
                found[address] = f"dev {devices[f'at {node}']}"
            elif (number := finder.towards(place).get(node)) is not None:
                receiver = self.topology.edges[number].receiver
                found[address] = f"via {self._hops[node, receiver]}"
        return found


def refusal(topology: RoutedTopology, addresses: Sequence[str], free: int) -> str:
    """Why this machine cannot run it; empty when it can. `free`: bytes of memory."""
    if any(ip_address(address).version != 4 for address in addresses):
        return "routers of real hosts know IPv4 only so far; use sim, or addresses of IPv4"
    routers, cables = len(topology.nodes), len({frozenset((edge.sender, edge.receiver)) for edge in topology.edges})
    wanted = routers * _PER_ROUTER + cables * _PER_CABLE
    if routers > _ROUTERS or wanted > free // 2:
        return (
            f"{routers} routers and {cables} cables would take about {wanted / 2**20:.0f} MiB of memory and "
            f"{routers} network namespaces; this machine has {free / 2**20:.0f} MiB free, of which half may be used, "
            f"and the lab makes at most {_ROUTERS} routers; use sim"
        )
    return ""


_ROUTERS = 200
_PER_ROUTER = 600 << 10
"""Bytes of a network namespace (100 kB of kernel memory, measured with fifty on Linux 6.18) and of its holder."""
_PER_CABLE = 220 << 10
"""Bytes of a bridge and two veth pairs, measured with 88."""
