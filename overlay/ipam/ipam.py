"""Address management of one peer: combines ring, first agreement and allocator behind the core contract.

Owns the order of effects (disk, then gossip, then messages and replies) and the channel that gossip sees. Knows nothing
of links or of how messages travel, and of containers only their names.
"""

from collections.abc import Mapping

from overlay.config import Address, Config, PeerName
from overlay.effects import Broadcast, Effect, Log, Reply, Unicast
from overlay.env import Random
from overlay.errors import ConfigError, RemoteError, UsageError
from overlay.inputs import (
    AddressBatch,
    Allocate,
    CancelRequest,
    Claim,
    Connect,
    Deliver,
    Forget,
    Idle,
    Input,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    Prime,
    Release,
    RemovePeer,
    Wake,
)
from overlay.ipam.allocator import Allocator
from overlay.ipam.paxos import Agreement
from overlay.ipam.quarantine import Holder, rightful_holder
from overlay.ipam.ring import CONSENSUS, SEED, Ring, join_deltas, lineage_rank, lineage_text
from overlay.ipam.space import CHANNEL, Space
from overlay.ipam.universe import Universe, parse_address
from overlay.wire.codec import Delta, Vector
from overlay.wire.ring import (
    Decided,
    Lineage,
    PaxosMessage,
    Prepare,
    Propose,
    RingDelta,
    RingVector,
    SpaceDenial,
    SpaceDonation,
    SpaceRequest,
    Trigger,
)


