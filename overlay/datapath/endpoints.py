"""The containers' ports of all peers: announces this host's ports, and keeps the forwarding plan to all others.

Owns the channel `endpoints`, the hold of peers that were lost without a farewell, and the stored list of this host's
ports. Must not know the kernel (the driver applies the plan) nor how gossip travels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_interface
from typing import Any

import msgspec

from overlay.config import Address, Config, PeerName
from overlay.crypto.secure_peer import SecurePeer
from overlay.datapath.announcer import Announcer
from overlay.datapath.claims import Arbiter, EndpointClaim, EndpointId, Standing
from overlay.datapath.plan import ForwardingPlan
from overlay.effects import Broadcast, Effect, Log, Notify, Persist, SetSecurePeers, SetSources
from overlay.env import MILLISECOND
from overlay.errors import UsageError
from overlay.inputs import (
    Attached,
    CarriersChanged,
    Detached,
    Enforcing,
    Input,
    NeighboursLost,
    OriginChanged,
    PathsChanged,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    Wake,
)
from overlay.replicated.interned import shared
from overlay.replicated.origin_map import OriginMap
from overlay.stored import decode
from overlay.wire.origins import (
    ENFORCER,
    MAX_LABELS,
    MAX_NAMES,
    Change,
    EndpointValue,
    EnforcerValue,
    OriginDelta,
    Value,
)

CHANNEL = "endpoints"
STORE_KEY = "endpoints"
_NONE_LOST = NeighboursLost((), ())
GRAIN = 50 * MILLISECOND
"""Detour timers end at multiples of this, so that peers lost shortly after one another share one wake-up."""


class Endpoints:
    """The data path's core of one peer.

    Ports that were attached before a restart are announced again at once, so that forwarding on other peers does not
    flicker. Ports that are not `Attached` again within `endpoint_recovery` are withdrawn.
    """

    def __init__(
        self,
        config: Config,
        uid: int,
        stored: Mapping[str, bytes],
        arbiter: Arbiter,
        addresses: Callable[[PeerName], list[Address]],
    ) -> None:
        """`addresses`: where a peer is, as its neighbours report it; used for a peer without a path of its own."""
        self._config = config
        self._addresses = addresses
        self._own = config.name
        self._newcomer, self._patience = config.tuning.detour_newcomer, config.tuning.detour_lost
        self.channel = OriginMap(CHANNEL, config.name, uid, config.tuning)
        self._plan = ForwardingPlan(config.name, arbiter)
        self._announcer = Announcer()
        self._stored: list[EndpointValue] = []
        if STORE_KEY in stored:
            self._stored = decode(STORE_KEY, stored[STORE_KEY], list[EndpointValue])
        self._unconfirmed: dict[str, None] = {}
        self._paths: dict[PeerName, str] = {}
        self._tunnelled: frozenset[PeerName] = frozenset()
        self._losing = _NONE_LOST
        """Neighbours that were lost, until `PathsChanged`: they are tunnelled no more, but their frames must not move
        to the kernel's path for this. Those whose path was silent take a detour as soon as newcomers."""
        self._last_host: dict[PeerName, str] = {}
        """The host to which the kernel last sent a peer's frames; it is used during the peer's hold."""
        self._senders: dict[PeerName, str | SecurePeer] = {}
        """The accepted senders of VXLAN packets, by host or within WireGuard: neighbours, and lost peers until their
        frames take another path."""
        self._sources: tuple[str, ...] = ()
        """The senders in the last `SetSources`."""
        self._secure: tuple[SecurePeer, ...] = ()
        self._senders_stale = False
        self._unreachable_since: dict[PeerName, int] = {}
        self._pathless_since: dict[PeerName, int] = {}
        self._newcomers: dict[PeerName, int] = {}
        self._lost: dict[PeerName, int] = {}
        """Since when a reachable peer has had no connection: after `detour_newcomer` or `detour_lost` its frames are
        relayed by other peers. Both are in order of time; a peer is in at most one of them."""
        self._detour_since = 0
        self._left: dict[PeerName, None] = {}
        self._accused: dict[PeerName, None] = {}
        self._recovery_at: int | None = None
        self._adopted_until: int | None = None
        self._handlers: dict[type[Input], Callable[[Any, int], list[Effect]]] = {
            Attached: self._attached,
            Detached: self._detached,
            Enforcing: self._enforcing,
            OriginChanged: self._origin_changed,
            PeersChanged: self._peers_changed,
            NeighboursLost: self._neighbours_lost,
            PathsChanged: self._paths_changed,
            CarriersChanged: self._carriers_changed,
            PeerLeft: self._peer_left,
            PeerForgotten: self._peer_forgotten,
            Wake: self._wake,
        }

    def start(self, now: int, adopted: tuple[str, ...] = ()) -> list[Effect]:
        """Announce the ports of the earlier run, until they are attached again or `endpoint_recovery` has passed.

        `adopted`: the hosts to which the kernel sends since an earlier daemon. It continues, and accepts their packets,
        until a peer on that host has a path or takes a detour, at most for the hold: the first peer that connects must
        not cut off those that connect a moment later.
        """
        if adopted:
            self._plan.adopt(adopted)
            self._sources = tuple(sorted(adopted))
            self._adopted_until = now + self._config.hold
        for value in self._stored:
            claim = _claim.of(value)
            if claim is not None:
                self._unconfirmed[value.container] = None
                self.channel.put(value.container, value)
                self._plan.announce(self._own, value.container, claim)
        if self._unconfirmed:
            self._recovery_at = now + self._config.tuning.endpoint_recovery
        effects = self._plan.flush()
        self._plan.take_news()  # announced in the earlier run
        return effects

    def recheck(self, now: int) -> list[Effect]:
        """The ring has changed, so the arbiter may decide differently: decide all duplicates again."""
        self._plan.recheck()
        effects = self._plan.flush()
        effects.extend(self._tell(now))
        return effects

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Handle `input` and return the effects. Raises KeyError for an input that does not belong to the data path."""
        effects = self._handlers[type(input)](input, now)
        effects.extend(self._tell(now))
        return [*self._let_in(), *effects] if self._senders_stale else effects

    def _tell(self, now: int) -> list[Effect]:
        """Update this host's neighbour caches, after the kernel forwards to the new MAC."""
        for literal, (mac, changed) in self._plan.take_news().items():
            if mac:
                self._announcer.add(literal, mac, changed)
            else:
                self._announcer.drop(literal)
        return self._announcer.take(now)

    def _let_in(self) -> list[Effect]:
        """Changes to the senders whose packets the kernel accepts."""
        self._senders_stale = False
        effects: list[Effect] = []
        hosts = {host for host in self._senders.values() if isinstance(host, str)}
        sources = tuple(sorted(hosts.union(self._plan.adopted)))
        if sources != self._sources:
            self._sources = sources
            effects.append(SetSources(sources))
        secure = tuple(peer for _, peer in sorted(self._senders.items()) if isinstance(peer, SecurePeer))
        if secure != self._secure:
            self._secure = secure
            effects.append(SetSecurePeers(secure))
        return effects

    def deadline(self) -> int | None:
        first = self._announcer.deadline()
        if self._recovery_at is not None and (first is None or self._recovery_at < first):
            first = self._recovery_at
        if self._adopted_until is not None and (first is None or self._adopted_until < first):
            first = self._adopted_until
        hold = self._config.hold
        for since, delay in (
            (self._unreachable_since, hold),
            (self._pathless_since, hold),
            (self._newcomers, self._newcomer),
            (self._lost, self._patience),
        ):
            if since:  # the delay is the same for all, so the first entry expires first
                due = next(iter(since.values())) + delay
                if first is None or due < first:
                    first = due
        return first

    # --- this host's ports ------------------------------------------------------------------------------------------

    def _attached(self, input: Attached, now: int) -> list[Effect]:
        try:
            value = endpoint_value(input.container, input.mac, input.addresses, input.names, input.labels)
        except UsageError as error:
            return [Log("error", str(error))]
        claim = _claim.of(value)
        assert claim is not None
        effects = self._evict_unconfirmed(input.container, claim, now)
        self._unconfirmed.pop(input.container, None)
        if self.channel.get(self._own, input.container) != value:
            self._plan.announce(self._own, input.container, claim)
            effects.extend(self._publish(self.channel.put(input.container, value)))
        return effects

    def _detached(self, input: Detached, now: int) -> list[Effect]:
        self._unconfirmed.pop(input.container, None)
        delta = self.channel.remove(input.container)
        if delta is None:
            return []
        self._plan.announce(self._own, input.container, None)
        return self._publish(delta)

    def _enforcing(self, input: Enforcing, now: int) -> list[Effect]:
        """Announce how this peer enforces policies. Not stored, because the next run announces its own."""
        if self.channel.get(self._own, ENFORCER) == input.value:
            return []
        return [Broadcast(CHANNEL, self.channel.put(ENFORCER, input.value))]

    def _evict_unconfirmed(self, container: str, claim: EndpointClaim, now: int) -> list[Effect]:
        """Withdraw ports of the earlier run whose MAC or address now belongs to another container of this host."""
        effects: list[Effect] = []
        for other in list(self._unconfirmed):
            theirs = self._plan.claim(self._own, other)
            if other == container or theirs is None:
                continue
            if theirs.mac == claim.mac or any(literal in claim.literals for literal in theirs.literals):
                effects.extend(self._detached(Detached(other), now))
                effects.append(Notify(Detached(other)))  # for the other cores; this core does it here, before the claim
        return effects

    def _publish(self, delta: OriginDelta) -> list[Effect]:
        """Broadcast first, because nothing that is sent depends on the stored data."""
        values = [value for _, value in self.channel.entries_of(self._own) if isinstance(value, EndpointValue)]
        effects: list[Effect] = [Broadcast(CHANNEL, delta)]
        effects.extend(self._plan.flush())
        effects.append(Persist(STORE_KEY, msgspec.msgpack.encode(values)))
        return effects

    # --- other peers ------------------------------------------------------------------------------------------------

    def _origin_changed(self, input: OriginChanged, now: int) -> list[Effect]:
        for change in input.changes:
            self._left.pop(change.origin, None)
            if self._plan.host(change.origin) is None and self.channel.reaches(change.origin):
                self._detour(change.origin, now, self._patience if self._is_adopted(change.origin) else self._newcomer)
        effects = self._announce(input.changes)
        effects.extend(self._plan.flush())
        return effects

    def _announce(self, changes: tuple[Change, ...]) -> list[Effect]:
        """Update the plan. A malformed endpoint counts as absent, and is logged once per peer."""
        effects: list[Effect] = []
        for change in changes:
            if change.key == ENFORCER:  # not an endpoint
                continue
            claim = _claim.of(change.new) if change.new is not None else None
            if isinstance(change.new, EndpointValue) and change.new.container != change.key:
                claim = None
            if change.new is not None and claim is None and change.origin not in self._accused:
                self._accused[change.origin] = None
                text = f"peer {change.origin} announces an endpoint that makes no sense and is ignored: {change.new}"
                effects.append(Log("warning", text))
            self._plan.announce(change.origin, change.key, claim)
        return effects

    def _peers_changed(self, input: PeersChanged, now: int) -> list[Effect]:
        came, gone = self.channel.changed(input.reachable)
        effects: list[Effect] = []
        for peer in came:
            self._left.pop(peer, None)
            self._unreachable_since.pop(peer, None)
            news, changes = self.channel.admit(peer)
            if news is not None:
                effects.append(Broadcast(CHANNEL, news))
            effects.extend(self._announce(changes))
            self._plan.stand(peer, Standing.REACHABLE)
            if peer not in self._paths:
                self._detour(
                    peer,
                    now,
                    self._patience if self._plan.host(peer) or self._is_adopted(peer) else self._newcomer,
                )
        for peer in gone:
            self.channel.retire(peer)
            if peer in self._left:
                self._plan.stand(peer, Standing.GONE)
            else:
                self._unreachable_since[peer] = now
                self._detoured(peer)
                self._plan.stand(peer, Standing.HELD)
                if peer not in self._paths:
                    self._place(peer)
                    self._pathless_since.setdefault(peer, now)
        effects.extend(self._plan.flush())
        return effects

    def _neighbours_lost(self, input: NeighboursLost, now: int) -> list[Effect]:
        self._losing = input
        return []

    def _paths_changed(self, input: PathsChanged, now: int) -> list[Effect]:
        silent, self._losing = self._losing.silent, _NONE_LOST
        before, self._paths = self._paths, dict(input.paths)
        self._senders.update(self._paths)
        self._paths.update((peer, secure.address) for peer, secure in input.secure)
        self._senders.update(input.secure)
        self._senders_stale = True
        for peer in self._paths:
            self._pathless_since.pop(peer, None)
            self._detoured(peer)
            self._place(peer)
        for peer in before:
            if peer in self._paths:
                continue
            if peer in self._left or self._plan.standing(peer) is Standing.GONE:
                self._plan.move(peer, None)
                self._no_sender(peer)
            else:
                self._pathless_since[peer] = now
                if self.channel.reaches(peer):
                    self._detour(peer, now, self._newcomer if peer in silent else self._patience)
        return self._plan.flush()

    def _carriers_changed(self, input: CarriersChanged, now: int) -> list[Effect]:
        self._tunnelled = frozenset(input.tunnelled)
        for peer in self._paths:
            if peer not in self._losing.peers:
                self._place(peer)
        return self._plan.flush()

    def _detour(self, peer: PeerName, now: int, delay: int) -> None:
        """Relay frames for `peer` over other peers after it has had no connection for `delay` (one of the two)."""
        self._detoured(peer)
        since = now + -now % GRAIN
        if since != self._detour_since:  # one number for all peers of a time
            self._detour_since = since
        (self._newcomers if delay == self._newcomer else self._lost)[peer] = self._detour_since

    def _detoured(self, peer: PeerName) -> None:
        """Cancel the detour timer of `peer`."""
        self._newcomers.pop(peer, None)
        self._lost.pop(peer, None)

    def _no_sender(self, peer: PeerName) -> None:
        self._senders_stale = self._senders.pop(peer, None) is not None or self._senders_stale

    def _is_adopted(self, peer: PeerName) -> bool:
        adopted = self._plan.adopted
        return bool(adopted) and any(address.host in adopted for address in self._addresses(peer))

    def _release(self, hosts: Iterable[str]) -> None:
        self._senders_stale = self._plan.release(hosts) or self._senders_stale

    def _place(self, peer: PeerName) -> None:
        """Tell the plan where frames for `peer` go: by the kernel to its host, or into the tunnel, perhaps relayed."""
        host = self._paths.get(peer)
        if self._plan.adopted:
            self._release([host] if host is not None else [address.host for address in self._addresses(peer)])
        if host is not None and peer not in self._tunnelled:
            self._last_host[peer] = host
            self._plan.move(peer, host)
        elif host is not None or (self.channel.reaches(peer) and peer != self._own):
            self._last_host.pop(peer, None)  # if it is lost now, its frames stay in the tunnel
            self._plan.move(peer, "")
        elif peer in self._last_host:
            self._plan.move(peer, self._last_host[peer])

    def _peer_left(self, input: PeerLeft, now: int) -> list[Effect]:
        if input.peer != self._own:
            self._left[input.peer] = None
        return self._drop(input.peer)

    def _peer_forgotten(self, input: PeerForgotten, now: int) -> list[Effect]:
        return self._drop(input.peer)

    def _drop(self, peer: PeerName) -> list[Effect]:
        """Drop everything that `peer` announced. `PeersChanged` decides whether it is reachable."""
        effects = self._announce(self.channel.forget(peer))
        if self._plan.adopted:
            self._release([address.host for address in self._addresses(peer)])
        if not self.channel.reaches(peer):
            self._plan.stand(peer, Standing.GONE)
            self._unreachable_since.pop(peer, None)
        if peer not in self._paths:
            self._plan.move(peer, None)
            self._pathless_since.pop(peer, None)
            self._detoured(peer)
            self._last_host.pop(peer, None)
            self._no_sender(peer)
        self._accused.pop(peer, None)
        if self._plan.standing(peer) is Standing.GONE and peer not in self._paths:
            self._left.pop(peer, None)
        effects.extend(self._plan.flush())
        return effects

    def _wake(self, input: Wake, now: int) -> list[Effect]:
        for peer in _expired(self._unreachable_since, now - self._config.hold):
            self._plan.stand(peer, Standing.GONE)
        for peer in _expired(self._pathless_since, now - self._config.hold):
            self._plan.move(peer, None)
            self._no_sender(peer)
        early = _expired(self._newcomers, now - self._newcomer)
        late = _expired(self._lost, now - self._patience)
        for peers, is_early in ((early, True), (late, False)):
            for moved in peers:
                if not self.channel.reaches(moved) or moved in self._paths:
                    continue
                self._place(moved)
                if is_early and moved in self._senders:
                    # It may notice the loss later, or find no detour: until then its packets come directly.
                    self._detour(moved, now, self._patience)
                else:
                    self._pathless_since.pop(moved, None)
                    self._no_sender(moved)
        if self._adopted_until is not None and now >= self._adopted_until:
            self._adopted_until = None
            self._release(list(self._plan.adopted))
        effects = self._plan.flush()
        if self._recovery_at is not None and now >= self._recovery_at:
            self._recovery_at = None
            for container in list(self._unconfirmed):
                effects.append(Log("info", f"container {container} did not come back after the restart"))
                effects.append(Notify(Detached(container)))
        return effects

    # --- queries ----------------------------------------------------------------------------------------------------

    @property
    def digest(self) -> int:
        """Equal on mutually reachable peers after all announcements have arrived."""
        return self.channel.reachable_digest

    def enforcer(self, peer: PeerName) -> EnforcerValue | None:
        """How a peer says that it enforces policies; None: it has not announced it."""
        value = self.channel.get(peer, ENFORCER)
        return value if isinstance(value, EnforcerValue) else None

    def members(self) -> Iterator[tuple[EndpointId, EndpointValue, tuple[str, ...]]]:
        """Every endpoint with the addresses (literals) that it has won.

        Endpoints of peers in their hold are included, because their frames are still forwarded.
        """
        for identity, claim in self._plan.claims():
            value = self.channel.get(*identity)
            if not isinstance(value, EndpointValue) or self._plan.standing(identity.origin) is Standing.GONE:
                continue
            lost = self._plan.lost(identity)
            yield identity, value, tuple(literal for literal in claim.literals if literal not in lost)

    @property
    def plan(self) -> ForwardingPlan:
        """The forwarding plan, read-only."""
        return self._plan

    def report(self, now: int) -> dict[str, Any]:
        """The state of every endpoint, and every quarantine with the command that fixes it."""
        installed = {entry.mac: entry for entry in self._plan.forwarding()}
        entries = []
        for identity, claim in self._plan.claims():
            origin, container = identity
            standing = self._plan.standing(origin)
            lost = self._plan.lost(identity)
            entry = installed.get(claim.mac)
            if len(lost) == len(claim.literals):
                state = "quarantined" if standing is Standing.REACHABLE else "replaced"
            elif origin == self._own:
                state = "unconfirmed" if container in self._unconfirmed else "local"
            elif entry is None:
                state = "no path" if standing is not Standing.GONE else "gone"
            else:
                state = "held" if standing is Standing.HELD else "forwarded"
            entries.append(
                {
                    "peer": origin,
                    "container": container,
                    "mac": claim.mac,
                    "addresses": list(claim.addresses),
                    "state": state,
                    "remote": entry.remote if entry is not None and state in ("forwarded", "held") else None,
                    "quarantined": list(lost),
                }
            )
        contests = [
            {
                "what": contest.what,
                "winner": {"peer": contest.winner[0], "container": contest.winner[1]},
                "loser": {"peer": contest.loser[0], "container": contest.loser[1]},
                "mend": contest.mend,
            }
            for contest in self._plan.contests()
        ]
        return {"entries": entries, "quarantine": contests, "flood": list(self._plan.flood())}

    def check_invariants(self) -> None:
        self.channel.check_invariants()
        self._plan.check_invariants()
        for peer in self._unreachable_since:
            assert not self.channel.reaches(peer) and self._plan.standing(peer) is Standing.HELD, peer
        for peer in self._pathless_since:
            assert peer not in self._paths, peer


