"""The control connections of one peer: the handshake, the choice between duplicates, refusals. Knows no gossip.

Each side sends `Hello` at once, proves that it knows the password if there is one (`proof`), and sends `Accept` when it
accepts the other side's. A connection is established on the side that has received both. Before the proof a name is
only a claim and changes nothing. When there are two connections between the same two peers, the *arbiter* (the peer
with the lower name) alone decides: it keeps the older one, unless that one is silent or belongs to an earlier
incarnation, and refuses the other. The choice cannot flap because only one side makes it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from overlay.config import Address, PeerName
from overlay.crypto.derive import RootKeys
from overlay.crypto.secure_peer import KEY_SIZE, WIREGUARD_PORT, SecurePeer, tunnel_address
from overlay.effects import CloseTcp, Effect, Log, SendTcp
from overlay.env import SECOND, Random
from overlay.errors import RemoteError
from overlay.mesh.proof import Proofs, Proving, SessionKeys
from overlay.shares import Shares
from overlay.timers import Timers
from overlay.tuning import STANDARD, Tuning
from overlay.wire.envelopes import Accept, Beat, Goodbye, Hello, Namesake, Reason

MAX_HANDSHAKES: Final = 512
"""Limit of incoming handshakes at the same time. One more replaces the oldest handshake of the source with the most, so
strangers cost little and a flood from one source does not lock others out."""

NO_PASSWORD: Final = "the other side has no password, this one has"

OURSELF: Final = "cannot connect to ourself"
"""This happens when all hosts get the same list of peers, which contains the host itself."""


class ConnectionState(Enum):
    """The state of a connection."""

    GREETING = "greeting"
    """`Hello` sent, none received."""
    PROVING = "proving"
    """The other side's `Hello` has arrived; its proof of the password has not."""
    ACCEPTING = "accepting"
    """The other side's `Hello` is accepted and `Accept` is sent; the other side's `Accept` is awaited."""
    ESTABLISHED = "established"
    CLOSED = "closed"


class ConnectionEvent(Enum):
    """The events that change a connection's state."""

    HELLO = "hello"
    PROVED = "proved"
    ACCEPT = "accept"
    END = "end"


TRANSITIONS: Final = {
    (ConnectionState.GREETING, ConnectionEvent.HELLO): ConnectionState.PROVING,
    (ConnectionState.PROVING, ConnectionEvent.PROVED): ConnectionState.ACCEPTING,
    (ConnectionState.ACCEPTING, ConnectionEvent.ACCEPT): ConnectionState.ESTABLISHED,
    (ConnectionState.GREETING, ConnectionEvent.END): ConnectionState.CLOSED,
    (ConnectionState.PROVING, ConnectionEvent.END): ConnectionState.CLOSED,
    (ConnectionState.ACCEPTING, ConnectionEvent.END): ConnectionState.CLOSED,
    (ConnectionState.ESTABLISHED, ConnectionEvent.END): ConnectionState.CLOSED,
}


@dataclass(slots=True, eq=False)
class Connection:
    """One control connection. `peer` is "" until the other side has proved its identity; `control` is its address."""

    conn: int
    local: Address
    remote: Address
    dialled: Address | None
    nonce: int
    state: ConnectionState = ConnectionState.GREETING
    peer: PeerName = ""
    nickname: str = ""
    uid: int = 0
    id: int = 0
    """Equal on both sides: the XOR of their nonces. Heartbeats carry it."""
    control: Address = field(init=False)
    udp_address: Address = field(init=False)
    """Where heartbeats are sent: the source of the last one received, which a NAT router may have changed."""
    beats_from: str = ""
    """The host that heartbeats come from; empty before the first. It may differ from TCP's from the beginning."""
    moved: bool = False
    """Heartbeats come from a different host than before, so TCP probably has no route to the peer any more."""
    opened_at: int = 0
    heard_at: int = 0
    heard_udp_at: int = 0
    heard_us: bool = True
    """The other side reports that our datagrams arrive."""
    heard_us_at: int = 0
    """When it last reported that."""
    interval: int = 0
    """The other side's heartbeat interval."""
    beat: Beat | None = None
    """The last heartbeat sent, without its MAC."""
    beat_at: int = 0
    """When the next heartbeat is due."""
    hello: Hello | None = None
    """The identity that the other side claims."""
    own_hello: Hello = field(init=False)
    binding: bytes = b""
    beat_keys: RootKeys | None = None
    """The keys that authenticate heartbeats; None without a password."""
    beats_sent: int = 0
    beats_heard: int = 0
    data_keys: RootKeys | None = None
    """Root keys of the data path; None: the data path is not encrypted."""
    claimed_at: int | None = None
    """When an earlier incarnation of the same peer first tried to connect while this connection existed."""
    clock: tuple[int, int] | None = None
    """The offset of the other side's wall clock from ours at the last request, and the error bound of the offset;
    nanoseconds."""
    clock_asked: tuple[int, int] | None = None
    """When the other side's clock was requested, by our monotonic and wall clocks; None: no reply is awaited."""
    clock_told_at: int = 0
    """When we last sent our clock."""
    tunnel: SecurePeer | None = None
    """The other side's WireGuard peer, if both sides have WireGuard and traffic is encrypted."""

    def __post_init__(self) -> None:
        self.control = self.udp_address = self.dialled or self.remote

    @property
    def outbound(self) -> bool:
        """Whether this peer dialled the connection."""
        return self.dialled is not None

    def advance(self, event: ConnectionEvent) -> None:
        """Apply `event` by the table. Raises `RemoteError` for a message that is not allowed in this state."""
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise RemoteError(f"{event.value} on a connection that is {self.state.value}")
        self.state = after


