"""Which connections are alive: heartbeats over UDP, and over TCP where UDP does not get through. Knows no lost peers.

Anything received for a connection, on TCP or in a datagram, counts as a sign of life. Each heartbeat tells the sender's
maximum interval until the next one, and whether the sender receives ours. A peer with many connections sends heartbeats
less often on each, and its neighbours extend their timeouts accordingly.
"""

from typing import Final, TypeVar

from msgspec.structs import replace

from overlay.config import Address, Config, PeerName
from overlay.crypto.derive import equal, mac
from overlay.effects import Effect, Reply, SendDatagram, SendTcp, TellClock
from overlay.env import SECOND, Random
from overlay.mesh.connections import Connection
from overlay.wire.codec import encode_datagram
from overlay.wire.envelopes import Beacon, Beat, StreamBeat

MAX_INTERVAL: Final = 60 * SECOND
"""A longer interval from a sender is capped, because its connection would never be found dead."""

MAX_ASKING: Final = 8
"""Limit of waiting clock requests: a neighbour may never reply, and by then the client has given up."""

Sign = TypeVar("Sign", Beat, Beacon)


def authenticated(sign: Sign, key: bytes) -> Sign:
    """`sign` with its MAC."""
    return replace(sign, mac=mac(key, encode_datagram(replace(sign, mac=b""))))


def authentic(sign: Beat | Beacon, key: bytes) -> bool:
    """Whether the MAC of `sign` was made with `key`."""
    return equal(sign.mac, mac(key, encode_datagram(replace(sign, mac=b""))))


