"""Which connections still live: heartbeats over UDP, over TCP where UDP does not pass. Knows nothing of peers lost.

Whatever is heard of a connection is a sign of life, on TCP or in a datagram. Each beat says when the sender's next
one comes at the latest, and whether it hears ours: a peer with many connections beats each of them more rarely, and
its neighbours wait accordingly.
"""

from typing import Final

from overlay.config import Address, Config, PeerName
from overlay.effects import Effect, SendDatagram, SendTcp
from overlay.env import SECOND, Random
from overlay.mesh.connections import Connection
from overlay.mesh.envelopes import Beat, StreamBeat
from overlay.mesh.timers import Timers

MAX_INTERVAL: Final = 60 * SECOND
"""More is not believed of a sender: its connection would never be found dead."""


class Liveness:
    """Beats the established connections and tells which have fallen silent."""

    def __init__(self, config: Config, rng: Random) -> None:
        self._name: PeerName = config.name
        self._beat_interval = config.beat_interval
        self._budget = config.beat_budget
        self._losses = config.beat_losses
        self._rng = rng
        self._connections: dict[int, Connection] = {}
        self._beats: Timers[int] = Timers()
        self._silences: Timers[int] = Timers()

    @property
    def interval(self) -> int:
        """Nanoseconds between this peer's beats on one connection."""
        return max(self._beat_interval, len(self._connections) * SECOND // self._budget)

    def add(self, connection: Connection, now: int) -> None:
        """A connection is established."""
        connection.heard_at = connection.heard_udp_at = now
        self._connections[connection.conn] = connection
        self._beats.set(connection.conn, now + self._rng.randrange(self._beat_interval))
        self._silences.set(connection.conn, self._silent_at(connection))

    def remove(self, connection: Connection) -> None:
        """It is gone."""
        del self._connections[connection.conn]
        self._beats.cancel(connection.conn)
        self._silences.cancel(connection.conn)

    def heard_beat(self, connection: Connection, beat: Beat, source: Address, now: int) -> None:
        """A datagram has come on this connection's behalf, from `source`."""
        if beat.connection != connection.id:
            return
        connection.heard_udp_at = now
        connection.udp_address = source
        self._heard(connection, beat.interval, beat.hears, now)

    def heard_stream_beat(self, connection: Connection, beat: StreamBeat, now: int) -> None:
        """A heartbeat has come on TCP."""
        self._heard(connection, beat.interval, beat.hears, now)

    def wake(self, now: int) -> tuple[list[Effect], list[Connection]]:
        """The beats that are due, and the connections that have been silent for too long."""
        effects: list[Effect] = []
        while (conn := self._beats.pop(now)) is not None:
            effects += self._beat(self._connections[conn], now)
        silent = []
        while (conn := self._silences.pop(now)) is not None:
            connection = self._connections[conn]
            silent_at = self._silent_at(connection)
            if silent_at <= now:
                silent.append(connection)
            else:
                self._silences.set(conn, silent_at)
        return effects, silent

    def deadline(self) -> int | None:
        """When `wake` has something to do."""
        dues = [due for due in (self._beats.deadline(), self._silences.deadline()) if due is not None]
        return min(dues, default=None)

    def _heard(self, connection: Connection, interval: int, hears: bool, now: int) -> None:
        connection.heard_at = now
        connection.heard_us = hears
        connection.interval = min(interval, MAX_INTERVAL)

    def _silent_at(self, connection: Connection) -> int:
        return connection.heard_at + self._losses * connection.interval

    def _beat(self, connection: Connection, now: int) -> list[Effect]:
        interval = self.interval
        self._beats.set(connection.conn, now + interval)
        hears = now - connection.heard_udp_at <= connection.interval * 3 // 2
        beat = Beat(self._name, connection.id, interval, hears)
        effects: list[Effect] = [SendDatagram(connection.udp_address, beat)]
        # If their datagrams do not come, ours may not arrive either, nor what they say of it in theirs.
        if not (hears and connection.heard_us):
            effects.append(SendTcp(connection.conn, StreamBeat(interval, hears)))
        return effects
