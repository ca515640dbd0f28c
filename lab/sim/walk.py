"""Follows a packet from one container to another: each host's real forwarding decisions, and the cuts between hosts.

A walk is cached until a kernel's tables, a container or the cuts change. A walk through the userspace tunnel is not
cached, because daemons forward it. A walk says where a packet would arrive if the sender resolved the MAC now; `heard`
says where it arrives with the neighbour caches as they are, which change with time. Knows kernels and the network; of
daemons only the path that they choose.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_interface
from itertools import pairwise

from msgspec import Struct

from lab.sim.kernel import Kernel
from lab.sim.network import SimNetwork
from overlay.config import Address
from overlay.crypto.secure_peer import WIREGUARD_PORT, SecurePeer
from overlay.datapath.sleeve import HEADER
from overlay.datapath.vxlan import (
    INNER_ETHERNET,
    IPV4_HEADER,
    IPV6_HEADER,
    TUNNEL_TAG,
    UDP_HEADER,
    VXLAN_HEADER,
    WIREGUARD_HEADER,
)
from overlay.effects import SetForwarding

__all__ = ["Arrival", "Carrier", "Hop", "RoundTrip", "Tunnel", "Walks"]


class Carrier(Struct, frozen=True):
    """A host whose daemon forwards a frame: the destination, and the maximum bytes of UDP payload."""

    host: str
    port: int
    next: Address
    size: int


class Hop(Struct, frozen=True):
    """One hop between hosts: the overhead of the underlay's packets, and their maximum size."""

    sender: str
    receiver: str
    overhead: int
    largest: int


class Arrival(Struct, frozen=True):
    """Where a packet arrives: the host, the container, and the path."""

    host: str
    container: str
    hops: tuple[Hop, ...]


class RoundTrip(Struct, frozen=True):
    """The forward path, and the path of the reply."""

    there: Arrival
    back: Arrival
    own: str
    """The address to which the reply goes."""
    mac: str
    """The MAC of the container there."""
    own_mac: str
    asked: bool
    """The ARP request itself reached it, because the bridge does not answer in its place; so the other side learns our
    MAC."""


Tunnel = Callable[[str, str], tuple[Carrier, ...] | None]
"""(host, MAC): hosts whose daemons forward a frame for it, both ends included; None if one does not."""


