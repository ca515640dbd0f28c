"""Which peers to look for and where: peers known by gossip, and peers that send beacons. Does not dial."""

from overlay.config import Address, Config, PeerName
from overlay.effects import Effect, SendDatagram
from overlay.env import Random
from overlay.mesh.admission import Admission
from overlay.mesh.beacons import Beacons
from overlay.mesh.connections import Connections
from overlay.mesh.dialler import Dialler
from overlay.mesh.memory import MAX_REMEMBERED
from overlay.mesh.routes import Routes
from overlay.mesh.topology import Topology
from overlay.mesh.trust import Trust
from overlay.wire.envelopes import Beacon


class Discovery:
    """Finds other peers and lets them find this one."""

    def __init__(
        self, config: Config, topology: Topology, routes: Routes, connections: Connections, dialler: Dialler,
        beacons: Beacons, trust: Trust, admission: Admission, rng: Random,
    ) -> None:  # fmt: skip
        self._config = config
        self._topology = topology
        self._routes = routes
        self._connections = connections
        self._dialler = dialler
        self._beacons = beacons
        self._trust = trust
        self._admission = admission
        self._rng = rng

    def seek(self, now: int) -> None:
        """Add dial targets for peers known by gossip, as many as there is room for."""
        if not self._config.discovery:
            return
        known = self._topology.entries
        room = self._admission.room() - sum(
            not target.explicit and (not target.peer or target.peer in known)
            for target in self._dialler.targets.values()
        )
        if room <= 0:
            return
        aimed, own = self._dialler.aimed(), self._config.name
        peers = [
            name
            for name, entry in sorted(known.items())
            if name not in self._dialler.connected
            and (name not in aimed or self._has_moved(name))
            and not entry.gone
            and name != own
        ]
        for peer in peers if len(peers) <= room else self._rng.sample(peers, max(room, 0)):
            addresses = self._topology.addresses(peer)
            if addresses:
                self._dialler.discover(peer, addresses[0], now)

    def _has_moved(self, peer: PeerName) -> bool:
        """Whether the neighbours of `peer` report addresses for it, and none of them is a target here."""
        targets, reported = self._dialler.targets, False
        for text in self._topology.reported(peer):
            for address in Address.parse_all((text,)):
                if address in targets:  # mostly the first one
                    return False
                reported = True
        return reported

    def found(self) -> dict[PeerName, Address]:
        """Addresses of reachable peers to remember: those of neighbours, then those that neighbours report."""
        found = {peer: connection.control for peer, connection in sorted(self._connections.established.items())}
        for peer in self._routes.reachable:
            if len(found) >= MAX_REMEMBERED:
                break
            if peer != self._config.name and peer not in found:
                found.update((peer, address) for address in self._topology.addresses(peer)[:1])
        return found

    def beacon(self, peer: PeerName, answer: bool = False) -> Beacon:
        """The beacon with which this peer calls `peer`."""
        own = Beacon(self._config.name, self._topology.uid, self._config.port, answer)
        return self._trust.seal(own, peer)

    def called(self, beacon: Beacon, source: Address, now: int) -> list[Effect]:
        """Handle a beacon: a peer that considers us lost can reach us. Dial it, or let it dial us.

        Of two peers that know each other the lower name dials and the other replies, so a heal costs one dial per pair.
        """
        peer = beacon.name
        effects: list[Effect] = []
        address = Address(source.host, beacon.port)
        genuine = self._trust.genuine(beacon)
        if beacon.mac and not genuine:
            return []
        for connection in self._connections.between(peer, address):
            if not genuine:  # anybody may have sent it
                return []
            same = not connection.peer or beacon.uid == connection.uid
            if same and not self._connections.silent(connection, now):
                return []
            effects += self._connections.broken(connection, "the other side has lost it", now)
        if self._admission.room(peer) <= 0:
            return effects
        known = self._dialler.explicit_at(address, peer) or (
            self._config.discovery and (self._beacons.calls(peer) or peer in self._topology.entries)
        )
        if known and (beacon.answer or self._config.name < peer):
            return effects + self._dialler.urge(address, peer, now)
        if known:
            effects += self._dialler.urge(address, peer, now, delay=self._config.tuning.dial_urge_pause)
        if not beacon.answer:
            effects.append(SendDatagram(source, self.beacon(peer, answer=True)))
        return effects
