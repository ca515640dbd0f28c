"""Worlds of many peers for the simulator's benchmarks. Owns the plays; what figures mean stands in `benchmarks.sim`."""

import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import networkx
from msgspec import Struct

from benchmarks import whole_state
from lab.errors import LabError
from lab.scenario.generators import edges
from lab.scenario.model import Generate
from lab.sim.world import Peer, World
from lab.verbs.churn import gaps
from overlay.config import Address, Config
from overlay.effects import Effect, Reply
from overlay.env import MILLISECOND, SECOND, Random
from overlay.inputs import Allocate, Attached, Claim, Connect, RegisterName
from overlay.wire.codec import encode_message
from overlay.wire.envelopes import Digests, Graft, News, Prune, Routed, Want
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.topology import TopologyDelta

LOOK = 50 * MILLISECOND
"""How often a world is asked whether it has converged: the resolution of the times."""
LIMIT = 120 * SECOND
SEEDS = 3
"""Peers that own the address range at the start; all others are given of it on demand."""
SETTLED = 20 * SECOND
"""After so long of quiet a change is measured from rest."""
CHECKED = 3
"""Nodes whose invariants are checked in the end; all would take longer than the play."""


class Play(Struct, frozen=True):
    """What to play. Times in nanoseconds of virtual time."""

    play: str
    peers: int
    degree: int
    seed: int = 1
    duration: int = 600 * SECOND
    """Of churn and of idling."""
    gap: int = 5 * SECOND
    """Mean time between two peers that go (Poisson)."""
    away: int = 20 * SECOND
    """For how long one that went stays away, in the mean."""
    cut: int = 30 * SECOND
    """How long a split lasts at the least."""
    changes: int = 5
    """Changes of each kind whose bytes are counted."""


class Phase(Struct, frozen=True):
    """One part of a play."""

    name: str
    cpu: float
    """Seconds that the process was at work (user and system): others on the machine count less than on a clock."""
    virtual: float
    """Seconds."""
    handled: int
    """Inputs that nodes handled."""
    sent_bytes: int
    sent_messages: int
    sent_datagrams: int


class Outcome(Struct, frozen=True):
    """What one process measured."""

    peers: int
    degree: int
    phases: tuple[Phase, ...]
    cpu: float
    """Seconds of the whole process, imports and the check of invariants included."""
    rss: int
    """Peak resident set, bytes."""
    extra: dict[str, float]
    compiled: bool = False
    """Whether the cores were machine code; see `lab.compiled`."""

    @property
    def busy(self) -> float:
        """Seconds of all phases."""
        return sum(phase.cpu for phase in self.phases)


class Meter:
    """Tells gossip from signs of life; a world's `meter`."""

    def __init__(self) -> None:
        self.by_kind: defaultdict[type, int] = defaultdict(int)

    def __call__(self, message: Any, size: int) -> None:
        """A message of that size, in bytes, is sent."""
        self.by_kind[type(message)] += size

    def gossip(self) -> int:
        """Bytes of gossip and of unicasts sent so far by all peers, frames' heads included."""
        return sum(self.by_kind.get(kind, 0) for kind in (News, Digests, Want, Prune, Graft, Routed))