class Walks:
    """All walks of a lab. `alive(host, container)` tells whether a container's network exists."""

    def __init__(
        self,
        network: SimNetwork,
        kernels: Mapping[str, Kernel],
        alive: Callable[[str, str], bool],
        tunnel: Tunnel = lambda host, mac: None,
        host_port: str = "",
    ) -> None:
        """`host_port` is the name of the host's own port."""
        self._host_port = host_port
        self._tunnel = tunnel
        self.tunnelled = False
        """Whether the last walk goes through the tunnel, or tried to."""
        self._network = network
        self._kernels = kernels
        self._alive = alive
        self._known: dict[tuple[str, str, str], RoundTrip | None] = {}
        self._cuts = 0
        self.computed = 0
        """Number of walks that were not answered from the cache."""

    def forget(self) -> None:
        """Invalidate the cache."""
        self._known.clear()

    def round_trip(self, host: str, container: str, address: str) -> RoundTrip | None:
        """Where a packet to `address` arrives, if the reply arrives too; else None."""
        if self._cuts != self._network.cuts:
            self._cuts = self._network.cuts
            self._known.clear()
        key = (host, container, address)
        self.tunnelled = False
        if key not in self._known:
            self.computed += 1
            found = self._both_ways(host, container, address)
            if self.tunnelled:
                return found
            self._known[key] = found
        return self._known[key]

    def _both_ways(self, host: str, container: str, address: str) -> RoundTrip | None:
        port = self._kernels[host].ports.get(container)
        if port is None or not self._alive(host, container):
            return None
        there = self._one_way(host, address)
        if there is None:
            return None
        theirs = self._kernels[there.host].ports[there.container]
        for own in port.cidrs:
            # Each side has overlay routes only to its own subnets.
            literal = own.partition("/")[0]
            if not (_joins(own, address) and any(_joins(cidr, literal) for cidr in theirs.cidrs)):
                continue
            back = self._one_way(there.host, literal)
            if back is not None and (back.host, back.container) == (host, container):
                asked = there.host == host or address not in self._kernels[host].by_address
                return RoundTrip(there, back, literal, theirs.mac, port.mac, asked)
        return None

    # --- neighbour caches -------------------------------------------------------------------------------------------

    def heard(self, host: str, container: str, address: str, trip: RoundTrip | None) -> RoundTrip | None:
        """Where a packet really arrives, if the reply arrives too. `trip` is the current result of `round_trip`.

        The two differ while one side sends to an outdated MAC: until the new one is announced, or the entry expires
        (`lab.sim.neighbours`).
        """
        now = self._network.scheduler.now
        if trip is None:
            cache = self._kernels[host].neighbours.get(container)
            mac = self._used(host, container, address, now) if cache is not None and address in cache.entries else ""
            return self._astray(host, container, address, mac) if mac else None
        if not self._sent(host, container, address, trip.mac, now):
            mac = self._kernels[host].neighbours[container].entries[address].mac
            return self._astray(host, container, address, mac)
        there, found = trip.there.host, trip.there.container
        theirs = self._kernels[there].neighbours[found]
        if trip.asked and trip.own not in theirs.entries:
            theirs.learn(trip.own, trip.own_mac, now)
        return trip if self._sent(there, found, trip.own, trip.own_mac, now) else None

    def _sent(self, host: str, container: str, address: str, mac: str, now: int) -> bool:
        """Whether a packet for `address` is sent to the correct `mac`; if so, the reply confirms the entry."""
        cache = self._kernels[host].neighbours[container]
        entry = cache.entries.get(address)
        if entry is None:
            cache.learn(address, mac, now)
            return True
        if entry.mac == mac:
            entry.confirm(now)
            return True
        used = self._used(host, container, address, now)
        if used and used != mac:
            return False
        cache.learn(address, mac, now)
        return True

    def _used(self, host: str, container: str, address: str, now: int) -> str:
        known = self._kernels[host].by_address.get(address)
        cache = self._kernels[host].neighbours[container]
        if container == self._host_port and known is not None:
            cache.learn(address, known.mac, now)  # a permanent entry of the bridge, which is the host's own cache
        return cache.used(address, now, known.mac if known is not None else "")

    def _astray(self, host: str, container: str, address: str, mac: str) -> RoundTrip | None:
        """A packet for `address` to an outdated MAC: some container may still have that MAC."""
        there = self._to(host, address, mac)
        if there is None:
            return None
        own = self._kernels[host].ports[container]
        for literal in own.addresses:
            back = self._one_way(there.host, literal)
            if back is not None and (back.host, back.container) == (host, container):
                return RoundTrip(there, back, literal, mac, own.mac, False)
        return None

    def _to(self, host: str, address: str, mac: str) -> Arrival | None:
        kernel = self._kernels[host]
        for port in kernel.ports.values():
            if port.mac == mac:
                found = address in port.addresses and self._alive(host, port.container)
                return Arrival(host, port.container, ()) if found else None
        known = kernel.remote.get(mac)
        return self._forwarded(host, address, known) if known is not None else None

    # --- one way ------------------------------------------------------------------------------------------------------

    def _one_way(self, host: str, address: str) -> Arrival | None:
        local = self._port_of(host, address)
        if local is not None:
            return Arrival(host, local, ())
        return self._forwarded(host, address, self._kernels[host].by_address.get(address))

    def _forwarded(self, host: str, address: str, known: SetForwarding | None) -> Arrival | None:
        kernel = self._kernels[host]
        if known is not None and not known.remote:
            return self._through(host, address, known.mac)
        # Without an entry the request for the address is flooded, and its owner answers.
        for remote in (known.remote,) if known is not None else kernel.flood:
            secure = kernel.secure.get(remote)
            if secure is not None:
                target = self._network.reached(host, "udp", secure.endpoint, WIREGUARD_PORT)
            else:
                target = self._network.reached(host, "udp", Address(remote, kernel.vxlan_port))
            if target is None or target.name == host:
                continue
            if not self._lets_in(self._kernels[target.name], host, secure):
                continue
            found = self._port_of(target.name, address)
            if found is not None and (known is None or self._kernels[target.name].ports[found].mac == known.mac):
                outer = _headers(secure.endpoint.host) + WIREGUARD_HEADER + TUNNEL_TAG if secure is not None else 0
                overhead = outer + _headers(remote) + VXLAN_HEADER + INNER_ETHERNET
                return Arrival(target.name, found, (Hop(host, target.name, overhead, kernel.mtu + overhead),))
        return None

    def _lets_in(self, target: Kernel, sender: str, secure: SecurePeer | None) -> bool:
        """By plain VXLAN from an accepted source; within WireGuard if each end has the other's current key."""
        if secure is not None:
            address, key = self._kernels[sender].own_tunnel
            known = target.secure.get(address)
            return known is not None and known.key == key and target.own_tunnel == (secure.address, secure.key)
        return target.sources is None or not target.sources.isdisjoint(self._network.addresses(sender))

    def _through(self, host: str, address: str, mac: str) -> Arrival | None:
        """Through the tunnel, over the daemons of other hosts if needed."""
        self.tunnelled = True
        carriers = self._tunnel(host, mac)
        if carriers is None:
            return None
        hops: list[Hop] = []
        for one, other in pairwise(carriers):
            target = self._network.reached(one.host, "udp", one.next, one.port)
            if target is None or target.name != other.host:
                return None
            headers = _headers(one.next.host)
            hops.append(Hop(one.host, other.host, headers + HEADER + INNER_ETHERNET, one.size + headers))
        last = carriers[-1].host
        found = self._port_of(last, address)
        if found is None or self._kernels[last].ports[found].mac != mac:
            return None
        return Arrival(last, found, tuple(hops))

    def _port_of(self, host: str, address: str) -> str | None:
        for port in self._kernels[host].ports.values():
            if address in port.addresses and self._alive(host, port.container):
                return port.container
        return None


@lru_cache(maxsize=65536)
def _joins(cidr: str, address: str) -> bool:
    """Whether an address is in the subnet of an interface."""
    return ip_address(address) in ip_interface(cidr).network


def _headers(remote: str) -> int:
    """Bytes of the UDP and IP headers."""
    return UDP_HEADER + (IPV6_HEADER if ":" in remote else IPV4_HEADER)
