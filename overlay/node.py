"""One peer: combines mesh, address management, names and data path behind the core contract.

Owns the routing of inputs, and the calls between the cores: `Broadcast`, `Unicast` and `Notify` are executed here, in
causal order, and never leave. Holds no protocol logic; must not know sockets, clocks or the kernel.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from overlay import __version__
from overlay.config import Address, Config, PeerName
from overlay.crypto.pake import Crypto
from overlay.datapath.endpoints import Endpoints
from overlay.datapath.paths import Paths
from overlay.datapath.tunnel import Holder, Tunnel
from overlay.dns.registry import NameRegistry
from overlay.dns.resolver import Resolver
from overlay.effects import (
    Broadcast,
    Effect,
    Log,
    Notify,
    Persist,
    RemoveForwarding,
    Reply,
    ResizeTunnel,
    SetForwarding,
    Unicast,
)
from overlay.env import Random
from overlay.inputs import (
    AddressBatch,
    Allocate,
    AskClocks,
    Attached,
    CancelRequest,
    CarriersChanged,
    ChangePolicy,
    Claim,
    Computed,
    Connect,
    Datagram,
    Deliver,
    Detached,
    DialFailed,
    DnsQuery,
    Enforcing,
    Forget,
    HostReaddressed,
    Idle,
    Input,
    Leave,
    NameServers,
    NeighbourMoved,
    NeighboursChanged,
    NeighboursLost,
    OriginChanged,
    PathsChanged,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    PoliciesChanged,
    PolicyEnforced,
    Prime,
    ProbeHeard,
    QuarantineChanged,
    RegisterName,
    RegisterNames,
    Release,
    RemovePeer,
    RemovePolicies,
    RoutesChanged,
    TcpClosed,
    TcpMessage,
    TcpOpened,
    TrafficSeen,
    UnregisterName,
    UnregisterNames,
    Wake,
)
from overlay.ipam.ipam import Ipam
from overlay.ipam.space import CHANNEL as IPAM
from overlay.mesh.mesh import Mesh
from overlay.mesh.report import report as mesh_report
from overlay.policy.directory import Said
from overlay.policy.policies import Policies
from overlay.replicated.channel import Channel
from overlay.stored import understood
from overlay.view import PeerView
from overlay.wire.envelopes import News

_INWARD = frozenset((Notify, Broadcast, Unicast, ResizeTunnel, SetForwarding, RemoveForwarding))
"""Effects that concern the node itself (the last two also its driver); all others are for the driver."""

_SAME_DUE = frozenset(
    (
        Wake, NeighbourMoved, RoutesChanged, TcpOpened, TcpClosed, DialFailed, Computed, NeighboursChanged, ProbeHeard,
        TrafficSeen,
    )
)  # fmt: skip
"""Inputs that concern only the mesh or path choice, so `_others_due` stays valid. `_wake` updates it itself."""

UID_KEY = "uid"
MAX_NICKNAMES = 4096


class NodePart(Protocol):
    """A part that has a deadline."""

    def handle(self, input: Any, now: int) -> list[Effect]: ...

    def deadline(self) -> int | None: ...


class Node:
    """One peer. See the core contract in `docs/design.md`.

    `stored` is what `Persist` wrote in earlier runs. `boot` is the wall clock at the start, in nanoseconds, or 0 if
    there is none; with it a peer that lost its disk still gets a higher incarnation than before. `crypto` is needed if
    the configuration has a password.
    """

    def __init__(
        self, config: Config, rng: Random, stored: Mapping[str, bytes], boot: int, crypto: Crypto | None = None
    ) -> None:
        self.config = config
        self.uid = _next_uid(stored.get(UID_KEY, b""), boot, rng)
        self.ipam = Ipam(config, rng, stored)
        self.endpoints = Endpoints(config, self.uid, stored, self.ipam.rightful_holder, self._addresses)
        self.registry = NameRegistry(config, self.uid, stored)
        self.resolver = Resolver(config, self.registry, rng)
        plan = self.endpoints.plan
        self.policies = Policies(config, self.uid, stored, self._members, lambda: plan.generation)
        channels: list[Channel] = [
            self.ipam.channel,
            self.registry.channel,
            self.endpoints.channel,
            self.policies.channel,
        ]
        self.mesh = Mesh(config, self.uid, rng, channels, stored, crypto)
        self.ipam.expect(self.mesh.dialler.explicit)
        self.paths = Paths(config, rng)
        topology = self.mesh.topology
        holder = Holder(plan.holder, self.mesh.routes, topology.uid_of, self._carried)
        self.tunnel = Tunnel(config.name, self.uid, holder, config.hold)
        """The hot path, which the driver calls; see its docstring."""
        self._nicknames: dict[PeerName, str] = {}
        self._ring = self.ipam.ring
        self._ring_seen = self._ring.digest
        self._seen: tuple[object, ...] = ()
        self._others_due: int | None = None
        self._others_stale = True
        """Deadlines other than those of the mesh and path choice may have changed."""

        mesh, ipam, registry = self.mesh.handle, self.ipam.handle, self.registry.handle
        endpoints, policies, paths = self.endpoints.handle, self.policies.handle, self.paths.handle
        self._handlers: dict[type[Input], tuple[Callable[[Any, int], list[Effect]], ...]] = {
            Wake: (self._wake,),
            TcpOpened: (mesh,),
            DialFailed: (mesh,),
            TcpMessage: (mesh,),
            TcpClosed: (mesh,),
            Datagram: (mesh,),
            Computed: (mesh,),
            Connect: (ipam, mesh),
            Forget: (ipam, mesh),
            Leave: (mesh,),
            AskClocks: (mesh,),
            HostReaddressed: (mesh,),
            Prime: (ipam,),
            Allocate: (ipam,),
            Claim: (ipam,),
            Release: (ipam,),
            AddressBatch: (ipam,),
            Idle: (ipam,),
            CancelRequest: (ipam,),
            RemovePeer: (self._remove_peer,),
            Attached: (endpoints,),
            Detached: (endpoints, registry),
            RegisterName: (registry,),
            UnregisterName: (registry,),
            RegisterNames: (registry,),
            UnregisterNames: (registry,),
            ChangePolicy: (policies,),
            RemovePolicies: (policies,),
            PoliciesChanged: (policies,),
            NameServers: (policies,),
            PolicyEnforced: (policies,),
            Enforcing: (endpoints,),
            DnsQuery: (self.resolver.handle,),
            Deliver: (self._deliver,),
            OriginChanged: (self._origin_changed,),
            PeersChanged: (self._remember_nicknames, endpoints, registry, ipam),
            PathsChanged: (endpoints,),
            NeighboursChanged: (self._tell_tunnel, paths),
            NeighboursLost: (endpoints,),
            NeighbourMoved: (self._tunnel_follows,),
            RoutesChanged: (self._tunnel_forgets,),
            CarriersChanged: (self._tunnel_forgets, endpoints),
            ProbeHeard: (paths,),
            TrafficSeen: (paths,),
            PeerLeft: (self._tunnel_drops, endpoints, registry, ipam),
            PeerForgotten: (self._tunnel_drops, endpoints, registry, ipam),
            QuarantineChanged: (registry,),
        }
        """The handlers of each input, in order."""
        self._sleepers: tuple[NodePart, ...] = (self.ipam, self.endpoints, self.paths, self.policies)
        self._path_timers = self.paths.timers
        """Used directly, because probes come often and change no other deadline."""

    # --- contract -------------------------------------------------------------------------------------------------

    def start(self, now: int, adopted: tuple[str, ...] = ()) -> list[Effect]:
        """Called once, before anything else. The new incarnation is on disk before any peer learns it.

        `adopted`: the hosts to which the kernel sends broadcasts since an earlier daemon, none after a reboot.
        """
        effects: list[Effect] = [Persist(UID_KEY, str(self.uid).encode())]
        if self.mesh.keyring is not None:
            effects += self.mesh.keyring.start()
        effects += self.endpoints.start(now, adopted)
        effects += self.registry.start(now)
        effects += self.policies.start(now)
        return self._resolve(effects, now)

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Handle an input and return the effects. Raises TypeError for an unknown input type."""
        if type(input) is Datagram:  # the most frequent input; concerns no other core
            effects = self.mesh.handle(input, now)
            return self._resolve(effects, now) if effects else effects
        if type(input) is TcpMessage:
            # Gossip may change the ring; the other cores get their changes as separate inputs.
            if type(input.message) is News:
                self._others_stale = self._others_stale or any(name == IPAM for name, _ in input.message.items)
            effects = self.mesh.handle(input, now)
        else:
            effects = self._route(input, now)
        if effects:
            effects = self._resolve(effects, now)
        if self._ring.digest != self._ring_seen:
            self._ring_seen = self._ring.digest
            self._others_stale = True
            effects += self._resolve(self.endpoints.recheck(now), now)
        if self.policies.watching:
            # First of all, because frames must not be forwarded to a container that the packet filter does not know
            # yet.
            settled = self.policies.settle(now)
            if settled:
                self._others_stale = True
                effects = self._resolve(settled, now) + effects
        return effects

    def deadline(self) -> int | None:
        """When `Wake` is due."""
        if self._others_stale:
            self._others_due = self._first_of_others()
            self._others_stale = False
        first = self.mesh.deadline()
        for due in (self._others_due, self._path_timers.first):
            if due is not None and (first is None or due < first):
                first = due
        return first

    def _first_of_others(self) -> int | None:
        dues = (self.ipam.deadline(), self.endpoints.deadline(), self.policies.deadline())
        return min([due for due in dues if due is not None], default=None)

    def surrender(self, now: int) -> list[Effect]:
        """Give this peer's address space to another, before its state is wiped (`reset`)."""
        self._others_stale = True
        return self._resolve(self.ipam.surrender(now), now)

    def check_invariants(self) -> None:
        """Assert the invariants of every part."""
        for core in (self.mesh, self.ipam, self.registry, self.endpoints, self.policies):
            core.check_invariants()
        assert self._others_stale or self._others_due == self._first_of_others(), "the deadline is an old one"

    # --- queries --------------------------------------------------------------------------------------------------

    def view(self, now: int) -> PeerView:
        """The current state. `view_changed` is False until it changes (counters do not count)."""
        self._seen = self._beliefs()
        nickname = self.mesh.topology.nickname
        return PeerView(
            f"{self.mesh.topology_digest:016x}",
            f"{self.ipam.ring_digest:016x}",
            f"{self.registry.dns_digest:016x}",
            f"{self.endpoints.digest:016x}",
            len(self.mesh.reachable),
            tuple(sorted(nickname(peer) for peer in self.mesh.neighbours)),
            self.ipam.share,
            self.mesh.sent_messages,
        )

    def view_changed(self) -> bool:
        """Whether `view` may have changed since its last call. Costs a few comparisons."""
        return self._beliefs() != self._seen

    def _beliefs(self) -> tuple[object, ...]:
        return (
            self.mesh.topology.digest(),
            self.mesh.reachable,
            self.mesh.neighbours,
            self.ipam.ring_digest,
            self.registry.dns_digest,
            self.endpoints.digest,
        )

    def report(self, now: int) -> dict[str, Any]:
        """The complete state, JSON-able; one section for each part."""
        return {
            "version": __version__,
            "mesh": mesh_report(self.mesh, now),
            "ipam": self.ipam.report(now),
            "dns": {**self.registry.report(now), "queries": self.resolver.report()},
            "endpoints": self.endpoints.report(now),
            "policy": self._policy_report(),
            "paths": self.paths.report(now),
            "tunnel": self.tunnel.report(),
        }

    def lookup(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, with or without the domain, sorted."""
        return self.registry.lookup(name)

    def explain(self, source: str, target: str) -> list[str]:
        """Which policies decide on flows between the two, one line each. Raises `UsageError`."""
        return self.policies.explain(source, target, self._closed)

    def _closed(self, peer: PeerName) -> bool:
        if peer == self.config.name:
            return self.config.default_deny
        value = self.endpoints.enforcer(peer)
        return value is not None and value.closed

    def _policy_report(self) -> dict[str, Any]:
        nickname = self.mesh.topology.nickname
        others = (peer for peer in self.mesh.reachable if peer != self.config.name)
        return self.policies.report((peer, nickname(peer), self.endpoints.enforcer(peer)) for peer in others)

    def _addresses(self, peer: PeerName) -> list[Address]:
        return self.mesh.topology.addresses(peer)

    def _members(self) -> Iterator[Said]:
        """The members of the overlay, as policies see them."""
        nickname = self.mesh.topology.nickname
        for (origin, container), value, literals in self.endpoints.members():
            yield origin, nickname(origin), container, value.names, value.labels, literals

    # --- routing --------------------------------------------------------------------------------------------------

    def _route(self, input: Input, now: int) -> list[Effect]:
        kind = type(input)
        if kind not in _SAME_DUE:
            self._others_stale = True
        handlers = self._handlers.get(kind)
        if handlers is None:
            raise TypeError(f"not an input of a node: {input!r}")
        effects: list[Effect] = []
        for handle in handlers:
            effects += handle(input, now)
        return effects

    def _resolve(self, effects: list[Effect], now: int) -> list[Effect]:
        """Execute the effects between the cores. Resulting effects take their place, so causes stay before effects."""
        if _INWARD.isdisjoint(map(type, effects)):
            return effects
        outward: list[Effect] = []
        todo = effects[::-1]
        while todo:
            effect = todo.pop()
            match effect:
                case Notify():
                    assert isinstance(effect.input, Input)
                    todo.extend(reversed(self._route(effect.input, now)))
                case Broadcast():
                    todo.extend(reversed(self.mesh.broadcast(effect.channel, effect.delta, now)))
                case Unicast():
                    todo.extend(reversed(self.mesh.unicast(effect.destination, effect.channel, effect.body, now)))
                case ResizeTunnel():
                    self.tunnel.set_size(effect.peer, effect.size)
                case SetForwarding() | RemoveForwarding():
                    self.tunnel.forget(now)
                    outward.append(effect)
                case _:
                    outward.append(effect)
        return outward

    def _wake(self, input: Wake, now: int) -> list[Effect]:
        effects: list[Effect] = []
        due = self.mesh.deadline()
        if due is not None and due <= now:
            effects += self.mesh.handle(input, now)
        due = self._others_due
        if self._others_stale or (due is not None and due <= now):
            for core in self._sleepers:
                due = core.deadline()
                if due is not None and due <= now:
                    effects += core.handle(input, now)
            self._others_stale = True
        elif self._path_timers.first is not None and self._path_timers.first <= now:
            effects += self.paths.handle(input, now)
        return effects

    def _tell_tunnel(self, input: NeighboursChanged, now: int) -> list[Effect]:
        self.tunnel.set_neighbours(input.neighbours, now)
        return []

    def _tunnel_follows(self, input: NeighbourMoved, now: int) -> list[Effect]:
        self.tunnel.found_at(input.peer, (input.source.host, input.source.port), proven=True)
        return []

    def _tunnel_forgets(self, input: Input, now: int) -> list[Effect]:
        self.tunnel.forget(now)
        return []

    def _tunnel_drops(self, input: PeerLeft | PeerForgotten, now: int) -> list[Effect]:
        self.tunnel.drop(input.peer, now)
        return []

    def _carried(self, peer: PeerName) -> bool:
        """Whether the kernel delivers floods to a neighbour, or still sends them to a lost peer."""
        return self.paths.carried(peer) if self.paths.knows(peer) else bool(self.endpoints.plan.host(peer))

    def _deliver(self, input: Deliver, now: int) -> list[Effect]:
        if input.channel == self.ipam.channel.name:
            return self.ipam.handle(input, now)
        return [Log("debug", f"a unicast of {input.source} for the unknown channel {input.channel!r} is dropped")]

    def _origin_changed(self, input: OriginChanged, now: int) -> list[Effect]:
        if input.channel == self.registry.channel.name:
            return self.registry.handle(input, now)
        return self.endpoints.handle(input, now)

    # --- names of peers -------------------------------------------------------------------------------------------

    def _remember_nicknames(self, input: PeersChanged, now: int) -> list[Effect]:
        """Keep the nicknames of unreachable peers, because `rmpeer` may name them after their records are gone."""
        if len(input.reachable) == len(self.mesh.topology.entries):
            return []  # every reachable peer has a record, so all are reachable
        reachable = input.members
        for name, entry in self.mesh.topology.entries.items():
            if name not in reachable:
                self._nicknames.pop(name, None)
                self._nicknames[name] = entry.record.nickname
        while len(self._nicknames) > MAX_NICKNAMES:
            del self._nicknames[next(iter(self._nicknames))]
        return []

    def _remove_peer(self, input: RemovePeer, now: int) -> list[Effect]:
        known = {**self._nicknames, **{name: record.nickname for name, record in self.mesh.topology.records.items()}}
        peers: Any = self.ipam.report(now)["peers"]
        owners = [peer["name"] for peer in peers]
        if input.peer in known or input.peer in owners:
            found = [input.peer]
        else:
            found = sorted(name for name, nickname in known.items() if nickname == input.peer)
        if len(found) == 1:
            self.mesh.lose(found[0], now)
            self.tunnel.drop(found[0], now)
            return self.ipam.handle(RemovePeer(input.request, found[0]), now)
        if found:
            error = f"{len(found)} peers are called {input.peer}: name one of {', '.join(found)}"
        else:
            error = f"found no peer of the name or nickname {input.peer!r}; `weave status ipam` lists the owners"
        return [Reply(input.request, error=error)]


def _next_uid(stored: bytes, boot: int, rng: Random) -> int:
    """The incarnation of this run: higher than the last one, as far as disk or clock know it.

    Without both it is random, so that two independent runs are not taken for the same.
    """
    with understood(UID_KEY):
        if stored and not (stored.isdigit() and len(stored) < 20):
            raise ValueError("expected a number")
        before = int(stored or b"0")
    return max(before + 1, boot) if before or boot else 1 + rng.getrandbits(32)
