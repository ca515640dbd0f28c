"""How a packet of one container gets to another: through each host's real forwarding decisions, and the cuts between.

A walk is remembered until some kernel's tables, some container or the cut changes; one through the userspace tunnel is
walked anew each time, for the daemons carry it. Knows kernels and the network; of daemons only which way they say.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

from msgspec import Struct

from lab.sim.kernel import Kernel
from lab.sim.network import Network
from overlay.datapath.wireguard import SecurePeer


class Arrival(Struct, frozen=True):
    """Where a packet ends: the container, and the hosts that it went over."""

    container: str
    hosts: tuple[str, ...]


Tunnel = Callable[[str, str], tuple[str, ...] | None]
"""(host, MAC): the hosts whose daemons carry a frame for it, the first and the last included; None if one does not."""


class Walks:
    """All walks of a lab. `alive(host, container)` tells whether a container's network exists."""

    def __init__(
        self,
        network: Network,
        kernels: Mapping[str, Kernel],
        alive: Callable[[str, str], bool],
        tunnel: Tunnel = lambda host, mac: None,
    ) -> None:
        self._tunnel = tunnel
        self.tunnelled = False
        """The walk that was asked for last goes through the tunnel, or tried to."""
        self._network = network
        self._kernels = kernels
        self._alive = alive
        self._known: dict[tuple[str, str, str], Arrival | None] = {}
        self._cuts = 0
        self.computed = 0
        """Walks that were really walked."""

    def forget(self) -> None:
        """Something has changed."""
        self._known.clear()

    def round_trip(self, host: str, container: str, address: str) -> Arrival | None:
        """Where a packet to `address` arrives, if the answer comes back too; None if it does not."""
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

    def _both_ways(self, host: str, container: str, address: str) -> Arrival | None:
        port = self._kernels[host].ports.get(container)
        if port is None or not self._alive(host, container):
            return None
        there = self._one_way(host, address)
        if there is None:
            return None
        for own in port.addresses:
            back = self._one_way(there.hosts[-1], own)
            if back is not None and (back.hosts[-1], back.container) == (host, container):
                return there
        return None

    def _one_way(self, host: str, address: str) -> Arrival | None:
        local = self._port_of(host, address)
        if local is not None:
            return Arrival(local, (host,))
        kernel = self._kernels[host]
        known = kernel.by_address.get(address)
        if known is not None and not known.remote:
            return self._through(host, address, known.mac)
        # Without an entry the question for the address is flooded, and whoever has it answers.
        for remote in (known.remote,) if known is not None else kernel.flood:
            secure = kernel.secure.get(remote)
            target = self._network.site_at(secure.endpoint.host if secure is not None else remote)
            if target is None or not target.powered or not self._network.passes(host, target.name):
                continue
            if not self._lets_in(self._kernels[target.name], host, secure):
                continue
            found = self._port_of(target.name, address)
            if found is not None and (known is None or self._kernels[target.name].ports[found].mac == known.mac):
                return Arrival(found, (host, target.name))
        return None

    def _lets_in(self, target: Kernel, sender: str, secure: SecurePeer | None) -> bool:
        """By plain VXLAN from a source that it takes; within WireGuard if each end knows the other's key of now."""
        if secure is not None:
            address, key = self._kernels[sender].own_tunnel
            known = target.secure.get(address)
            return known is not None and known.key == key and target.own_tunnel == (secure.address, secure.key)
        return target.sources is None or not target.sources.isdisjoint(self._network.addresses(sender))

    def _through(self, host: str, address: str, mac: str) -> Arrival | None:
        """In the tunnel, over the daemons of other hosts if need be."""
        self.tunnelled = True
        hosts = self._tunnel(host, mac)
        if hosts is None or not all(self._network.passes(one, other) for one, other in pairwise(hosts)):
            return None
        found = self._port_of(hosts[-1], address)
        if found is None or self._kernels[hosts[-1]].ports[found].mac != mac:
            return None
        return Arrival(found, hosts)

    def _port_of(self, host: str, address: str) -> str | None:
        for port in self._kernels[host].ports.values():
            if address in port.addresses and self._alive(host, port.container):
                return port.container
        return None
