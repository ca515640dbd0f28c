"""N peers in one process and in virtual time: connects each `overlay.Node`'s effects to the simulated network.

Owns what a driver owns on a real host: connections by number, the clock, and the state after a kill, a power cut and a
farewell. `overlay.runtime.node_runner` owns the order of effects and the timer. Messages pass as objects; the size of a
message's frame is computed once. Must not know containers or scenarios.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from lab.calibration import CALIBRATION, Calibration
from lab.links import Links
from lab.sim import sizes
from lab.sim.clock import DriftingClock
from lab.sim.disk import SimDisk
from lab.sim.machine import CpuModel
from lab.sim.network import End, SimNetwork
from lab.sim.scheduler import Scheduler
from lab.sim.spread import Spread
from lab.sim.taps import PeerTap
from lab.sim.walk import Carrier
from overlay.config import Address, Config
from overlay.crypto.pake import StubCrypto
from overlay.crypto.secure_peer import WIREGUARD_PORT
from overlay.datapath.sleeve import TTL
from overlay.datapath.vxlan import VXLAN_PORT
from overlay.effects import CloseTcp, Compute, Dial, Effect, Secure, SendDatagram, SendProbe, SendTcp, TellClock
from overlay.env import SECOND, Random
from overlay.inputs import (
    Computed,
    Datagram,
    DialFailed,
    HostReaddressed,
    Input,
    Leave,
    ProbeHeard,
    TcpClosed,
    TcpMessage,
    TcpOpened,
    TrafficSeen,
)
from overlay.node import Node
from overlay.replicated.interned import Memo, switch
from overlay.runtime.node_runner import NodeRunner
from overlay.wire.codec import DATAGRAM_MAGIC

EPOCH = 1_700_000_000 * SECOND
"""The correct wall clock time when a run begins."""
FRAME = 4
"""Bytes before each message on a connection."""
PROBE_ANSWER = 34
"""Bytes of a probe's reply, in its UDP datagram."""
VXLAN_EXTRA = 8
"""Bytes that VXLAN adds to a frame within its UDP datagram."""
WIREGUARD_EXTRA = VXLAN_EXTRA + 40 + 8 + 32
"""The same plus IPv6 and UDP headers, and WireGuard's own header and tag."""
MAX_SIZES = 1 << 15
"""Number of messages whose sizes are cached, because heartbeats are sent repeatedly."""