class Stage:
    """A world with one container on each peer, and the account of what each phase took."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.world = World(play.seed)
        self.meter = self.world.meter = Meter()
        self.phases: list[Phase] = []
        self.rng = Random(f"{play.seed} bench")
        self._wanting: dict[str, str] = {}
        spec = Generate(kind="random_regular", hosts=play.peers, degree=play.degree)
        names = [f"00:00:00:00:{index >> 8:02x}:{index & 255:02x}" for index in range(play.peers)]
        dials: dict[str, list[str]] = {name: [] for name in names}
        self.edges = edges(spec, names, play.seed) or ()
        for one, other in self.edges:
            dials[one].append(other)
        for index, name in enumerate(names):
            self.world.add(name, f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}")
        self.configs = {
            name: Config(
                name=name,
                nickname=f"host{index}",
                peers=tuple(Address(self.world.peers[other].address, 6783) for other in dials[name]),
                discovery=False,
                ipam_init="seed",
                seed=tuple(names[:SEEDS]),
            )
            for index, name in enumerate(names)
        }

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Account for what happens within."""
        world = self.world
        before = (time.process_time(), world.now, world.handled, *self._sent())
        yield
        after = (time.process_time(), world.now, world.handled, *self._sent())
        cpu, virtual, handled, octets, messages, datagrams = (b - a for a, b in zip(before, after, strict=True))
        self.phases.append(Phase(name, cpu, virtual / SECOND, int(handled), int(octets), int(messages), int(datagrams)))

    def _sent(self) -> tuple[int, int, int]:
        peers = self.world.peers.values()
        return (
            sum(peer.sent_bytes for peer in peers),
            sum(peer.sent_messages for peer in peers),
            sum(peer.sent_datagrams for peer in peers),
        )

    def start(self, peer: Peer) -> None:
        """Run a node, and its container: an address, a port on the overlay, a name."""
        name = peer.name
        peer.sink = lambda effect: self._replied(peer, effect)
        peer.start(self.configs[name])
        self._wanting[name] = ""
        peer.feed(Allocate(1, "c"))

    def _replied(self, peer: Peer, effect: Effect) -> None:
        if type(effect) is not Reply or effect.request != 1:
            return
        if effect.error:
            # As a user would: no donor was in reach in time, so ask again.
            self.world.scheduler.after(SECOND, self._ask_again, peer, peer.life)
            return
        del self._wanting[peer.name]
        self.world.scheduler.after(0, self._attach, peer, peer.life, str(effect.value))

    def _ask_again(self, peer: Peer, life: int) -> None:
        if peer.life == life:
            peer.feed(Allocate(1, "c"))

    def _attach(self, peer: Peer, life: int, address: str) -> None:
        if peer.life == life:
            self.plug(peer, "c", address)

    def plug(self, peer: Peer, container: str, address: str) -> None:
        """A container is attached and has a name."""
        octets = Random(f"{peer.name} {container}").getrandbits(40).to_bytes(5, "big")
        peer.feed(Attached(container, "02:" + ":".join(f"{octet:02x}" for octet in octets), (address,)))
        peer.feed(
            RegisterName(container, f"{self.configs[peer.name].nickname}.weave.local.", address.partition("/")[0])
        )

    def settled(self) -> bool:
        """All that run have their container, and believe the same."""
        return not self._wanting and self.world.converged()

    def converge(self, condition: Callable[[], bool]) -> None:
        """Let time pass until `condition` holds. LabError when it takes too long."""
        if not self.world.scheduler.run_until(condition, LIMIT, LOOK):
            raise LabError(f"bench sim: {self.play.peers} peers have not converged within {LIMIT // SECOND} s")

    def boot(self) -> None:
        """All peers start within one second and converge."""
        with self.phase("boot"):
            for peer in self.world.peers.values():
                self.world.scheduler.at(self.rng.randrange(SECOND), self.start, peer)
            self.world.run(SECOND)
            self.converge(self.settled)

    def split_and_heal(self) -> None:
        """Two halves, and whoever has neighbours in the other one alone; each group agrees. Then one again."""
        world = self.world
        names = list(world.peers)
        halves = (names[: len(names) // 2], names[len(names) // 2 :])
        groups = self._groups(halves)
        with self.phase("split"):
            world.network.split(halves)
            begun = world.now
            self.converge(lambda: all(world.converged(group) for group in groups))
            parted = world.now - begun
        with self.phase("apart"):
            world.run(max(0, self.play.cut - parted))
        with self.phase("heal"):
            world.network.heal()
            self.converge(self.settled)

    def _groups(self, halves: Sequence[Sequence[str]]) -> list[list[Peer]]:
        """The peers that are linked with each other while only links within a half are left."""
        half = {name: number for number, names in enumerate(halves) for name in names}
        graph = networkx.Graph((one, other) for one, other in self.edges if half[one] == half[other])
        graph.add_nodes_from(half)
        return [[self.world.peers[name] for name in sorted(group)] for group in networkx.connected_components(graph)]

    def churn(self) -> int:
        """Peers go (half of them with a farewell) and come back; how many went."""
        world, play, rng = self.world, self.play, self.rng
        gone = 0
        end = world.now + play.duration
        waits, aways = gaps(play.gap, "poisson", rng), gaps(play.away, "poisson", rng)
        with self.phase("churn"):
            while (due := world.now + next(waits)) < end:
                world.scheduler.run(due)
                running = world.running()
                if len(running) <= play.peers // 2:
                    continue
                peer = rng.choice(running)
                self._wanting.pop(peer.name, None)
                (peer.leave if rng.getrandbits(1) else peer.kill)()
                gone += 1
                world.scheduler.after(next(aways), self.start, peer)
            world.scheduler.run(end)
        with self.phase("settle"):
            self.converge(lambda: len(world.running()) == play.peers and self.settled())
        return gone

    def changes(self) -> dict[str, float]:
        """Single changes from rest. Bytes of gossip that each peer sent for each, by kind and number (`name 0`)."""
        found: dict[str, float] = {}
        self.world.run(SETTLED)
        for kind, change in (("name", self._add_name), ("ring", self._add_space), ("link", self._add_link)):
            for number in range(self.play.changes):
                before = self.meter.gossip()
                change(number)
                self.world.run(2 * SECOND)
                found[f"{kind} {number}"] = (self.meter.gossip() - before) / self.play.peers
                if not self.settled():
                    raise LabError(f"bench sim: 2 s after a {kind} was added {self.play.peers} peers do not agree")
        return found

    def _add_name(self, number: int) -> None:
        peer = self.rng.choice(self.world.running())
        peer.feed(RegisterName(f"x{number}", f"x{number}.weave.local.", f"10.200.{number}.1"))

    def _add_space(self, number: int) -> None:
        """An address far from all others is claimed: its owner gives it away, the ring has more tokens."""
        peer = self.rng.choice(self.world.running())
        offset = self.rng.randrange(1 << 20)
        text = f"10.{32 + (offset >> 16)}.{offset >> 8 & 255}.{offset & 255}/12"
        peer.feed(Claim(2, f"x{number}", text))

    def _add_link(self, number: int) -> None:
        """Two peers that are none yet become neighbours."""
        while True:
            one, other = self.rng.sample(self.world.running(), 2)
            assert one.node is not None
            if other.name not in one.node.mesh.connections.established:
                break
        one.feed(Connect(3, (Address(other.address, other.port),)))

    def whole_states(self) -> dict[str, float]:
        """What the original would send, in bytes for each peer."""
        node, peers, degree = self.world.running()[0].node, self.play.peers, self.play.degree
        assert node is not None
        states = whole_state.sizes(node)
        record = len(encode_message(TopologyDelta((node.mesh.topology.entries[node.config.name].record,))))
        held = node.registry.channel.missing(OriginVector(()))
        assert isinstance(held, OriginDelta)
        entry = len(encode_message(OriginDelta(held.states[:1])))
        found = {
            f"original {kind}": whole_state.per_change(kind, states, peers, degree, record, entry)
            for kind in ("name", "ring", "link")
        }
        return {**found, "original round": float(whole_state.per_round(states, peers, degree))}


def perform(play: Play) -> Outcome:
    """Play it in this process."""
    stage = Stage(play)
    extra: dict[str, float] = {}
    stage.boot()
    match play.play:
        case "split":
            stage.split_and_heal()
        case "churn":
            extra["departures"] = stage.churn()
        case "idle":
            stage.world.run(SETTLED)
            before = stage.meter.gossip()
            with stage.phase("idle"):
                stage.world.run(play.duration)
            extra["gossip"] = stage.meter.gossip() - before
        case "change":
            extra |= stage.changes()
            extra |= stage.whole_states()
        case other:
            raise LabError(f"found the play {other!r}, expected split, churn, idle or change")
    for peer in stage.rng.sample(stage.world.running(), min(play.peers, CHECKED)):
        assert peer.node is not None
        peer.node.check_invariants()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Outcome(play.peers, play.degree, tuple(stage.phases), time.process_time(), peak, extra)