class Ipam:
    """One peer's address management. `channel` is its replicated state."""

    name = CHANNEL

    def __init__(self, config: Config, rng: Random, stored: Mapping[str, bytes]) -> None:
        """`stored` is what `Persist` wrote in earlier runs. Raises `ConfigError` and `EnvironmentProblem`."""
        if config.ipam_init == "seed" and not config.seed:
            raise ConfigError("ipam_init is `seed` but the seed names no peer; give the names, equal on every peer")
        self._config = config
        self._universe = Universe(config.iprange, config.default_subnet)
        self._space = Space(config.name, self._universe, stored, config.tuning)
        self._agreement = Agreement(config, self._universe.text, rng, stored)
        self._allocator = Allocator(self._space, rng, config.tuning)
        self._reachable: tuple[PeerName, ...] = (config.name,)
        self._primes: dict[int, None] = {}
        self._clashes: dict[str, int] = {}
        """Other address ranges seen in gossip, and when."""
        self._gift: RingDelta | None = None
        """Ring changes received by unicast that gossip has not delivered yet."""
        self._gift_due = 0
        if config.ipam_init == "seed" and self._space.ring.lineage is None:
            self._space.found(SEED, tuple(sorted(set(config.seed))), 0)

    # --- the core contract ------------------------------------------------------------------------------------

    @property
    def channel(self) -> "Ipam":
        """The channel for gossip: an `overlay.replicated.channel.Channel`."""
        return self

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Handle address commands, `Connect` and `Forget` (no reply), and inputs about peers."""
        agreement, allocator = self._agreement, self._allocator
        effects: list[Effect] = []
        match input:
            case Allocate() | Claim() | Release():
                effects = self._request(input)
            case AddressBatch():
                for each in input.requests:
                    effects += self._request(each)
            case Idle():
                allocator.set_idle(input.container, input.idle)
            case Prime():
                self._primes[input.request] = None
            case CancelRequest():
                allocator.cancel(input.request)
                self._primes.pop(input.request, None)
            case RemovePeer():
                effects = self._remove_peer(input, now)
            case Connect():
                agreement.expect(input.addresses, input.replace)
            case Forget():
                effects = agreement.forget(input.addresses, now)
            case PeersChanged():
                self._reachable = input.reachable
                allocator.peers_changed(input.reachable)
                effects = agreement.peers_changed(input.reachable, now)
            case PeerLeft() | PeerForgotten():
                effects = agreement.drop(input.peer, now)
            case Deliver():
                effects = self._deliver(input, now)
            case Wake():
                effects = agreement.wake(now)
            case _:
                raise TypeError(f"not an input of address management: {input!r}")
        return self._finish(effects, now)

    def deadline(self) -> int | None:
        """When `Wake` is due, in nanoseconds."""
        # Called after nearly every message, so written as a plain loop.
        first = None if self._gift is None else self._gift_due
        for part in (self._agreement, self._allocator, self._space):
            due = part.deadline()
            if due is not None and (first is None or due < first):
                first = due
        return first

    def expect(self, addresses: tuple[Address, ...]) -> None:
        """Count the peers at these addresses, dialled since an earlier run, as electors of a first agreement."""
        self._agreement.expect(addresses, replace=False)

    def surrender(self, now: int) -> list[Effect]:
        """Give all space to the lowest reachable peer of the ring, before this peer's state is wiped (`reset`).

        If no peer of the ring is reachable, any reachable peer gets it; if no peer is, the space stays (`rmpeer` frees
        it).
        """
        others = [peer for peer in self._reachable if peer != self._config.name]
        owners = [peer for peer in self._space.ring.owners() if peer in others]
        if not self._space.extents:
            return []
        if not others:
            return [
                Log("warning", f"nobody takes this peer's addresses; on another: `weave rmpeer {self._config.name}`")
            ]
        heir = min(owners or others)
        tokens = self._space.hand_over(heir)
        message = Decided(self._space.ring.delta(tokens))
        return [*self._space.flush(now), Unicast(heir, CHANNEL, message)]

    # --- parts ------------------------------------------------------------------------------------------------

    def _finish(self, effects: list[Effect], now: int) -> list[Effect]:
        """After any change: agree or answer, then put the `Persist` effects first."""
        agreement, space = self._agreement, self._space
        if self._gift is not None and now >= self._gift_due:
            effects = self._open_gift(now) + effects
        if space.ring.lineage is None:
            if self._primes or self._allocator.pending:
                effects = effects + agreement.start(now)
            if agreement.decided is not None:
                space.found(CONSENSUS, agreement.decided.founders, agreement.decided.nonce)
        if space.ring.lineage is not None:
            agreement.stop()
            if self._primes:
                effects = effects + [Reply(request) for request in self._primes]
                self._primes.clear()
            effects = effects + self._allocator.settle(now)
        return space.flush(now) + effects

    def _request(self, input: Allocate | Claim | Release) -> list[Effect]:
        match input:
            case Allocate():
                return self._allocator.allocate(input.request, input.container, input.subnet)
            case Claim():
                return self._allocator.claim(input.request, input.container, input.address)
            case Release():
                return self._allocator.release(input.request, input.container, input.address)

    def _remove_peer(self, input: RemovePeer, now: int) -> list[Effect]:
        peer = input.peer
        if peer == self._config.name:
            return [Reply(input.request, error=f"{peer} is this peer; `weave reset` hands its addresses to another")]
        if peer in self._reachable:
            text = f"peer {peer} is reachable, so it is not dead; `weave reset` there hands its addresses to another"
            return [Reply(input.request, error=text)]
        count = self._space.take_over(peer)
        text = f"{count} addresses of peer {peer} taken over"
        return [*self._agreement.drop(peer, now), Reply(input.request, text), Log("info", text)]

    def _deliver(self, input: Deliver, now: int) -> list[Effect]:
        source, ring = input.source, self._space.ring
        match input.body:
            case SpaceRequest() as request:
                if request.range != self._universe.text:
                    return self._clash(request.range, now)
                return self._allocator.serve(source, request)
            case SpaceDonation() as donation:
                effects = self._put_by(donation.ring, now)
                self._allocator.donated(source, donation.nonce, ring.knows(donation.ring), now)
                return effects
            case SpaceDenial() as denial:
                return self._put_by(denial.ring, now) + self._allocator.denied(source, denial, now)
            case Decided() as decided:
                return self._put_by(decided.ring, now)
            case body if isinstance(body, PaxosMessage):
                if ring.lineage is None:
                    return self._agreement.deliver(source, body, now)
                if not isinstance(body, Trigger | Prepare | Propose):
                    return []
                if body.range != self._universe.text:
                    return self._agreement.deliver(source, body, now)
                return [Unicast(source, CHANNEL, Decided(ring.whole()))]
            case _:
                raise TypeError(f"not a message of address management: {input.body!r}")

    def _put_by(self, delta: RingDelta, now: int) -> list[Effect]:
        """Keep ring changes received by unicast, in case gossip does not deliver them soon.

        If they were merged at once, they would not be new when gossip delivers them, and this peer would not pass them
        on.
        """
        try:
            self._check(delta, now)
        except RemoteError as error:
            return [Log("warning", str(error))]
        if not self._space.ring.knows(delta):
            if self._gift is None:
                self._gift_due = now + self._config.tuning.ipam_gossip_time
            self._gift = delta if self._gift is None else join_deltas(self._gift, delta)
        return []

    def _open_gift(self, now: int) -> list[Effect]:
        gift, self._gift = self._gift, None
        assert gift is not None
        news, effects = self._take_in(gift, now)
        return effects if news is None else [Broadcast(CHANNEL, news), *effects]

    def _clash(self, other: str, now: int) -> list[Effect]:
        self._clashes[other] = now
        return []

    def _take_in(self, delta: RingDelta, now: int) -> tuple[RingDelta | None, list[Effect]]:
        """Merge; returns the part that was new, and log effects."""
        self._check(delta, now)
        ring = self._space.ring
        effects: list[Effect] = []
        old, extents = ring.lineage, self._space.extents
        if old is not None and lineage_rank(delta.lineage) > lineage_rank(old):
            text = f"another network's ring won over this one's ({lineage_text(old)} lost); now part of that network"
            effects.append(Log("warning", text))
        changed = self._space.merge(delta.lineage, delta.tokens, now)
        if not changed and ring.lineage == old:
            return None, effects
        self._allocator.ring_changed(gained=self._space.extents != extents)
        return ring.delta(changed), effects

    def _check(self, delta: RingDelta, now: int) -> None:
        if delta.range != self._universe.text:
            self._clash(delta.range, now)
            raise RemoteError(
                f"a peer divides the address range {delta.range}, this one {self._universe.text}; "
                f"`weave reset` and launch one of them again with the same range"
            )
        for token in delta.tokens:
            if not token.start <= token.last < self._universe.size:
                raise RemoteError(
                    f"a token from {token.start} to {token.last} is not in the range of {self._universe.size} addresses"
                )

    # --- the channel ------------------------------------------------------------------------------------------

    def digest(self) -> int:
        """See `Channel`."""
        return self._space.ring.digest

    def vector(self) -> RingVector:
        """See `Channel`."""
        return self._space.ring.vector()

    def missing(self, vector: Vector, named: bool = False) -> RingDelta | None:
        """See `Channel`; an empty delta for a sender with another range, to name our range."""
        assert isinstance(vector, RingVector)
        if vector.range != self._universe.text:
            return self._other_range(vector)
        return self._space.ring.missing(vector, named)

    def lacking(self, vector: Vector) -> RingVector | None:
        """See `Channel`. A sender with another range is asked too, because its reply names its range."""
        assert isinstance(vector, RingVector)
        ring = self._space.ring
        return ring.lacking(vector) if vector.range == self._universe.text else RingVector(ring.range, ring.lineage, ())

    def _other_range(self, vector: RingVector) -> RingDelta | None:
        # The delta's range tells the other side about the clash, so it can report it too.
        return None if self._space.ring.lineage is None else self._space.ring.delta(())

    def merge(self, delta: Delta, now: int) -> tuple[RingDelta | None, list[Effect]]:
        """See `Channel`. Raises `RemoteError` for another range, or a token outside of the range."""
        assert isinstance(delta, RingDelta)
        news, effects = self._take_in(delta, now)
        return news, self._finish(effects, now)

    def join(self, *deltas: Delta) -> RingDelta:
        """See `Channel`."""
        rings = [delta for delta in deltas if isinstance(delta, RingDelta)]
        assert len(rings) == len(deltas)
        return join_deltas(*rings)

    def check_invariants(self) -> None:
        """See `Channel`."""
        self._space.check_invariants()

    # --- queries ----------------------------------------------------------------------------------------------

    @property
    def ring(self) -> Ring:
        """The ring, read-only. Always the same object, even before there is a ring."""
        return self._space.ring

    @property
    def ring_digest(self) -> int:
        """Equal on two peers with equal rings; 0 without one."""
        return self._space.ring.digest

    @property
    def share(self) -> float:
        """The fraction of the range that this peer owns, 0 to 1."""
        return self._space.share()

    @property
    def owned(self) -> tuple[Lineage | None, tuple[tuple[int, int], ...]]:
        """The ring's lineage (None without a ring) and the extents that this peer owns: (first, end), offsets."""
        return self._space.ring.lineage, tuple(self._space.extents)

    @property
    def ready(self) -> bool:
        """Whether there is a ring, so that addresses can be allocated."""
        return self._space.ring.lineage is not None

    def addresses(self, container: str) -> tuple[str, ...]:
        """The addresses of `container` on this host, each "a.b.c.d/n"."""
        return self._space.holdings.of(container)

    def by_container(self) -> dict[str, list[str]]:
        """The addresses of each container on this host."""
        return self._space.holdings.by_container()

    def rightful_holder(self, address: str, holders: list[Holder]) -> Holder:
        """Which of the (peer, container)s that announce `address` (a literal) keeps it; see `quarantine`."""
        try:
            offset = self._universe.offset(parse_address(address))
        except UsageError:
            offset = None
        return rightful_holder(None if offset is None else self._allocator.owner(offset), holders)

    def report(self, now: int) -> dict[str, object]:
        """The JSON-able data of `weave status ipam`."""
        ring = self._space.ring
        peers = [
            {
                "name": peer,
                "owned": ring.owned(peer),
                "share": ring.owned(peer) / ring.size,
                "reachable": peer in self._reachable,
            }
            for peer in ring.owners()
        ]
        pending = [
            {
                "request": pending.request,
                "container": pending.container,
                "wants": pending.text,
                "claim": pending.subnet is None,
            }
            for pending in self._allocator.pending.values()
        ]
        return {
            "range": self._universe.text,
            "default_subnet": self._universe.default_subnet.text,
            "init": self._config.ipam_init,
            "ready": self.ready,
            "lineage": None if ring.lineage is None else lineage_text(ring.lineage),
            "complete": ring.complete(),
            "tokens": len(ring.slots),
            "size": ring.size,
            "entries": [
                {
                    "start": self._universe.address(start),
                    "size": slot.end - start,
                    "owner": slot.owner,
                    "version": slot.version,
                }
                for start, slot in sorted(ring.slots.items())
            ],
            "peers": peers,
            "pending": pending,
            "waiting": self._agreement.waiting_for(now) if self._agreement.wanted else "",
            "conflicts": self._conflicts(now),
            "addresses": self._space.holdings.by_container(),
        }

    def _conflicts(self, now: int) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        allocator = self._allocator
        for offset in self._space.disowned():
            owner = allocator.owner(offset) or ""
            conflict = {
                "kind": "unconfirmed",
                "address": self._universe.address(offset),
                "container": self._space.holdings.holder(offset) or "",
                "owner": owner,
                "holder": "",
                "remedy": f"settles itself when peer {owner} is reachable; `weave rmpeer {owner}` if it will never be",
            }
            if offset in allocator.contested:
                peer, holder = allocator.contested[offset]
                conflict |= {"kind": "quarantined", "owner": peer, "holder": holder, "remedy": allocator.remedy(offset)}
            found.append(conflict)
        ranges = {
            text: "" for text, heard in self._clashes.items() if now - heard < self._config.tuning.ipam_clash_memory
        }
        ranges |= {text: peer for peer, text in self._agreement.other_ranges.items()}
        for text, peer in sorted(ranges.items()):
            remedy = f"`weave reset`, then launch with --ipalloc-range {text} here (or {self._universe.text} there)"
            found.append({"kind": "range", "range": text, "owner": peer, "remedy": remedy})
        return found