@dataclass(slots=True, eq=False)
class Ending:
    """How a connection ended. `reason` is the `Reason` from either side; None: the connection broke without one."""

    reason: int | None
    text: str
    local: bool
    elsewhere: tuple[str, ...] = ()


class Listener(Protocol):
    """The interface through which the mesh hears about connections."""

    def identified(self, connection: Connection) -> None:
        """The peer on the other side of `connection` is now known."""
        ...

    def connection_up(self, connection: Connection, now: int) -> list[Effect]:
        """`connection` is established, and is the only one to its peer."""
        ...

    def connection_down(self, connection: Connection, was: ConnectionState, ending: Ending, now: int) -> list[Effect]:
        """`connection` has ended; its last state was `was`."""
        ...

    def admit(self, connection: Connection, now: int) -> tuple[Goodbye | None, list[Effect]]:
        """Return the `Goodbye` for the peer of `connection` if there is no room for it; None: it is admitted."""
        ...


class Connections:
    """All connections, by the driver's number. `established` holds the ones that carry traffic, by peer."""

    def __init__(
        self, hello: Callable[[int, str], Hello], rng: Random, beat_interval: int, listener: Listener, own: PeerName,
        tunnel_key: bytes = b"", tuning: Tuning = STANDARD,
    ) -> None:  # fmt: skip
        self._tuning = tuning
        self._hello = hello
        self._rng = rng
        self._beat_interval = beat_interval
        self._listener = listener
        self._own = own
        self._tunnel_key = tunnel_key
        """Public key of this side's WireGuard; sent only after the proof, in a sealed frame."""
        self.timers: Timers[int] = Timers()
        self._handshakes = Shares(MAX_HANDSHAKES, MAX_HANDSHAKES)
        self.proofs: Proofs | None = None
        """Proves the password; None without a password."""
        self.all: dict[int, Connection] = {}
        self.established: dict[PeerName, Connection] = {}
        self.generation = 0
        """Counts changes of `established`."""
        self.terminations = 0
        """Number of established connections that have ended."""

    def opened(
        self, conn: int, local: Address, remote: Address, dialled: Address | None, now: int, binding: bytes = b""
    ) -> list[Effect]:
        """A TCP connection is open: send `Hello`."""
        assert conn not in self.all, f"connection {conn} was opened twice"
        effects: list[Effect] = []
        if dialled is None:
            gone = self._handshakes.take(remote.host, conn)
            if gone is not None:
                effects = self.broken(self.all[gone], "too many handshakes are under way", now)
        connection = Connection(conn, local, remote, dialled, self._rng.getrandbits(63))
        connection.opened_at = connection.heard_at = connection.heard_udp_at = connection.heard_us_at = now
        connection.interval = self._beat_interval
        self.all[conn] = connection
        self.timers.set(conn, now + self._timeout)
        connection.binding = binding
        connection.own_hello = self._hello(connection.nonce, remote.host)
        return [*effects, SendTcp(conn, connection.own_hello)]

    def greeted(self, connection: Connection, hello: Hello, now: int) -> list[Effect]:
        """Handle the other side's `Hello`: request a proof if there is a password, otherwise trust the `Hello`."""
        connection.advance(ConnectionEvent.HELLO)
        connection.hello = hello
        if hello.secured != (self.proofs is not None):
            text = "this side has no password, the other has one" if hello.secured else NO_PASSWORD
            return self.end(connection, Reason.PASSWORD, text, now)
        if self.proofs is None:
            return self._identified(connection, hello, now)
        rival = self._rival(hello.name, connection)
        if rival is not None and self._own < hello.name and hello.uid == rival.uid and not self.silent(rival, now):
            # Whether refused here or after a costly proof makes no difference to a stranger that only claims the name.
            return self.end(connection, Reason.DUPLICATE, f"connected already at {rival.control}", now)
        dials, source = connection.outbound, connection.remote.host
        return self.proofs.begin(connection.conn, dials, connection.own_hello, hello, source, connection.binding)

    def proved(self, conn: int, keys: SessionKeys, now: int) -> list[Effect]:
        """See `proof.ProofListener`."""
        connection = self.all[conn]
        assert connection.hello is not None
        connection.beat_keys = keys.beat
        if not (connection.hello.trusted and connection.own_hello.trusted):
            connection.data_keys = keys.data
        return self._identified(connection, connection.hello, now)

    def refused(self, conn: int, reason: Reason, text: str, now: int) -> list[Effect]:
        """See `proof.ProofListener`."""
        return self.end(self.all[conn], reason, text, now)

    def prove(self, connection: Connection, message: Proving, now: int) -> list[Effect]:
        """Handle a message of the proof. Raises `RemoteError`."""
        if self.proofs is None or connection.state is not ConnectionState.PROVING:
            raise RemoteError(f"{type(message).__name__} on a connection that is {connection.state.value}")
        return self.proofs.receive(connection.conn, message, now)

    def _identified(self, connection: Connection, hello: Hello, now: int) -> list[Effect]:
        """Accept the connection, refuse it, or end an older one in favour of it."""
        connection.advance(ConnectionEvent.PROVED)
        connection.peer = hello.name
        connection.nickname = hello.nickname
        connection.uid = hello.uid
        connection.id = connection.nonce ^ hello.nonce
        if connection.dialled is None:
            connection.control = Address(connection.remote.host, hello.port)
            connection.udp_address = connection.control
        self._listener.identified(connection)
        if hello.name == self._own:
            return self._refuse_namesake(connection, hello, now)
        effects: list[Effect] = []
        rival = self._rival(hello.name, connection)
        if rival is not None and self._own < hello.name:
            if not self._outranks(hello, rival, now):
                effects = self._introduce(connection, rival, now)
                return effects + self.end(connection, Reason.DUPLICATE, f"connected already at {rival.control}", now)
            effects += self.end(rival, Reason.DUPLICATE, "replaced by a newer connection", now)
            rival = None
        if rival is None:
            refusal, consequences = self._listener.admit(connection, now)
            effects += consequences
            if refusal is not None:
                effects.append(SendTcp(connection.conn, refusal))
                return effects + self._close(connection, Ending(refusal.reason, refusal.text, local=True), now)
        if connection.data_keys is None or not self._tunnel_key:
            return [*effects, SendTcp(connection.conn, Accept(hello.nonce))]
        return [*effects, SendTcp(connection.conn, Accept(hello.nonce, self._tunnel_key, WIREGUARD_PORT))]

    def accepted(self, connection: Connection, accept: Accept, now: int) -> list[Effect]:
        """The other side has accepted the connection."""
        if accept.nonce != connection.nonce:
            raise RemoteError("accept repeats another nonce than this connection's")
        connection.advance(ConnectionEvent.ACCEPT)
        connection.tunnel = self._tunnel(connection, accept)
        self.timers.cancel(connection.conn)
        self._handshakes.give_back(connection.conn)
        effects: list[Effect] = []
        before = self.established.get(connection.peer)
        if before is not None:
            # The arbiter has chosen the new one. Its message about the old one is in flight, or lost in a partition.
            effects += self.end(before, Reason.DUPLICATE, "replaced by a newer connection", now)
        self.established[connection.peer] = connection
        self.generation += 1
        return effects + self._listener.connection_up(connection, now)

    def _tunnel(self, connection: Connection, accept: Accept) -> SecurePeer | None:
        """The other side's WireGuard peer, if this connection's traffic may go through it."""
        host = connection.remote.host
        told = len(accept.tunnel_key) == KEY_SIZE and accept.tunnel_port
        if connection.data_keys is None or not self._tunnel_key or not told or "%" in host:
            return None
        return SecurePeer(tunnel_address(connection.peer), accept.tunnel_key, Address(host, accept.tunnel_port))

    def end(self, connection: Connection, reason: Reason, text: str, now: int, say: bool = True) -> list[Effect]:
        """End a connection from this side; send a `Goodbye` if it may still arrive."""
        effects: list[Effect] = [SendTcp(connection.conn, Goodbye(reason, text))] if say else []
        return effects + self._close(connection, Ending(reason, text, local=True), now)

    def broken(self, connection: Connection, text: str, now: int) -> list[Effect]:
        """End a connection whose other side has fallen silent."""
        return self._close(connection, Ending(None, text, local=True), now)

    def dismissed(self, connection: Connection, goodbye: Goodbye, now: int) -> list[Effect]:
        """The other side has sent its reason for ending the connection."""
        return self._close(connection, Ending(goodbye.reason, goodbye.text, False, goodbye.elsewhere), now)

    def closed(self, conn: int, reason: str, now: int) -> list[Effect]:
        """The driver reports that a connection has closed."""
        connection = self.all.get(conn)
        return [] if connection is None else self._drop(connection, Ending(None, reason, local=False), now)

    def silent(self, connection: Connection, now: int) -> bool:
        """Whether a newer connection or a beacon is to be trusted over this connection.

        That is so if it was silent for more than one interval, or if the other side has moved to another address.
        """
        return connection.moved or now - connection.heard_at > connection.interval

    def between(self, peer: PeerName, address: Address | None = None) -> list[Connection]:
        """All connections with `peer`, and those dialled to `address` on which no `Hello` has arrived yet."""
        return [
            connection
            for connection in self.all.values()
            if connection.peer == peer
            or (not connection.peer and address is not None and connection.dialled == address)
        ]

    def wake(self, now: int) -> list[Effect]:
        """End the handshakes that have timed out."""
        effects: list[Effect] = []
        while (conn := self.timers.pop(now)) is not None:
            effects += self.broken(self.all[conn], f"no handshake within {self._timeout // SECOND} s", now)
        return effects

    @property
    def _timeout(self) -> int:
        return self._tuning.handshake_timeout if self.proofs is None else self._tuning.proof_timeout

    def _outranks(self, hello: Hello, rival: Connection, now: int) -> bool:
        """Whether the arbiter prefers the new connection over `rival`."""
        return self.silent(rival, now) or hello.uid > rival.uid

    def _rival(self, peer: PeerName, connection: Connection) -> Connection | None:
        others = [other for other in self.between(peer) if other is not connection]
        assert len(others) <= 1 or self._own > peer, "the arbiter keeps one connection to each peer"
        return others[0] if others else None

    def _introduce(self, connection: Connection, rival: Connection, now: int) -> list[Effect]:
        """Tell two live peers with the same name about each other.

        If `rival` has been heard since its competitor first appeared, both are alive; otherwise it is the same peer,
        restarted with its clock set back.
        """
        first, rival.claimed_at = rival.claimed_at, rival.claimed_at or now
        if connection.uid == rival.uid or first is None or rival.heard_at <= first:
            return []
        return [
            SendTcp(one.conn, Namesake(str(other.control), other.nickname))
            for one, other in ((connection, rival), (rival, connection))
        ]

    def _refuse_namesake(self, connection: Connection, hello: Hello, now: int) -> list[Effect]:
        mirror = [other for other in self.all.values() if other.nonce == hello.nonce and other is not connection]
        if mirror:
            # Both ends belong to this peer. End both at once, so that the second is not taken for a namesake.
            return [effect for one in (*mirror, connection) for effect in self.end(one, Reason.SELF, OURSELF, now)]
        text = f"name {self._own} is borne by two processes ({hello.nickname!r} is the other)"
        return [Log("error", text), *self.end(connection, Reason.NAME_COLLISION, text, now)]

    def _close(self, connection: Connection, ending: Ending, now: int) -> list[Effect]:
        return [CloseTcp(connection.conn, ending.text), *self._drop(connection, ending, now)]

    def _drop(self, connection: Connection, ending: Ending, now: int) -> list[Effect]:
        was = connection.state
        connection.advance(ConnectionEvent.END)
        del self.all[connection.conn]
        self.timers.cancel(connection.conn)
        self._handshakes.give_back(connection.conn)
        if self.proofs is not None:
            self.proofs.drop(connection.conn)
        if self.established.get(connection.peer) is connection:
            del self.established[connection.peer]
            self.generation += 1
            self.terminations += 1
        return self._listener.connection_down(connection, was, ending, now)
