"""The mesh core of one peer: combines connections, gossip, routes, dialling and heartbeats. No logic of channels.

`handle` takes the inputs of the network and the mesh's commands; the peer's other cores call `broadcast` and `unicast`.
All lasting state is in the parts; this module only decides how an event in one part affects the others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from overlay.config import Address, Config, PeerName
from overlay.crypto.pake import Crypto
from overlay.effects import CloseTcp, Effect, Log, Notify, Reply, SendTcp
from overlay.env import Random
from overlay.errors import RemoteError
from overlay.inputs import (
    AskClocks,
    Computed,
    Connect,
    Datagram,
    Deliver,
    DialFailed,
    Forget,
    HostReaddressed,
    Input,
    Leave,
    Neighbour,
    NeighbourMoved,
    NeighboursChanged,
    PathsChanged,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    RoutesChanged,
    TcpClosed,
    TcpMessage,
    TcpOpened,
    Wake,
)
from overlay.mesh.admission import Admission
from overlay.mesh.beacons import Beacons
from overlay.mesh.connections import Connection, Connections, ConnectionState, Ending
from overlay.mesh.dialler import STORED_KEY, Dialler
from overlay.mesh.discovery import Discovery
from overlay.mesh.keyring import Keyring
from overlay.mesh.liveness import Liveness
from overlay.mesh.memory import MET_KEY, Memory
from overlay.mesh.proof import Proofs
from overlay.mesh.routes import Routes
from overlay.mesh.topology import Topology
from overlay.mesh.trust import Trust
from overlay.replicated.channel import Channel
from overlay.replicated.gossip import Gossip, GossipMessage
from overlay.timers import Due, first_due
from overlay.wire.codec import Body, Delta, Message
from overlay.wire.envelopes import (
    Accept,
    Beacon,
    Beat,
    Confirm,
    Decline,
    Goodbye,
    Hello,
    Namesake,
    PakeShare,
    Reason,
    Resume,
    Routed,
    StreamBeat,
)
from overlay.wire.topology import TopologyLink

TTL: Final = 64
"""Hop limit of a unicast."""
NOT_LOST: Final = (
    Reason.LEAVING,
    Reason.DUPLICATE,
    Reason.SELF,
    Reason.NAME_COLLISION,
    Reason.FULL,
    Reason.PASSWORD,
    Reason.BUSY,
)
"""Reasons after which beacons do not call the peer."""


class Mesh:
    """The mesh core of one peer; see the core contract in `docs/design.md`."""

    def __init__(
        self,
        config: Config,
        uid: int,
        rng: Random,
        channels: Sequence[Channel],
        stored: Mapping[str, bytes],
        crypto: Crypto | None = None,
    ) -> None:
        self.config = config
        self.keyring: Keyring | None = None
        if config.password:
            assert crypto is not None, "a password needs cryptography"
            self.keyring = Keyring(crypto, config.password, stored, lambda peer: self.topology.key(peer))
        self.trust = Trust(config, self.keyring)
        tuning, key = config.tuning, self.keyring.public if self.keyring else b""
        self.topology = Topology(config.name, config.nickname, uid, key, tuning)
        self.routes = Routes(self.topology)
        self.gossip = Gossip([self.topology, *channels], rng, config.gossip_interval, config.flush_delay, tuning)
        self.connections = Connections(
            self._hello, rng, config.beat_interval, self, config.name, config.tunnel_key, tuning
        )
        if self.keyring is not None:
            assert crypto is not None
            self.connections.proofs = Proofs(
                config.name, config.password, crypto, self.keyring, self.connections, tuning
            )
        self.dialler = Dialler(config.name, config.peers, stored.get(STORED_KEY), rng, tuning)
        self.memory = Memory(config, stored.get(MET_KEY))
        self.liveness = Liveness(config, rng)
        self.beacons = Beacons(config.beacon_interval, rng, tuning)
        self.admission = Admission(config, self.topology, self.routes, self.connections, self.dialler, rng)
        self.discovery = Discovery(
            config, self.topology, self.routes, self.connections, self.dialler, self.beacons, self.trust,
            self.admission, rng,
        )  # fmt: skip
        self.sent_messages = 0
        """Messages sent on control connections so far."""
        self._rng = rng
        self._routes_at = 0
        self._due: int | None = None
        self._due_stale = True
        self._left = False
        self._noted = -1
        self._was_eager: dict[PeerName, None] = {}
        self._believed: tuple[int, tuple[PeerName, ...], int] = (-1, (), 0)
        """Digest of all records, reachable peers, and the digest of the reachable peers' records derived from both."""
        self._neighbours: tuple[int, tuple[PeerName, ...]] = (-1, ())
        proofs = self.connections.proofs
        self._parts: tuple[tuple[Due, Callable[[int], list[Effect]]], ...] = (
            (self.liveness, self._wake_liveness),
            (self.connections.timers, self.connections.wake),
            (self.gossip.timers, self.gossip.wake),
            (self.beacons.timers, lambda now: self.beacons.wake(self.discovery.beacon, now)),
            *([(proofs, proofs.wake)] if proofs is not None else []),
            (self.trust, lambda now: self.trust.remember(self.topology.records)),
            (self.memory, self._wake_memory),
            (self.dialler.timers, lambda now: self.dialler.wake(self.admission.room(), now)),
        )
        """The parts that have deadlines, in order of handling, and the handler of each."""
        self._dues = tuple(due for due, _ in self._parts)
        self._handlers: dict[type[Input], Callable[[Any, int], list[Effect]]] = {
            TcpOpened: self._opened,
            DialFailed: self._dial_failed,
            TcpMessage: self._message,
            TcpClosed: self._closed,
            Datagram: self._datagram,
            Computed: self._computed,
            Wake: self._wake,
            Connect: self._connect,
            Forget: self._forget,
            Leave: self._leave,
            AskClocks: self._ask_clocks,
            HostReaddressed: self._readdressed,
        }

    # --- contract -------------------------------------------------------------------------------------------------

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Handle `input` and return the effects. Raises KeyError for an input that does not belong to the mesh."""
        if type(input) is Datagram and type(input.message) is Beat and not self._left:
            # Most inputs of an idle peer. It only postpones a deadline, which is noticed when that deadline comes.
            moved = self._beat(input.message, input.source, now)
            return self._count(moved) if moved else moved
        handler = self._handlers[type(input)]
        self._due_stale = True
        if self._left:
            return self._refuse_request(input)
        effects = handler(input, now)
        effects += self._settle(now)
        return self._count(effects)

    def deadline(self) -> int | None:
        """When `Wake` has something to do."""
        if self._due_stale:
            self._due = None if self._left else self._first_due()
            self._due_stale = False
        return self._due

    def _first_due(self) -> int | None:
        first = first_due(self._dues)
        topology, routes_at = self.topology, self._routes_at if self.routes.stale else None
        for due in (topology.publish_due(), topology.forget_due(self.config.hold), routes_at):
            if due is not None and (first is None or due < first):
                first = due
        return first

    def broadcast(self, channel: str, delta: Delta, now: int) -> list[Effect]:
        """Spread a delta that `channel` has merged already. Raises KeyError for an unknown channel."""
        if not self._left:
            self._due_stale = True
            self.gossip.broadcast(channel, delta, now)
        return []

    def unicast(self, destination: PeerName, channel: str, body: Body, now: int) -> list[Effect]:
        """Send `body` to `destination`, which may be this peer itself; it is lost if the destination is unreachable."""
        if self._left:
            return []
        self._due_stale = True
        return self._count(self._route(Routed(self.config.name, destination, channel, TTL, body), now))

    def lose(self, peer: PeerName, now: int) -> None:
        """`peer` is declared dead: do not look for it in the next run."""
        self._due_stale = True
        self.memory.drop(peer, now)

    def check_invariants(self) -> None:
        """Assert the invariants of the replicated topology and of the connections."""
        self.topology.check_invariants()
        self.routes.check_invariants()
        due = None if self._left else self._first_due()
        assert self._due_stale or self._due == due, "the deadline is an old one"
        assert tuple(sorted(self.connections.established)) == self.neighbours
        for peer, connection in self.connections.established.items():
            assert connection.peer == peer and connection.state is ConnectionState.ESTABLISHED
            assert self.connections.all[connection.conn] is connection

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def uid(self) -> int:
        """This peer's incarnation; it rises above the initial one if the mesh remembers a higher one."""
        return self.topology.uid

    @property
    def reachable(self) -> tuple[PeerName, ...]:
        """This peer and all peers reachable over established links, sorted."""
        return self.routes.reachable

    @property
    def neighbours(self) -> tuple[PeerName, ...]:
        """The peers with an established connection, sorted."""
        if self.connections.generation != self._neighbours[0]:
            self._neighbours = (self.connections.generation, tuple(sorted(self.connections.established)))
        return self._neighbours[1]

    @property
    def topology_digest(self) -> int:
        """64 bits over the records of the reachable peers; equal on all peers of a group that has converged."""
        if self._believed[0] != self.topology.digest() or self._believed[1] is not self.routes.reachable:
            digest = self.topology.digest_of(self.routes.reachable)
            self._believed = (self.topology.digest(), self.routes.reachable, digest)
        return self._believed[2]

    # --- inputs: connections ----------------------------------------------------------------------------------------

    def _opened(self, input: TcpOpened, now: int) -> list[Effect]:
        if input.dialled is not None:
            self.dialler.opened(input.dialled)
        return self.connections.opened(input.conn, input.local, input.remote, input.dialled, now, input.binding)

    def _dial_failed(self, input: DialFailed, now: int) -> list[Effect]:
        target = self.dialler.targets.get(input.address)
        self.dialler.failed(input.address, input.reason, now)
        if target is None:
            return []
        if target.explicit:
            self.beacons.call(input.address, "", now)
        elif target.attempts % 2 == 0:
            others = [address for address in self.topology.addresses(target.peer) if address != input.address]
            if others:
                self.dialler.move(target, self._rng.choice(others))
        return []

    def _closed(self, input: TcpClosed, now: int) -> list[Effect]:
        return self.connections.closed(input.conn, input.reason, now)

    def _message(self, input: TcpMessage, now: int) -> list[Effect]:
        connection = self.connections.all.get(input.conn)
        if connection is None:
            # It was decoded together with a message that made us close the connection.
            return []
        connection.heard_at = now
        try:
            return self._dispatch(connection, input.message, now)
        except RemoteError as error:
            text = str(error)
            warning = Log("warning", f"{connection.peer or connection.remote}: {text}; connection closed")
            return [warning, *self.connections.end(connection, Reason.PROTOCOL, text, now)]

    def _dispatch(self, connection: Connection, message: Message, now: int) -> list[Effect]:
        if connection.state is ConnectionState.ESTABLISHED and isinstance(message, GossipMessage):
            return self.gossip.receive(connection.peer, message, now)
        match message:
            case Hello():
                return self.connections.greeted(connection, message, now)
            case Accept():
                return self.connections.accepted(connection, message, now)
            case Goodbye():
                return self.connections.dismissed(connection, message, now)
            case PakeShare() | Resume() | Confirm() | Decline():
                return self.connections.prove(connection, message, now)
            case Namesake() if connection.state in (ConnectionState.ACCEPTING, ConnectionState.ESTABLISHED):
                who = ", ".join((repr(message.nickname), *map(str, Address.parse_all((message.address,)))))
                return self.topology.meet_namesake(who, now)
        if connection.state is not ConnectionState.ESTABLISHED:
            raise RemoteError(f"{type(message).__name__} on a connection that is {connection.state.value}")
        match message:
            case StreamBeat():
                return self.liveness.heard_stream_beat(connection, message, now)
            case Routed():
                return self._route(message, now)
        raise RemoteError(f"{type(message).__name__} cannot stand alone")

    def _computed(self, input: Computed, now: int) -> list[Effect]:
        assert self.connections.proofs is not None
        return self.connections.proofs.computed(input.job, input.result, now)

    def identified(self, connection: Connection) -> None:
        """See `connections.Listener`."""
        self.dialler.greeted(connection.peer, connection.dialled)

    def connection_up(self, connection: Connection, now: int) -> list[Effect]:
        """See `connections.Listener`."""
        peer = connection.peer
        self.liveness.add(connection, now)
        self.trust.established(connection, now)
        self.beacons.hush_peer(peer)
        self.beacons.hush(connection.control)
        for target in self.dialler.targets.values():
            if target.peer == peer:
                self.beacons.hush(target.address)
        known = self.topology.entries.get(peer)
        spare = peer in self.routes.tree and known is not None and known.uid == connection.uid
        joins = peer not in self.routes.tree or peer in self._was_eager
        self._was_eager.pop(peer, None)
        direction = "to" if connection.outbound else "from"
        text = f"connection {direction} {connection.control} established: {peer} ({connection.nickname})"
        opening = self.gossip.add_neighbour(peer, connection.conn, joins, now, asks=self.config.name < peer)
        effects: list[Effect] = [Log("info", text), *opening]
        return effects + self._links_changed(now, urgent=not spare)

    def connection_down(self, connection: Connection, was: ConnectionState, ending: Ending, now: int) -> list[Effect]:
        """See `connections.Listener`."""
        effects: list[Effect] = []
        peer, dialled = connection.peer, connection.dialled
        if was is ConnectionState.ESTABLISHED:
            if self.gossip.is_eager(peer):
                self._was_eager[peer] = None
            self.liveness.remove(connection)
            text = f"connection with {connection.control} ended: {peer} ({connection.nickname}): {ending.text}"
            effects = [Log("info", text), *self.gossip.remove_neighbour(peer, now), *self._links_changed(now)]
        if ending.reason in (Reason.SELF, Reason.NAME_COLLISION) and dialled is not None:
            self.dialler.refused(dialled, ending.text)
        if ending.reason in (Reason.PASSWORD, Reason.BUSY):
            effects += self.trust.refused(connection, ending, now)
        lived = now - connection.opened_at if was is ConnectionState.ESTABLISHED else 0
        self.dialler.ended(peer, dialled, ending.text, lived, now)
        if ending.reason == Reason.FULL:
            for address in Address.parse_all(ending.elsewhere):
                self.dialler.refer(address, now)
        if ending.reason in NOT_LOST or peer in self.connections.established:
            return effects
        target = self.dialler.targets.get(dialled) if dialled is not None else None
        if target is not None and target.explicit:
            self.beacons.call(target.address, "", now)
        elif was is ConnectionState.ESTABLISHED and self.config.discovery:
            self.beacons.call(connection.control, peer, now)
            if peer not in self.dialler.aimed():
                self.dialler.discover(peer, connection.control, now)
        return effects

    def admit(self, connection: Connection, now: int) -> tuple[Goodbye | None, list[Effect]]:
        """See `connections.Listener`."""
        return self.admission.admit(connection, now)

    # --- inputs: datagrams ------------------------------------------------------------------------------------------

    def _datagram(self, input: Datagram, now: int) -> list[Effect]:
        message = input.message
        if isinstance(message, Beacon) and message.name != self.config.name:
            return self.discovery.called(message, input.source, now)
        return []

    def _beat(self, beat: Beat, source: Address, now: int) -> list[Effect]:
        connection = self.connections.established.get(beat.name)
        if connection is None or beat.name == self.config.name:
            return []
        before = connection.moved
        if not self.liveness.heard_beat(connection, beat, source, now):
            return []
        effects: list[Effect] = [Notify(NeighbourMoved(connection.peer, source))]
        if connection.moved and not before:
            text = f"{connection.peer} ({connection.nickname}) sends from {source} now"
            effects += (Log("info", text), self.liveness.stream_beat(connection, now))
        return effects

    def _readdressed(self, input: HostReaddressed, now: int) -> list[Effect]:
        """Drop the connections whose own address the host has lost, and dial their peers again.

        TCP would notice only by its timeout. A last heartbeat tells the neighbour the new address, so that it accepts
        the new connection instead of the old one at once.
        """
        effects: list[Effect] = []
        for connection in list(self.connections.all.values()):
            lost = connection.local.host.partition("%")[0]
            if lost in input.addresses or connection.conn not in self.connections.all:
                continue
            established = self.connections.established.get(connection.peer) is connection
            if established:
                effects.append(self.liveness.last_beat(connection, now))
            effects += self.connections.broken(connection, f"this host no longer has the address {lost}", now)
            if established and connection.peer not in self.connections.established:
                effects += self.dialler.urge(connection.control, connection.peer, now)
        return effects

    # --- inputs: commands -------------------------------------------------------------------------------------------

    def _connect(self, input: Connect, now: int) -> list[Effect]:
        if input.replace:
            for target in self.dialler.targets.values():
                self.beacons.hush(target.address)
        return [*self.dialler.connect(input.addresses, input.replace, now), Reply(input.request)]

    def _forget(self, input: Forget, now: int) -> list[Effect]:
        for address in input.addresses:
            self.beacons.hush(address)
        self.memory.drop_addresses(input.addresses, now)
        return [*self.dialler.forget(input.addresses), Reply(input.request)]

    def _ask_clocks(self, input: AskClocks, now: int) -> list[Effect]:
        return self.liveness.ask_clocks(input.request, input.wall, now)

    def _leave(self, input: Leave, now: int) -> list[Effect]:
        effects = self.gossip.farewell(self.topology.name, self.topology.leave(now))
        goodbye = Goodbye(Reason.LEAVING, f"{self.config.nickname} leaves")
        for conn in self.connections.all:
            effects += (SendTcp(conn, goodbye), CloseTcp(conn, goodbye.text))
        self.connections.all.clear()
        self.connections.established.clear()
        self.connections.generation += 1
        self._left = True
        return [*effects, Reply(input.request)]

    def _refuse_request(self, input: Input) -> list[Effect]:
        match input:
            case Leave():
                return [Reply(input.request)]
            case Connect() | Forget():
                return [Reply(input.request, error="this peer has left the mesh")]
        return []

    # --- time -------------------------------------------------------------------------------------------------------

    def _wake(self, _: Wake, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for part, wake in self._parts:
            due = part.first
            if due is not None and due <= now:
                effects += wake(now)
        due = self.topology.forget_due(self.config.hold)
        if due is not None and due <= now:
            effects += self._forget_records(now)
        return effects

    def _wake_liveness(self, now: int) -> list[Effect]:
        effects, silent = self.liveness.wake(now)
        for connection in silent:
            text = f"nothing heard for {(now - connection.heard_at) / 1e9:.1f} s"
            effects += self.connections.broken(connection, text, now)
        return effects

    def _wake_memory(self, now: int) -> list[Effect]:
        for peer, address in self.memory.recall():
            self.dialler.discover(peer, address, now)
        return self.memory.wake(self.discovery.found())

    def _forget_records(self, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self.topology.forget(self.config.hold, now):
            self.dialler.drop(peer)
            self._was_eager.pop(peer, None)
            effects.append(Notify(PeerForgotten(peer)))
        return effects

    def _settle(self, now: int) -> list[Effect]:
        """Propagate the changes that are due to all parts."""
        effects: list[Effect] = []
        if self._left:
            return effects
        # After nearly every input nothing of this is due.
        topology = self.topology
        own = topology.publish(now)
        if own is not None:
            self.gossip.broadcast(self.topology.name, own, now)
        for peer in topology.take_left() if topology.left else ():
            self.dialler.drop(peer)
            self.memory.drop(peer, now)
            self.beacons.hush_peer(peer)
            effects.append(Notify(PeerLeft(peer)))
        if self.routes.stale and now >= self._routes_at:
            effects += self._refresh_routes(now)
        return effects

    def _refresh_routes(self, now: int) -> list[Effect]:
        before = self.routes.reachable
        self.routes.refresh()
        while (promoted := self.topology.promote(self.routes.tree)) is not None:
            self.gossip.broadcast(self.topology.name, promoted, now)
            self.routes.refresh()
        after = self.routes.reachable
        tuning = self.config.tuning
        self._routes_at = now + tuning.routes_pause + tuning.routes_pause_per_peer * len(self.topology.entries)
        if after is not before or self.topology.names_generation != self._noted:
            self._noted = self.topology.names_generation
            self.topology.note_reachable(self.routes.tree, now)
        self.discovery.seek(now)
        if len(after) > 1:
            self.memory.touch(now)
        effects: list[Effect] = [Notify(PeersChanged(after))] if after != before else []
        if effects or len(after) > 1:
            effects.append(Notify(RoutesChanged()))
        return effects

    # --- internals --------------------------------------------------------------------------------------------------

    def _hello(self, nonce: int, remote: str) -> Hello:
        config = self.config
        secured, trusted = self.keyring is not None, self.trust.trusts(remote)
        return Hello(config.name, config.nickname, self.uid, nonce, config.port, (), secured, trusted)

    def _links_changed(self, now: int, urgent: bool = True) -> list[Effect]:
        established = sorted(self.connections.established.items())
        links = tuple(TopologyLink(peer, str(each.control), each.outbound, True) for peer, each in established)
        self.topology.set_links(links, now, urgent)
        clear = tuple((peer, connection.remote.host) for peer, connection in established if not connection.data_keys)
        secure = tuple((peer, connection.tunnel) for peer, connection in established if connection.tunnel is not None)
        return [
            Notify(NeighboursChanged(tuple(_neighbour(connection) for _, connection in established))),
            Notify(PathsChanged(clear, secure)),
        ]

    def _route(self, message: Routed, now: int) -> list[Effect]:
        destination = message.destination
        effects: list[Effect] = []
        if destination == self.config.name:
            return [Notify(Deliver(message.source, message.channel, message.body))]
        if destination not in self.connections.established and self.routes.stale:
            effects += self._refresh_routes(now)
        hop = destination if destination in self.connections.established else self.routes.next_hop(destination)
        connection = self.connections.established.get(hop) if hop is not None else None
        if connection is None or message.ttl == 0:
            return [*effects, Log("debug", f"unicast of {message.source} for {destination} is lost: no route")]
        onward = Routed(message.source, destination, message.channel, message.ttl - 1, message.body)
        return [*effects, SendTcp(connection.conn, onward)]

    def _count(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if type(effect) is SendTcp:
                self.sent_messages += 1
        return effects


def _neighbour(connection: Connection) -> Neighbour:
    address = Address(connection.remote.host, connection.control.port)
    return Neighbour(
        connection.peer, address, connection.id, connection.outbound, connection.data_keys, connection.tunnel
    )
