"""Which connections still live: heartbeats over UDP, over TCP where UDP does not pass. Knows nothing of peers lost.

Whatever is heard of a connection is a sign of life, on TCP or in a datagram. Each beat says when the sender's next
one comes at the latest, and whether it hears ours: a peer with many connections beats each of them more rarely, and
its neighbours wait accordingly.
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
"""More is not believed of a sender: its connection would never be found dead."""

MAX_ASKING: Final = 8
"""Requests for clocks that wait: some neighbour may never answer, and the client has given up by then."""

Sign = TypeVar("Sign", Beat, Beacon)


def authenticated(sign: Sign, key: bytes) -> Sign:
    """`sign` with its MAC."""
    return replace(sign, mac=mac(key, encode_datagram(replace(sign, mac=b""))))


def authentic(sign: Beat | Beacon, key: bytes) -> bool:
    """Whether somebody who has `key` has made it."""
    return equal(sign.mac, mac(key, encode_datagram(replace(sign, mac=b""))))


class Liveness:
    """Beats the established connections and tells which have fallen silent."""

    def __init__(self, config: Config, rng: Random) -> None:
        self._name: PeerName = config.name
        self._beat_interval = config.beat_interval
        self._budget = config.beat_budget
        self._losses = config.beat_losses
        self._rng = rng
        self._connections: dict[int, Connection] = {}
        self._beat_due: int | None = None
        """When the first beat is due; it may be that of a connection which is gone."""
        self._asking: list[int] = []
        """Requests that wait for clocks."""
        self._look_at: int | None = None
        """When a connection may have fallen silent: one timer for all, moved on lazily as they are heard of."""
        self.first: int | None = None
        """When `wake` has something to do."""

    @property
    def interval(self) -> int:
        """Nanoseconds between this peer's beats on one connection."""
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
        """It is gone."""
        del self._connections[connection.conn]
        if not self._connections:
            self._look_at = self._beat_due = self.first = None

    def heard_beat(self, connection: Connection, beat: Beat, source: Address, now: int) -> bool:
        """A datagram has come on this connection's behalf, from `source`. Returns whether that is a new place.

        Nobody off the path can move it: a beat has the connection's 63-bit number, and a MAC where there is a password.
        """
        if beat.connection != connection.id:
            return False
        if connection.beat_keys is not None:
            # Of beats that overtake each other the later one counts; a recorded one counts no more.
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
        """A heartbeat on TCP out of turn: where it has no way any more the kernel finds out, and ends it."""
        return SendTcp(connection.conn, StreamBeat(self.interval, self._hears(connection, now)))

    def last_beat(self, connection: Connection, now: int) -> SendDatagram:
        """A beat for a connection that this side gives up because its own address changed: it shows the new one."""
        beat = Beat(self._name, connection.id, self.interval, self._hears(connection, now))
        return SendDatagram(connection.udp_address, self._sealed(connection, beat))

    def heard_stream_beat(self, connection: Connection, beat: StreamBeat, now: int) -> list[Effect]:
        """A heartbeat has come on TCP."""
        self._heard(connection, beat.interval, beat.hears, now)
        return self._clocks(connection, beat, now)

    def wake(self, now: int) -> tuple[list[Effect], list[Connection]]:
        """The beats that are due, and the connections that have been silent for too long.

        Beats that would be due soon go along, so that a peer wakes a few times in an interval and not once for each
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
            # With the beats, so that nobody has to wake for it but for silence.
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
        """Ask the other side of every connection for its wall clock; `wall` is ours."""
        self._asking = [*self._asking[-MAX_ASKING:], request]
        effects: list[Effect] = []
        for connection in self._connections.values():
            connection.clock_asked = (now, wall)
            connection.clock = None
            beat = StreamBeat(self.interval, self._hears(connection, now), asks=True)
            effects.append(TellClock(connection.conn, beat))
        return effects + self._all_told()

    def _all_told(self) -> list[Effect]:
        """Answer those who wait for clocks, once none is awaited any more."""
        if any(connection.clock_asked is not None for connection in self._connections.values()):
            return []
        asking, self._asking = self._asking, []
        return [Reply(request) for request in asking]

    def _clocks(self, connection: Connection, beat: StreamBeat, now: int) -> list[Effect]:
        """What a beat has to say, or asks, of clocks; asked for more often than once a second it is not told."""
        if beat.asks:
            if connection.clock_told_at and now - connection.clock_told_at < SECOND:
                return []
            connection.clock_told_at = now
            return [TellClock(connection.conn, StreamBeat(self.interval, self._hears(connection, now)))]
        if beat.clock and connection.clock_asked is not None:
            at, wall = connection.clock_asked
            connection.clock_asked = None
            half = (now - at) // 2  # it read its clock at some time between the question and the answer
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
            beat = last  # nearly always the same one again
        else:
            beat = connection.beat = Beat(self._name, connection.id, interval, hears)
        effects.append(SendDatagram(connection.udp_address, self._sealed(connection, beat)))
        # If their datagrams do not come, ours may not arrive either, nor what they say of it in theirs.
        if not (hears and connection.heard_us):
            effects.append(SendTcp(connection.conn, StreamBeat(interval, hears)))

    def _sealed(self, connection: Connection, beat: Beat) -> Beat:
        if connection.beat_keys is None:
            return beat
        connection.beats_sent += 1
        return authenticated(replace(beat, count=connection.beats_sent), connection.beat_keys.send)