def endpoint_value(
    container: str,
    mac: str,
    addresses: tuple[str, ...],
    names: tuple[str, ...] = (),
    labels: tuple[tuple[str, str], ...] = (),
) -> EndpointValue:
    """The value to announce, in canonical spelling. Raises `UsageError` that names the fault.

    Names and labels beyond the limits per endpoint are dropped.
    """
    value = EndpointValue(container, mac.lower().replace("-", ":"), addresses)
    claim = _claim.of(value)
    if claim is None:
        raise UsageError(
            f"container {container!r}: found MAC {mac!r} and addresses {list(addresses)}, expected a unicast MAC as "
            "02:00:0a:00:01:01 and at least one address as 10.0.1.1/24"
        )
    return EndpointValue(container, claim.mac, claim.addresses, names[:MAX_NAMES], labels[:MAX_LABELS])


@shared(1 << 17)
def _claim(value: Value) -> EndpointClaim | None:
    """The claim of `value`, in canonical spelling; None if it is malformed."""
    if not isinstance(value, EndpointValue) or not value.container or not value.addresses:
        return None
    octets = value.mac.split(":")
    if len(octets) != 6 or any(len(octet) != 2 for octet in octets):
        return None
    try:
        if bytes.fromhex("".join(octets))[0] & 1:
            return None
        if any("%" in address for address in value.addresses):
            return None
        interfaces = {str(i): i for i in map(ip_interface, value.addresses)}
    except ValueError:
        return None
    literals = {str(i.ip): None for i in interfaces.values()}
    if len(literals) != len(interfaces) or value.mac != value.mac.lower():
        return None
    return EndpointClaim(value.mac, tuple(interfaces), tuple(literals))


def _expired(since: dict[PeerName, int], until: int) -> list[PeerName]:
    """Remove from `since` (in order of time) the entries that began at `until` or before; returns their peers."""
    expired = []
    for peer, start in since.items():
        if start > until:
            break
        expired.append(peer)
    if expired:  # rebuild: in a dict that keeps losing its first entries, finding the next one gets ever slower
        kept = list(since.items())[len(expired) :]
        since.clear()
        since.update(kept)
    return expired
