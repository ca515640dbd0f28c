"""Decides which peers get a connection when connections are limited. Does not make or end them; `Connections` does."""

from typing import Final

from overlay.config import Address, Config, PeerName
from overlay.effects import Effect
from overlay.env import Random
from overlay.mesh.connections import Connection, Connections
from overlay.mesh.dialler import Dialler
from overlay.mesh.routes import Routes
from overlay.mesh.topology import Topology
from overlay.wire.envelopes import Goodbye, Reason

ELSEWHERE: Final = 3
"""Number of addresses named to a peer that is refused because the limit is reached."""


class Admission:
    """The connection slots of one peer. A quarter of them is reserved for peers that are not reachable yet."""

    def __init__(
        self,
        config: Config,
        topology: Topology,
        routes: Routes,
        connections: Connections,
        dialler: Dialler,
        rng: Random,
    ) -> None:
        self._config = config
        self._topology = topology
        self._routes = routes
        self._connections = connections
        self._dialler = dialler
        self._rng = rng

    def room(self, peer: PeerName = "") -> int:
        """How many more connections may be made to `peer` ("": to a peer that is already reachable)."""
        limit = self._config.conn_limit
        if not peer or peer in self._routes.tree:
            limit = max(1, limit * 3 // 4)
        return limit - sum(other.peer not in ("", peer) for other in self._connections.all.values())

    def admit(self, connection: Connection, now: int) -> tuple[Goodbye | None, list[Effect]]:
        """Return the `Goodbye` for the peer of `connection` if there is no room for it; None: it is admitted.

        When all slots are taken, a stranger is referred to peers with free slots. If there are none, it replaces a
        neighbour that stays reachable without its link, because a connected mesh matters more than speed.
        """
        target = self._dialler.targets.get(connection.dialled) if connection.dialled is not None else None
        if (target is not None and target.explicit) or self.room(connection.peer) > 0:
            return None, []
        links = {peer: len(self._topology.established(peer)) for peer in self._routes.reachable}
        roomy = sorted((count, peer) for peer, count in links.items() if count < self._config.conn_limit)
        full = Goodbye(Reason.FULL, f"{self._config.nickname} has all the connections it may have")
        elsewhere = self._some([peer for _, peer in roomy[: 3 * ELSEWHERE]])
        if elsewhere or connection.peer in self._routes.tree:
            return Goodbye(full.reason, full.text, tuple(map(str, elsewhere))), []
        established = self._connections.established
        for _, peer in sorted(((links.get(peer, 0), peer) for peer in established), reverse=True):
            if self._routes.reaches_without_link(peer):
                return None, self._connections.end(established[peer], Reason.FULL, full.text, now)
        return full, []

    def _some(self, peers: list[PeerName]) -> list[Address]:
        """The addresses of a few of these peers, chosen at random."""
        chosen = self._rng.sample(peers, min(ELSEWHERE, len(peers)))
        return [address for peer in chosen for address in self._topology.addresses(peer)[:1]]
