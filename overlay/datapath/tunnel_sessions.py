"""The sessions of the userspace tunnel: with each neighbour, and those that rest because their connection was lost.

A connection counts as lost after some seconds of silence, but mostly the network was away and comes back, and then a
new connection takes a moment. The kernel's path to a lost peer stays in use meanwhile (`endpoints`); so does a session
here, with its keys and its window, so that encrypted traffic does not wait longer than traffic in clear. Owns how long
a session rests. Must not know routes or packets.
"""

from collections.abc import Collection, Iterator
from typing import Final

from overlay.config import PeerName
from overlay.datapath.tunnel_session import TunnelSession
from overlay.inputs import Neighbour

MAX_RESTING: Final = 256
"""Sessions that rest at most; the one lost first ends."""


class TunnelSessions:
    """All sessions of one peer. A peer has at most one that lives and one that rests, and never both."""

    def __init__(self, hold: int) -> None:
        """`hold`: how long a session rests, in nanoseconds."""
        self._hold = hold
        self._live: dict[PeerName, TunnelSession] = {}
        self._connections: dict[PeerName, int] = {}
        self._resting: dict[PeerName, tuple[TunnelSession, int]] = {}
        """With the time of the loss, oldest first."""
        self._leaving: set[PeerName] = set()
        """Neighbours that have said farewell: their sessions will not rest."""
        self._tags: dict[bytes, TunnelSession] = {}
        self.by_tag = self._tags.get
        """The session, living or resting, to which a packet with this tag belongs; the dict's own, for speed."""

    def set_neighbours(self, neighbours: tuple[Neighbour, ...], now: int) -> None:
        """A session lives as long as its connection, and rests when no other connection takes its place."""
        wanted = {neighbour.peer: neighbour for neighbour in neighbours}
        for peer, session in list(self._live.items()):
            if peer in wanted and wanted[peer].connection == self._connections[peer]:
                continue
            del self._live[peer], self._connections[peer]
            if peer in wanted or peer in self._leaving:
                self._end(session)
            else:
                self._resting[peer] = session, now
        self._leaving &= self._live.keys()
        for peer, neighbour in wanted.items():
            self._end_rest(peer)
            if peer not in self._live:
                session = self._live[peer] = TunnelSession(neighbour, now)
                self._connections[peer] = neighbour.connection
                self._tags[session.tag] = session
        while len(self._resting) > MAX_RESTING:
            self._end_rest(next(iter(self._resting)))

    def drop(self, peer: PeerName) -> None:
        """A peer has said farewell, or is not known any more: its session does not rest, now or later."""
        self._end_rest(peer)
        if peer in self._live:
            self._leaving.add(peer)

    def expire(self, now: int) -> None:
        """End the sessions that rest for longer than the hold."""
        for peer, (_, since) in list(self._resting.items()):
            if now - since < self._hold:
                break
            self._end_rest(peer)

    def _end_rest(self, peer: PeerName) -> None:
        if peer in self._resting:
            session, _ = self._resting.pop(peer)
            self._end(session)

    def _end(self, session: TunnelSession) -> None:
        if self._tags.get(session.tag) is session:
            del self._tags[session.tag]

    # --- queries --------------------------------------------------------------------------------------------------

    def get(self, peer: PeerName) -> TunnelSession | None:
        """The session with a neighbour."""
        return self._live.get(peer)

    def resting(self, peer: PeerName) -> TunnelSession | None:
        """The session that rests, of a peer that was lost."""
        found = self._resting.get(peer)
        return found[0] if found is not None else None

    def of(self, peer: PeerName) -> TunnelSession | None:
        """Either."""
        return self._live.get(peer) or self.resting(peer)

    @property
    def live(self) -> Collection[TunnelSession]:
        """The sessions with all neighbours."""
        return self._live.values()

    @property
    def lost(self) -> Iterator[TunnelSession]:
        """The sessions that rest, the one lost first to begin with."""
        return (session for session, _ in self._resting.values())
