"""What a simulated host's kernel forwards: the tables that a daemon's effects fill, and the ports of its containers.

The counterpart of `overlay.kernel.forwarding`: it outlives the daemon, and drops unconfirmed entries on request. Owns
only tables, including the neighbour caches of the bridge's interfaces; `lab.sim.walk` decides whether a packet arrives.
"""

from collections.abc import Callable

from msgspec import Struct

from lab.calibration import CALIBRATION, Calibration
from lab.sim.neighbours import Neighbours
from overlay.compiled_policy import CompiledPolicy
from overlay.crypto.secure_peer import SecurePeer, in_tunnel
from overlay.datapath.vxlan import VXLAN_PORT
from overlay.effects import Announce, RemoveForwarding, SetFlood, SetForwarding, SetPolicy, SetSecurePeers, SetSources


class BridgePort(Struct, frozen=True):
    """A container's port on the bridge."""

    container: str
    mac: str
    addresses: tuple[str, ...]
    """Address literals, without prefix length."""
    cidrs: tuple[str, ...]
    """The same with prefix length."""


class Kernel:
    """One host's forwarding. Calls `changed` whenever any part of it changes."""

    def __init__(self, changed: Callable[[], None], model: Calibration = CALIBRATION) -> None:
        self._changed = changed
        self._model = model
        self.remote: dict[str, SetForwarding] = {}
        """MAC -> its location and addresses."""
        self.by_address: dict[str, SetForwarding] = {}
        self.flood: tuple[str, ...] = ()
        self.mtu = 1500
        """The MTU of the bridge and everything on it."""
        self.vxlan_port = VXLAN_PORT
        self.sources: frozenset[str] | None = None
        """Sources whose VXLAN packets are accepted; None: all."""
        self.secure: dict[str, SecurePeer] = {}
        """Address within WireGuard -> the other end."""
        self.own_tunnel = ("", b"")
        """Address and public key of this host's WireGuard; empty without WireGuard."""
        self.policy = CompiledPolicy()
        """Which flows pass to and from containers on the bridge."""
        self.ports: dict[str, BridgePort] = {}
        self.neighbours: dict[str, Neighbours] = {}
        """Container -> the neighbour cache of its `ethwe`."""
        self._unconfirmed: dict[str, None] = {}

    @property
    def macs(self) -> int:
        """Number of remote MACs."""
        return len(self.remote)

    def set_forwarding(self, effect: SetForwarding) -> None:
        """Carry out `effects.SetForwarding`."""
        self._forget(effect.mac)
        self.remote[effect.mac] = effect
        for address in effect.addresses:
            self.by_address[address] = effect
        self._changed()

    def remove_forwarding(self, effect: RemoveForwarding) -> None:
        """Carry out `effects.RemoveForwarding`."""
        self._forget(effect.mac)
        self._changed()

    def announce(self, effect: Announce) -> None:
        """Carry out `effects.Announce`."""
        for address, mac in effect.addresses:
            self._told(address, mac)

    def set_flood(self, effect: SetFlood) -> None:
        """Carry out `effects.SetFlood`."""
        self.flood = effect.remotes
        self._changed()

    def set_sources(self, effect: SetSources) -> None:
        """Carry out `effects.SetSources`."""
        self.sources = frozenset(effect.hosts)
        self._changed()

    def set_policy(self, effect: SetPolicy) -> None:
        """Carry out `effects.SetPolicy`."""
        self.policy = effect.policy
        self._changed()

    def set_secure_peers(self, effect: SetSecurePeers) -> None:
        """Carry out `effects.SetSecurePeers`."""
        self.secure = {peer.address: peer for peer in effect.peers}
        self._changed()

    def now_local(self, mac: str, addresses: tuple[str, ...]) -> None:
        """These belong to a container of this host: remove remote entries for them from an earlier life."""
        literals = [address.partition("/")[0] for address in addresses]
        stale = [mac, *(self.by_address[literal].mac for literal in literals if literal in self.by_address)]
        for each in stale:
            if each in self._unconfirmed:
                self._forget(each)
        self._changed()

    def adopt(self, address: str, key: bytes) -> None:
        """A new daemon starts: entries stay until they are replaced or dropped, and unknown sources are refused.

        WireGuard (its `address` and public `key`; empty: no WireGuard) is recreated without peers.
        """
        self.own_tunnel = (address, key)
        self.secure.clear()
        for mac in [mac for mac, each in self.remote.items() if in_tunnel(each.remote)]:
            self._forget(mac)
        self.flood = tuple(host for host in self.flood if not in_tunnel(host))
        self._unconfirmed = dict.fromkeys(self.remote)
        self.sources = frozenset((*self.flood, *(each.remote for each in self.remote.values() if each.remote)))
        self._changed()

    def drop_unconfirmed(self) -> None:
        """Remove entries of an earlier life that have not been confirmed since."""
        for mac in list(self._unconfirmed):
            self._forget(mac)
        self._changed()

    def clear(self) -> None:
        """Remove all forwarding."""
        self.remote.clear()
        self.by_address.clear()
        self._unconfirmed.clear()
        self.flood = ()
        self.sources = None
        self.secure.clear()
        self.own_tunnel = ("", b"")
        self._changed()

    def plug(self, port: BridgePort) -> None:
        """A container is on the bridge with exactly these addresses, and has announced them."""
        before = self.ports.get(port.container)
        if before is None or before.mac != port.mac:
            self.neighbours[port.container] = Neighbours(port.container, self._model)
        self.ports[port.container] = port
        for address in port.addresses:
            self._told(address, port.mac)
        self._changed()

    def unplug(self, container: str) -> None:
        """A container leaves the bridge."""
        if self.ports.pop(container, None) is not None:
            del self.neighbours[container]
            self._changed()

    def _told(self, address: str, mac: str) -> None:
        """An announcement: every cache with an entry for the address updates it."""
        for cache in self.neighbours.values():
            entry = cache.entries.get(address)
            if entry is not None and entry.mac != mac:
                entry.announce(mac)

    def _forget(self, mac: str) -> None:
        self._unconfirmed.pop(mac, None)
        old = self.remote.pop(mac, None)
        for address in old.addresses if old is not None else ():
            if self.by_address.get(address) is old:
                del self.by_address[address]
