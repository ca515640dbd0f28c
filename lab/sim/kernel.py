"""What a simulated host's kernel forwards: the tables that a daemon's effects fill, and the ports of its containers.

The counterpart of `overlay.kernel.forwarding`: it outlives the daemon, and what nobody has confirmed since is dropped
when told. Owns tables only, the neighbour caches of what is on the bridge among them; whether a packet gets through is
for `lab.sim.walk` to say.
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
    """A container's place on the bridge."""

    container: str
    mac: str
    addresses: tuple[str, ...]
    """Literals, without prefix length."""
    cidrs: tuple[str, ...]
    """The same with it."""


class Kernel:
    """One host's forwarding. `changed` is called whenever anything of it changes."""

    def __init__(self, changed: Callable[[], None], model: Calibration = CALIBRATION) -> None:
        self._changed = changed
        self._model = model
        self.remote: dict[str, SetForwarding] = {}
        """MAC to where it is and which addresses it has."""
        self.by_address: dict[str, SetForwarding] = {}
        self.flood: tuple[str, ...] = ()
        self.mtu = 1500
        """Of the bridge and everything on it."""
        self.vxlan_port = VXLAN_PORT
        self.sources: frozenset[str] | None = None
        """Whose VXLAN packets are taken; None: everybody's."""
        self.secure: dict[str, SecurePeer] = {}
        """Address within WireGuard to the other end."""
        self.own_tunnel = ("", b"")
        """Address and public key of this host's WireGuard; empty without."""
        self.policy = CompiledPolicy()
        """Which flows pass to and from what is on the bridge."""
        self.ports: dict[str, BridgePort] = {}
        self.neighbours: dict[str, Neighbours] = {}
        """By container: what its `ethwe` remembers of MACs."""
        self._unconfirmed: dict[str, None] = {}

    @property
    def macs(self) -> int:
        """How many remote MACs there are."""
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
        """These are of a container of this host: what an earlier life knew of them elsewhere is void."""
        literals = [address.partition("/")[0] for address in addresses]
        stale = [mac, *(self.by_address[literal].mac for literal in literals if literal in self.by_address)]
        for each in stale:
            if each in self._unconfirmed:
                self._forget(each)
        self._changed()

    def adopt(self, address: str, key: bytes) -> None:
        """A new daemon starts: what is there stays until it is replaced or dropped, and no stranger gets in.

        But WireGuard (its `address` and public `key`; empty: none) is made again, and leads nowhere yet.
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
        """Forget what an earlier life left behind and nobody has confirmed since."""
        for mac in list(self._unconfirmed):
            self._forget(mac)
        self._changed()

    def clear(self) -> None:
        """Forward nothing any more."""
        self.remote.clear()
        self.by_address.clear()
        self._unconfirmed.clear()
        self.flood = ()
        self.sources = None
        self.secure.clear()
        self.own_tunnel = ("", b"")
        self._changed()

    def plug(self, port: BridgePort) -> None:
        """A container is on the bridge, with exactly these addresses, and has announced them."""
        before = self.ports.get(port.container)
        if before is None or before.mac != port.mac:
            self.neighbours[port.container] = Neighbours(port.container, self._model)
        self.ports[port.container] = port
        for address in port.addresses:
            self._told(address, port.mac)
        self._changed()

    def unplug(self, container: str) -> None:
        """It is not any more."""
        if self.ports.pop(container, None) is not None:
            del self.neighbours[container]
            self._changed()

    def _told(self, address: str, mac: str) -> None:
        """An announcement: whoever has an entry for the address takes it over."""
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