class Peer:
    """One host of the world and its node, if one runs.

    Implements `lab.sim.network.Site` and, as the host's clock, `overlay.runtime.node_runner.Clock`.
    """

    __slots__ = (
        "_do", "_handled", "_waiting", "address", "clock", "disk", "ends", "life", "listening", "name",
        "node", "port", "powered", "runner", "sent_bytes", "sent_datagrams", "sent_messages", "sink", "stressed",
        "world",
    )  # fmt: skip

    def __init__(self, world: "World", name: str, address: str) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.port = 6783
        self.powered = True
        self.listening = False
        self.node: Node | None = None
        self.runner: NodeRunner | None = None
        """Runs the node; exists whenever there is a node."""
        self.life = 0
        self.clock = DriftingClock()
        self.disk = SimDisk()
        self.ends: Mapping[int, End] = {}
        self.sink: Callable[[Effect], None] | None = None
        """Handles effects that are not for the network."""
        self.sent_bytes = 0
        """Bytes on connections and in datagrams, without TCP, UDP and IP headers."""
        self.sent_messages = 0
        self.sent_datagrams = 0
        self.stressed: CpuModel | None = None
        """The CPU model of this node alone, once it has been stressed."""
        self._handled = 0
        """Number of inputs in earlier lives."""
        self._waiting: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        """Deferred work of a stopped node, in order; None: the node is not stopped."""
        self._do: dict[type[Effect], Callable[[Any], None]] = {
            SendTcp: self._send_tcp,
            TellClock: self._tell_clock,
            SendDatagram: self._send_datagram,
            SendProbe: self._probe,
            Dial: self._dial,
            CloseTcp: self._close_tcp,
            Compute: self._compute,
            Secure: self._secure,
        }

    # --- the node ---------------------------------------------------------------------------------------------------

    def start(self, config: Config, adopted: tuple[str, ...] = ()) -> Node:
        """Start a node from the disk's content. `adopted`: see `Node.start`."""
        world = self.world
        assert self.node is None and self.powered
        self.life += 1
        self.port = config.port
        rng = Random(f"{world.seed} {self.name} {self.life}")
        now = self.clock.read(world.scheduler.now)
        node = self.node = Node(config, rng, dict(self.disk.stored), EPOCH + now, StubCrypto(rng))
        self.listening = True
        self.ends = world.network.ends(self)
        self.runner = NodeRunner(node, self, self.disk, self._do, other=self._elsewhere)
        self.runner.carry_out(node.start(now, adopted))
        return node

    def feed(self, input: Input) -> None:
        """Pass one input to the node and carry out its effects."""
        runner = self.runner
        if self._waiting is not None:
            self._waiting.append((self.feed, (input,)))
        elif runner is not None:
            runner.feed(input)

    @property
    def handled(self) -> int:
        """Number of inputs that its nodes have handled, in all lives."""
        return self._handled + (self.runner.handled if self.runner is not None else 0)

    def now(self) -> int:
        """The time as the node sees it."""
        now = self.world.scheduler.now
        clock = self.clock
        return clock.read(now) if clock.drift or clock.offset else now

    def wall(self) -> int:
        """The host's wall clock, in nanoseconds."""
        return EPOCH + self.clock.read(self.world.scheduler.now)

    def call_at(self, due: int, action: Callable[..., None], *arguments: Any) -> None:
        """See `overlay.runtime.node_runner.Clock`."""
        clock = self.clock
        self.world.scheduler.at(due if clock.right else clock.when(due), self._turn, action, arguments)

    def call_after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        """See `overlay.runtime.node_runner.Clock`; a delay does not depend on the clock's error."""
        self.world.scheduler.after(delay, self._turn, action, arguments)

    def _turn(self, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self._waiting is None:
            action(*arguments)
        else:
            self._waiting.append((action, arguments))

    @property
    def stopped(self) -> bool:
        """The node does not run, as after SIGSTOP: the kernel answers for it, and everything else waits."""
        return self._waiting is not None

    def stop(self) -> None:
        """SIGSTOP of the node's process."""
        if self.runner is not None and self._waiting is None:
            self._waiting = []

    def go_on(self) -> None:
        """SIGCONT: run the deferred work."""
        waiting, self._waiting = self._waiting, None
        for action, arguments in waiting or ():
            action(*arguments)

    def set_clock(self, offset: int, drift: int) -> None:
        """From now on the clock is off by `offset` ns, and drifts (parts per billion)."""
        self.clock.set(self.world.scheduler.now, offset, drift)
        if self.runner is not None:
            self.runner.clock_was_set()

    def stress(self, per_message: int, per_byte: int, wake: int) -> None:
        """From now on each message costs this much CPU time (`CpuModel.change`). Waiting messages keep their order."""
        if self.stressed is None:
            self.stressed = CpuModel(self.world.scheduler, 1, per_message, per_byte)
        self.stressed.change(per_message, per_byte, wake)

    def readdress(self, before: str, after: str) -> None:
        """Replace an address of the host; a moment later the daemon learns of it as from a kernel."""
        network = self.world.network
        network.readdress(self.name, before, after)
        self.call_after(self.world.model.address_notice, self._readdressed, self.life)

    def _readdressed(self, life: int) -> None:
        if self.life == life:
            self.feed(HostReaddressed(tuple(sorted(self.world.network.addresses(self.name)))))

    def kill(self) -> None:
        """`kill -9`: the kernel resets its connections."""
        self._end()
        if self.world.tap is not None:
            self.world.tap.died(self)
        self.world.network.die(self, power=False)

    def power_off(self) -> None:
        """Power cut: no other host is notified; the disk loses unsynced data."""
        self._end()
        self.powered = False
        self.world.network.die(self, power=True)
        self.disk.crash()

    def power_on(self) -> None:
        """The host answers again; it has no node yet."""
        self.powered = True

    def leave(self) -> None:
        """Send a farewell, then end the process."""
        self.feed(Leave(0))
        self._end()
        if self.world.tap is not None:
            self.world.tap.died(self)
        self.world.network.die(self, power=False)

    def _end(self) -> None:
        self.life += 1
        self._waiting = None
        self.node = None
        if self.runner is not None:
            self.runner.stop()
            self._handled += self.runner.handled
        self.runner = None
        self.listening = False

    # --- effects ----------------------------------------------------------------------------------------------------

    def _send_tcp(self, effect: SendTcp) -> None:
        end = self.ends.get(effect.conn)
        if end is not None:
            size = self.world.sent(effect.message)
            self.sent_bytes += size
            self.sent_messages += 1
            if self.world.tap is not None:
                self.world.tap.wrote(end, effect.message)
            self.world.network.write(end, effect.message, size)

    def _tell_clock(self, effect: TellClock) -> None:
        self._send_tcp(SendTcp(effect.conn, replace(effect.beat, clock=self.wall())))

    def _send_datagram(self, effect: SendDatagram) -> None:
        size = self.world.sent(effect.message)
        self.sent_bytes += size
        self.sent_datagrams += 1
        if self.world.tap is not None:
            self.world.tap.sent(self, effect.destination, effect.message)
        self.world.network.send_datagram(self, effect.destination, effect.message, size)

    def _dial(self, effect: Dial) -> None:
        life = self.life
        self.world.network.dial(self, effect.address, lambda: self.life == life)

    def _close_tcp(self, effect: CloseTcp) -> None:
        end = self.ends.get(effect.conn)
        if end is not None:
            if self.world.tap is not None:
                self.world.tap.closes(end)
            self.world.network.close(end)

    def _compute(self, effect: Compute) -> None:
        self.world.scheduler.after(self.world.model.compute_time, self._computed, self.life, effect.job, effect.work())

    def _secure(self, effect: Secure) -> None:
        """Messages pass as objects; stores the key with which both sides would seal them."""

    def _elsewhere(self, effect: Effect) -> None:
        if self.sink is not None:
            self.sink(effect)

    def _computed(self, life: int, job: int, result: object) -> None:
        if self.life == life:
            self.feed(Computed(job, result))

    def _probe(self, probe: SendProbe) -> None:
        """Send a path probe: a full-size probe may be too big or get lost, a reply is small."""
        node = self.node
        if node is None:
            return
        heard = ProbeHeard(node.config.name, probe.fast, probe.nonce, probe.size, probe.answer)
        extra = WIREGUARD_EXTRA if probe.via else VXLAN_EXTRA if probe.fast else 0
        size = PROBE_ANSWER if probe.answer else probe.size + extra
        network, host = self.world.network, probe.address.host
        if self.world.tap is not None:
            self.world.tap.probed(self, probe)
        if probe.via:
            network.send_encapsulated(self, WIREGUARD_PORT, Address(host, WIREGUARD_PORT), heard, size)
        elif probe.fast:
            network.send_encapsulated(self, 0, Address(host, VXLAN_PORT), heard, size)
        elif (towards := node.tunnel.towards(probe.peer)) is not None:
            network.send_datagram(self, Address(*towards[0]), heard, size)

    # --- lab.sim.network.Site ---------------------------------------------------------------------------------------

    def opened(self, end: End) -> None:
        if self.world.tap is not None:
            self.world.tap.opened(end)
        self._take(TcpOpened(end.conn, end.local, end.remote, end.dialled), None)

    def failed(self, dialled: Address, reason: str) -> None:
        self._take(DialFailed(dialled, reason), None)

    def received(self, end: End, message: Any) -> None:
        if self.world.tap is not None:
            self.world.tap.got(end, message)
        if self.world.machine is None and self.stressed is None:
            self.feed(TcpMessage(end.conn, message))
        else:
            self._take(TcpMessage(end.conn, message), message)

    def closed(self, end: End, reason: str) -> None:
        if self.world.tap is not None:
            self.world.tap.closed(end, reason)
        self._take(TcpClosed(end.conn, reason), None)

    def datagram(self, source: Address, message: Any) -> None:
        if self.world.tap is not None:
            self.world.tap.heard(self, source, message)
        if type(message) is ProbeHeard:
            if self.node is not None and not message.fast:
                self.node.tunnel.found_at(message.peer, (source.host, source.port))
            self._take(message, None)
        else:
            self._take(Datagram(source, message), message)

    def _take(self, input: Input, message: Any) -> None:
        """Handle it now, or when the simulated machine has CPU time for it."""
        world = self.world
        machine = self.stressed or world.machine
        if machine is None:
            self.feed(input)
            return
        size = world.size_of(message) if message is not None else 0
        machine.work(self, size, self._taken, input, self.life)

    def _taken(self, input: Input, life: int) -> None:
        if self.life == life:
            self.feed(input)


class World:
    """All peers, the network between them, and the scheduler."""

    def __init__(
        self, seed: int, links: Links | None = None, scheduler: Scheduler | None = None,
        model: Calibration = CALIBRATION,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.model = model
        self.scheduler = scheduler or Scheduler()
        self.spread = Spread(seed)
        self.network = SimNetwork(self.scheduler, links or Links(), Random(f"{seed} network"), self.spread, model)
        self.machine: CpuModel | None = None
        """The machine that all peers share; None: each has its own machine with unlimited CPU."""
        self.peers: dict[str, Peer] = {}
        self.tap: PeerTap | None = None
        """Called for each message, while packets are captured."""
        self.meter: Callable[[Any, int], None] | None = None
        """Called with each sent message and its size."""
        self._sizes: Memo[int] = Memo(MAX_SIZES)
        switch(on=True)  # peers pass messages on as objects

    def add(
        self,
        name: str,
        address: str,
        others: Sequence[str] = (),
        make: "Callable[[World, str, str], Peer] | None" = None,
    ) -> Peer:
        """Add a host, which its peers reach at `address`; `others` are its further addresses."""
        peer = self.peers[name] = Peer(self, name, address) if make is None else make(self, name, address)
        self.network.add(peer, others)
        return peer

    @property
    def handled(self) -> int:
        """Number of inputs that nodes have handled."""
        return sum(peer.handled for peer in self.peers.values())

    @property
    def now(self) -> int:
        """Nanoseconds since the start."""
        return self.scheduler.now

    def sent(self, message: Any) -> int:
        """Size in bytes of a message that is sent now."""
        size = self._sizes.of(message, _framed)
        if self.meter is not None:
            self.meter(message, size)
        return size

    def size_of(self, message: Any) -> int:
        """Size in bytes of the message's frame or datagram; computed once per message, even with many receivers."""
        return self._sizes.of(message, _framed)

    def carriers(self, host: str, mac: str) -> tuple[Carrier, ...] | None:
        """The hosts whose daemons forward a frame for `mac` in the tunnel, by their routes; see `walk.Tunnel`."""
        node = self.peers[host].node
        destination = node.endpoints.plan.holder(mac) if node is not None else None
        if destination is None:
            return None
        names = {peer.node.config.name: peer for peer in self.peers.values() if peer.node is not None}
        carriers: list[Carrier] = []
        while node is not None and node.config.name != destination:
            hop = node.tunnel.first_hop(destination)
            peer = names.get(hop) if hop is not None else None
            towards = node.tunnel.towards(hop) if hop is not None else None
            if peer is None or peer.node is None or towards is None or len(carriers) > TTL:
                return None
            if not peer.node.tunnel.hears(node.tunnel, peer.node.config.name):
                return None
            carriers.append(Carrier(host, self.peers[host].port, Address(*towards[0]), towards[1]))
            host, node = peer.name, peer.node
        return (*carriers, Carrier(host, 0, Address("", 0), 0))

    def spoken_to(self, host: str, macs: Iterable[str]) -> None:
        """Containers of this host recently sent frames to these MACs; reported as by `runtime.sleeve`."""
        peer = self.peers[host]
        if peer.node is not None:
            found = {peer.node.endpoints.plan.holder(mac) for mac in macs}
            if seen := tuple(sorted(name for name in found if name is not None)):
                peer.feed(TrafficSeen(seen))

    def running(self) -> list[Peer]:
        """Peers with a node, in order."""
        return [peer for peer in self.peers.values() if peer.node is not None]

    def run(self, duration: int) -> None:
        """Let `duration` nanoseconds pass."""
        self.scheduler.run(self.scheduler.now + duration)

    def converged(self, peers: list[Peer] | None = None) -> bool:
        """Whether these peers (default: all running) reach exactly each other and have equal beliefs."""
        nodes = [peer.node for peer in (self.running() if peers is None else peers)]
        first: tuple[object, ...] | None = None
        for node in nodes:
            assert node is not None
            if len(node.mesh.reachable) != len(nodes) or node.mesh.routes.stale:
                return False
        for node in nodes:
            assert node is not None
            believed = (
                node.mesh.topology_digest,
                node.ipam.ring_digest,
                node.registry.dns_digest,
                node.endpoints.digest,
            )
            if first is None:
                first = believed
            elif believed != first:
                return False
        return True


def _framed(message: Any) -> int:
    return sizes.size(message) + FRAME


assert len(DATAGRAM_MAGIC) == FRAME, "a datagram's magic is as long as a frame's head"
