"""Which MAC is reached at which host, as diffs: decides between all announced endpoints, incrementally.

Owns the order in which endpoints win against each other (`docs/wire.md`, "Origin maps") and the installed entries. Must
not know gossip, timers or the kernel. The cost of a change is proportional to the claims on the same MAC and addresses.
"""

from collections.abc import Iterable, Iterator

from overlay.config import PeerName
from overlay.datapath.claims import Arbiter, Contest, EndpointClaim, EndpointId, Standing
from overlay.effects import Effect, Log, Notify, RemoveForwarding, SetFlood, SetForwarding
from overlay.inputs import QuarantineChanged
from overlay.owners import release_command, short
from overlay.replicated.interned import shared
from overlay.replicated.numbered import Index, Table, add, discard, table

MAX_DEPARTED = 1024
"""Limit of addresses without a MAC whose last MAC is remembered."""


class ForwardingPlan:
    """All claims, their winners and the installed entries. Mutators only mark; `flush` returns the diffs."""

    def __init__(self, own: PeerName, arbiter: Arbiter) -> None:
        self._own = own
        self._arbiter = arbiter
        self._claims: Index[str, EndpointClaim] = table("peer")
        """By origin and container."""
        self._by_mac: Index[EndpointId, EndpointClaim] = table("MAC")
        self._by_literal: Index[EndpointId, EndpointClaim] = table("address")
        self._standing: Table[PeerName, Standing] = table("peer")
        self._standing[own] = Standing.REACHABLE
        self._hosts: Table[PeerName, str] = table("peer")

        self._mac_winner: Table[str, EndpointId] = table("MAC")
        self._literal_winner: Table[str, EndpointId] = table("address")
        self._contested: dict[str, None] = {}
        self._lost: dict[EndpointId, tuple[str, ...]] = {}
        self._installed: Table[str, SetForwarding] = table("MAC")
        self._flood: tuple[str, ...] = ()
        self.adopted: dict[str, None] = {}
        """Hosts of an earlier daemon's flood list, until a peer there has a place of its own."""
        self._local: dict[str, tuple[str, ...]] = {}
        """The addresses won by this host's own MACs."""
        self._departed: dict[str, str] = {}
        """The last MAC of addresses that have none now, oldest first."""
        self._news: dict[str, tuple[str, bool]] = {}
        """Addresses whose MAC has changed, and whether the previous MAC is known."""

        self._dirty_claims: dict[EndpointId, None] = {}
        self._dirty_macs: dict[str, None] = {}
        self._dirty_literals: dict[str, None] = {}
        self._dirty_output: dict[str, None] = {}
        self._dirty_flood = False
        self.generation = 0
        """Counts changes of addresses and their holders."""

    # --- changes --------------------------------------------------------------------------------------------------

    def announce(self, origin: PeerName, container: str, claim: EndpointClaim | None) -> None:
        """Replace (None: remove) the claim that `origin` announces for `container`."""
        self.generation += 1
        before = self._claims.get(origin, _NO_CLAIMS).get(container)
        if claim is not None:
            identity, known, own = _alone.of(origin, container, claim)
        else:
            identity = EndpointId(origin, container)
        self._dirty_claims[identity] = None
        if before is not None:
            self._touch(before)
            discard(self._claims, origin, container)
            discard(self._by_mac, before.mac, identity)
            for literal in before.literals:
                discard(self._by_literal, literal, identity)
        if claim is not None:
            self._touch(claim)
            add(self._claims, origin, own)
            add(self._by_mac, claim.mac, known)
            for literal in claim.literals:
                add(self._by_literal, literal, known)

    def stand(self, origin: PeerName, standing: Standing) -> None:
        """Set the standing of `origin`."""
        if self.standing(origin) is standing:
            return
        self.generation += 1
        if standing is Standing.GONE:
            del self._standing[origin]
        else:
            self._standing[origin] = standing
        for claim in self._claims.get(origin, {}).values():
            self._touch(claim)

    def move(self, origin: PeerName, host: str | None) -> None:
        """Set the underlay host (IP literal) at which `origin` accepts frames; "": the tunnel; None: unreachable."""
        before = self._hosts.get(origin)
        if before == host:
            return
        if host is None:
            del self._hosts[origin]
        else:
            self._hosts[origin] = host
        if before or host:  # those in the tunnel are not in the list
            self._dirty_flood = True
        for claim in self._claims.get(origin, {}).values():
            self._dirty_output[claim.mac] = None

    def adopt(self, hosts: Iterable[str]) -> None:
        """The kernel sends broadcasts to these hosts since an earlier daemon; go on until they are released."""
        self.adopted = dict.fromkeys(hosts)
        self._flood = tuple(sorted(self.adopted))

    def release(self, hosts: Iterable[str]) -> bool:
        """These hosts are no longer adopted. Returns whether one of them was."""
        released = [host for host in hosts if host in self.adopted]
        for host in released:
            del self.adopted[host]
            self._dirty_flood = True
        return bool(released)

    def recheck(self) -> None:
        """The arbiter may decide differently now: decide all contested addresses again."""
        for literal in self._contested:
            self._dirty_literals[literal] = None

    def _touch(self, claim: EndpointClaim) -> None:
        self._dirty_macs[claim.mac] = None
        for literal in claim.literals:
            self._dirty_literals[literal] = None

    # --- queries --------------------------------------------------------------------------------------------------

    def standing(self, origin: PeerName) -> Standing:
        return self._standing.get(origin, Standing.GONE)

    def holder(self, mac: str) -> PeerName | None:
        """The peer to which frames for `mac` go; None if no entry is installed for it."""
        return self._mac_winner[mac][0] if mac in self._installed else None

    def host(self, origin: PeerName) -> str | None:
        return self._hosts.get(origin)

    def claim(self, origin: PeerName, container: str) -> EndpointClaim | None:
        return self._claims.get(origin, {}).get(container)

    def claims(self) -> Iterator[tuple[EndpointId, EndpointClaim]]:
        """All claims, sorted by origin and container."""
        for origin, claims in sorted(self._claims.items()):
            for container, claim in sorted(claims.items()):
                yield EndpointId(origin, container), claim

    def forwarding(self) -> tuple[SetForwarding, ...]:
        """All installed entries, by MAC."""
        return tuple(self._installed[mac] for mac in sorted(self._installed))

    def flood(self) -> tuple[str, ...]:
        return self._flood

    def lost(self, identity: EndpointId) -> tuple[str, ...]:
        """The addresses that this endpoint has lost to others, sorted."""
        return self._lost.get(identity, ())

    def contests(self) -> tuple[Contest, ...]:
        """Every duplicate among reachable peers, by loser."""
        return tuple(
            contest
            for identity, literals in sorted(self._lost.items())
            if self.standing(identity[0]) is Standing.REACHABLE
            for contest in self._contests_of(identity, literals)
        )

    def _contests_of(self, identity: EndpointId, literals: tuple[str, ...]) -> Iterator[Contest]:
        container = identity[1]
        claim = self._claims[identity[0]][container]
        winner = self._mac_winner[claim.mac]
        if winner != identity:
            yield Contest(f"MAC {claim.mac}", winner, identity, release_command(container))
            return
        for literal in literals:
            address = claim.addresses[claim.literals.index(literal)]
            mend = release_command(container, address)
            yield Contest(f"address {literal}", self._literal_winner[literal], identity, mend)

    def take_news(self) -> dict[str, tuple[str, bool]]:
        """The addresses whose MAC on this host has changed since the last call.

        Each with its MAC ("": none any more), and whether it is known to have had a different one before.
        """
        if not self._news:
            return _NO_NEWS
        news, self._news = self._news, {}
        return news

    # --- settling ---------------------------------------------------------------------------------------------------

    def flush(self) -> list[Effect]:
        """Decide everything marked. Returns the diffs: forwarding, flood list, quarantine and its log lines."""
        touched = self._dirty_claims
        for mac in self._dirty_macs:
            if not self._settle_alone(mac):
                self._settle_mac(mac, touched)
        for literal in self._dirty_literals:
            self._settle_literal(literal, touched)
        effects = self._quarantine(touched)
        effects.extend(self._output())
        if self._dirty_flood:
            flood = tuple(sorted({*(host for host in self._hosts.values() if host), *self.adopted}))
            if flood != self._flood:
                self._flood = flood
                effects.append(SetFlood(flood))
        self._dirty_claims, self._dirty_macs, self._dirty_literals, self._dirty_output = {}, {}, {}, {}
        self._dirty_flood = False
        return effects

    def _settle_alone(self, mac: str) -> bool:
        """Fast path for a MAC and addresses claimed by only one container, now and before, which is nearly always so.

        Returns False if that is not the case.
        """
        claims = self._by_mac.get(mac, _NOTHING)
        if len(claims) != 1:
            return False
        ((identity, claim),) = claims.items()
        if identity in self._lost or self._mac_winner.get(mac, identity) != identity:
            return False
        winners = self._literal_winner
        for literal in claim.literals:
            if len(self._by_literal[literal]) != 1 or winners.get(literal, identity) != identity:
                return False
        alive = identity[0] in self._standing
        if alive:
            self._mac_winner[mac] = identity
        else:
            self._mac_winner.pop(mac, None)
        for literal in claim.literals:
            if alive:
                winners[literal] = identity
            else:
                winners.pop(literal, None)
            self._contested.pop(literal, None)
            self._dirty_literals.pop(literal, None)
        self._dirty_claims.pop(identity, None)
        return True

    def _standing_highest(self, contenders: Iterator[EndpointId]) -> list[EndpointId]:
        """The `contenders` with the best standing, without those that are gone."""
        best: list[EndpointId] = []
        highest = Standing.HELD
        for identity in contenders:
            standing = self.standing(identity[0])
            if standing < highest:
                best, highest = [identity], standing
            elif standing == highest:
                best.append(identity)
        return best

    def _settle_mac(self, mac: str, touched: dict[EndpointId, None]) -> None:
        claims = self._by_mac.get(mac, {})
        before = self._mac_winner.pop(mac, None)
        winner = min(self._standing_highest(iter(claims)), default=None)
        if winner is not None:
            self._mac_winner[mac] = winner
        for identity, claim in claims.items():
            touched[identity] = None
            if winner != before:  # a container that loses its MAC loses all its addresses, and vice versa
                for literal in claim.literals:
                    self._dirty_literals[literal] = None
        if before is not None:
            touched[before] = None

    def _settle_literal(self, literal: str, touched: dict[EndpointId, None]) -> None:
        claims = self._by_literal.get(literal, {})
        before = self._literal_winner.pop(literal, None)
        best = self._standing_highest(i for i, claim in claims.items() if self._mac_winner.get(claim.mac) == i)
        self._contested.pop(literal, None)
        if len(best) > 1:
            self._contested[literal] = None
        if best:
            self._literal_winner[literal] = self._arbiter(literal, best) if len(best) > 1 else best[0]
        for identity, claim in claims.items():
            touched[identity] = None
            self._dirty_output[claim.mac] = None
        if before is not None:
            touched[before] = None

    def _output(self) -> list[Effect]:
        """The diffs of forwarding. An address is removed from one MAC before it is added to another."""
        taken: list[Effect] = []
        given: list[Effect] = []
        gained: dict[str, str] = {}
        lost: dict[str, str] = {}
        for mac in sorted({**self._dirty_macs, **self._dirty_output}):
            before, after = self._installed.get(mac), self._desired(mac)
            had, has = self._local.pop(mac, _NO_LITERALS), self._own_literals(mac)
            if has:
                self._local[mac] = has
            if before is not None:
                had = before.addresses
            if after is not None:
                has = after.addresses
            if had != has:
                lost.update((literal, mac) for literal in had if literal not in has)
                gained.update((literal, mac) for literal in has if literal not in had)
            if after is None:
                if before is not None:
                    del self._installed[mac]
                    taken.append(RemoveForwarding(mac))
                continue
            if after is before:
                continue
            self._installed[mac] = after
            if after == before:
                continue
            kept = tuple(i for i in before.addresses if i in after.addresses) if before is not None else ()
            if before is None or kept == before.addresses:
                given.append(after)
            elif kept == after.addresses:
                taken.append(after)
            else:
                taken.append(SetForwarding(mac, after.remote, kept) if kept else RemoveForwarding(mac))
                given.append(after)
        if gained or lost:
            self._note(gained, lost)
        return taken + given

    def _note(self, gained: dict[str, str], lost: dict[str, str]) -> None:
        """Track the last announced MAC of each address, because containers cache it even while the address has none."""
        for literal, mac in gained.items():
            departed = self._departed.pop(literal, "")
            before = lost.pop(literal, departed)
            if before != mac:
                self._news[literal] = (mac, bool(before))
        for literal, mac in lost.items():
            self._departed[literal] = mac
            self._news[literal] = ("", True)
        while len(self._departed) > MAX_DEPARTED:
            del self._departed[next(iter(self._departed))]

    def _own_literals(self, mac: str) -> tuple[str, ...]:
        """The addresses won by a container of this host, if `mac` belongs to one."""
        winner = self._mac_winner.get(mac)
        if winner is None or winner[0] != self._own:
            return _NO_LITERALS
        winners = self._literal_winner
        return tuple(literal for literal in self._by_mac[mac][winner].literals if winners.get(literal) == winner)

    def _desired(self, mac: str) -> SetForwarding | None:
        """The entry to install for `mac`; None if a container of this host claims it, which keeps it on this host."""
        winner = self._mac_winner.get(mac)
        if winner is None:
            return None
        claims = self._by_mac[mac]
        own = self._own
        if winner[0] == own or (len(claims) > 1 and any(origin == own for origin, _ in claims)):
            return None
        host = self._hosts.get(winner[0])
        if host is None:
            return None
        winners = self._literal_winner
        addresses = [literal for literal in claims[winner].literals if winners.get(literal) == winner]
        return _forwarding.of(mac, host, tuple(sorted(addresses))) if addresses else None

    def _quarantine(self, touched: dict[EndpointId, None]) -> list[Effect]:
        """Find the endpoints that lost or regained addresses; tell the DNS, and log it on the loser's own host."""
        added: list[tuple[PeerName, str, str]] = []
        removed: list[tuple[PeerName, str, str]] = []
        logs: list[Effect] = []
        for identity in sorted(touched):
            claim = self.claim(*identity)
            before = self._lost.pop(identity, ())
            after: tuple[str, ...] = ()
            if claim is not None and self.standing(identity[0]) is not Standing.GONE:
                after = tuple(sorted(i for i in claim.literals if self._literal_winner.get(i) != identity))
            if after:
                self._lost[identity] = after
            if after == before:
                continue
            self.generation += 1
            added.extend((*identity, literal) for literal in after if literal not in before)
            removed.extend((*identity, literal) for literal in before if literal not in after)
            if identity[0] == self._own:
                logs.extend(self._log(identity, before, after))
        news = Notify(QuarantineChanged(tuple(added), tuple(removed)))
        return [news, *logs] if added or removed else []

    def _log(self, loser: EndpointId, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Effect]:
        new = tuple(literal for literal in after if literal not in before)
        for contest in self._contests_of(loser, new) if new else ():
            origin, container = contest.winner
            yield Log(
                "warning",
                f"{contest.what} of container {short(loser[1])} is quarantined: "
                f"container {short(container)} of peer {origin} has it too; no peer sends there. "
                f"To mend it: {contest.mend}",
            )
        claim = self.claim(*loser)
        for literal in before:
            if literal not in after and claim is not None and literal in claim.literals:
                yield Log("info", f"address {literal} of container {short(loser[1])} is no longer quarantined")

    def check_invariants(self) -> None:
        """Assert that the incremental state equals one computed from scratch."""
        assert not (
            self._dirty_claims or self._dirty_macs or self._dirty_literals or self._dirty_output or self._dirty_flood
        )
        fresh = ForwardingPlan(self._own, self._arbiter)
        fresh._standing, fresh._hosts, fresh.adopted = self._standing, self._hosts, dict(self.adopted)
        fresh._dirty_flood = True
        for (origin, container), claim in self.claims():
            fresh.announce(origin, container, claim)
        fresh.flush()
        for attribute in (
            "_mac_winner",
            "_literal_winner",
            "_lost",
            "_contested",
            "_installed",
            "_flood",
            "_local",
            "_by_mac",
            "_by_literal",
        ):
            assert getattr(self, attribute) == getattr(fresh, attribute), attribute


_NOTHING: dict[EndpointId, EndpointClaim] = {}
_NO_CLAIMS: dict[str, EndpointClaim] = {}
_NO_LITERALS: tuple[str, ...] = ()
_NO_NEWS: dict[str, tuple[str, bool]] = {}


_forwarding = shared(1 << 17)(SetForwarding)


@shared(1 << 17)
def _alone(
    origin: PeerName, container: str, claim: EndpointClaim
) -> tuple[EndpointId, dict[EndpointId, EndpointClaim], dict[str, EndpointClaim]]:
    """The index entries of an endpoint."""
    identity = EndpointId(origin, container)
    return identity, {identity: claim}, {container: claim}