class Liveness:
    """Sends heartbeats on established connections and reports those that have fallen silent."""

    def __init__(self, config: Config, rng: Random) -> None:
        self._name: PeerName = config.name
        self._beat_interval = config.beat_interval
        self._budget = config.beat_budget
        self._losses = config.beat_losses
        self._rng = rng
        self._connections: dict[int, Connection] = {}
        self._beat_due: int | None = None
        """When the first heartbeat is due; its connection may be gone already."""
        self._asking: list[int] = []
        """Requests that wait for clocks."""
        self._look_at: int | None = None
        """When a connection may have fallen silent: one timer for all, moved lazily when something is received."""
        self.first: int | None = None
        """When `wake` has something to do."""

    @property
    def interval(self) -> int:
        """Nanoseconds between this peer's heartbeats on one connection."""
        return max(self._beat_interval, len(self._connections) * SECOND // self._budget)

    def add(self, connection: Connection, now: int) -> None:
        """A connection is established."""
        connection.heard_at = connection.heard_udp_at = connection.heard_us_at = now
        self._connections[connection.conn] = connection
        connection.beat_at = now + self._rng.randrange(self._beat_interval)
        if self._beat_due is None or connection.beat_at < self._beat_due:
            self._beat_due = connection.beat_at
        silent_at = self._silent_at(connection)
        if self._look_at is None or silent_at < self._look_at:
            self._look_at = silent_at
        self.first = min(self._beat_due, self._look_at)

    def remove(self, connection: Connection) -> None:
        """A connection has ended."""
        del self._connections[connection.conn]
        if not self._connections:
            self._look_at = self._beat_due = self.first = None

    def heard_beat(self, connection: Connection, beat: Beat, source: Address, now: int) -> bool:
        """Handle a datagram for this connection from `source`. Returns whether the source address is new.

        An off-path attacker cannot move it: a heartbeat has the connection's 63-bit id, and a MAC where there is a
        password.
        """
        if beat.connection != connection.id:
            return False
        if connection.beat_keys is not None:
            # Of reordered heartbeats the later one counts; a replayed one is ignored.
            if beat.count <= connection.beats_heard or not authentic(beat, connection.beat_keys.receive):
                return False
            connection.beats_heard = beat.count
        connection.heard_udp_at = now
        self._heard(connection, beat.interval, beat.hears, now)
        if source == connection.udp_address and connection.beats_from:
            return False
        news = source != connection.udp_address
        connection.moved = connection.moved or connection.beats_from not in ("", source.host)
        connection.beats_from = source.host
        connection.udp_address = source
        return news

    def stream_beat(self, connection: Connection, now: int) -> SendTcp:
        """An extra heartbeat on TCP: if the route is gone, the kernel notices and ends the connection."""
        return SendTcp(connection.conn, StreamBeat(self.interval, self._hears(connection, now)))

    def last_beat(self, connection: Connection, now: int) -> SendDatagram:
        """A heartbeat with the new address for a connection that this side gives up because its own address changed."""
        beat = Beat(self._name, connection.id, self.interval, self._hears(connection, now))
        return SendDatagram(connection.udp_address, self._sealed(connection, beat))

    def heard_stream_beat(self, connection: Connection, beat: StreamBeat, now: int) -> list[Effect]:
        """Handle a heartbeat received on TCP."""
        self._heard(connection, beat.interval, beat.hears, now)
        return self._clocks(connection, beat, now)

    def wake(self, now: int) -> tuple[list[Effect], list[Connection]]:
        """The heartbeats that are due, and the connections that have been silent for too long.

        Heartbeats that would be due soon are sent too, so a peer wakes a few times per interval and not once per
        connection.
        """
        effects: list[Effect] = []
        beats = self._beat_due is not None and self._beat_due <= now
        if beats:
            interval = self.interval
            soon = now + interval // 2
            first = now + interval
            for connection in self._connections.values():
                if connection.beat_at <= soon:
                    connection.beat_at = now + interval
                    self._beat(connection, interval, now, effects)
                elif connection.beat_at < first:
                    first = connection.beat_at
            self._beat_due = first
        silent = []
        if beats or (self._look_at is not None and self._look_at <= now):
            # Checked together with the heartbeats, so that silence rarely needs a wake-up of its own.
            self._look_at = None
            for connection in self._connections.values():
                silent_at = connection.heard_at + self._losses * connection.interval
                if silent_at <= now:
                    silent.append(connection)
                elif self._look_at is None or silent_at < self._look_at:
                    self._look_at = silent_at
        due, look = self._beat_due, self._look_at
        self.first = look if due is None or (look is not None and look < due) else due
        return effects, silent

    def ask_clocks(self, request: int, wall: int, now: int) -> list[Effect]:
        """Request the wall clock of the other side of every connection; `wall` is ours."""
        self._asking = [*self._asking[-MAX_ASKING:], request]
        effects: list[Effect] = []
        for connection in self._connections.values():
            connection.clock_asked = (now, wall)
            connection.clock = None
            beat = StreamBeat(self.interval, self._hears(connection, now), asks=True)
            effects.append(TellClock(connection.conn, beat))
        return effects + self._all_told()

    def _all_told(self) -> list[Effect]:
        """Reply to the waiting requests once no clock is awaited any more."""
        if any(connection.clock_asked is not None for connection in self._connections.values()):
            return []
        asking, self._asking = self._asking, []
        return [Reply(request) for request in asking]

    def _clocks(self, connection: Connection, beat: StreamBeat, now: int) -> list[Effect]:
        """Handle the clock fields of a heartbeat; requests for our clock are answered at most once per second."""
        if beat.asks:
            if connection.clock_told_at and now - connection.clock_told_at < SECOND:
                return []
            connection.clock_told_at = now
            return [TellClock(connection.conn, StreamBeat(self.interval, self._hears(connection, now)))]
        if beat.clock and connection.clock_asked is not None:
            at, wall = connection.clock_asked
            connection.clock_asked = None
            half = (now - at) // 2  # it read its clock at some time between request and reply
            connection.clock = (beat.clock - wall - half, half)
            return self._all_told()
        return []

    def _hears(self, connection: Connection, now: int) -> bool:
        return now - connection.heard_udp_at <= connection.interval * 3 // 2

    def _heard(self, connection: Connection, interval: int, hears: bool, now: int) -> None:
        connection.heard_at = now
        connection.heard_us = hears
        if hears:
            connection.heard_us_at = now
        connection.interval = min(interval, MAX_INTERVAL)

    def _silent_at(self, connection: Connection) -> int:
        return connection.heard_at + self._losses * connection.interval

    def _beat(self, connection: Connection, interval: int, now: int, effects: list[Effect]) -> None:
        hears = self._hears(connection, now)
        last = connection.beat
        if last is not None and last.hears == hears and last.interval == interval:
            beat = last  # nearly always the same
        else:
            beat = connection.beat = Beat(self._name, connection.id, interval, hears)
        effects.append(SendDatagram(connection.udp_address, self._sealed(connection, beat)))
        # If their datagrams do not arrive, ours may not either, nor the reports that theirs carry.
        if not (hears and connection.heard_us):
            effects.append(SendTcp(connection.conn, StreamBeat(interval, hears)))

    def _sealed(self, connection: Connection, beat: Beat) -> Beat:
        if connection.beat_keys is None:
            return beat
        connection.beats_sent += 1
        return authenticated(replace(beat, count=connection.beats_sent), connection.beat_keys.send)
