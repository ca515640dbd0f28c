"""Address requests, answered from this peer's space or, later, after other peers have donated some of theirs.

Owns the waiting requests and the peers asked for them; `overlay.ipam.space` knows what is free. A request waits at most
`ipam_patience` once there is a ring. An address that is held here but owned elsewhere (this network's ring lost a
merge, or this peer was removed while alive) is claimed from its owner in the same way, without a time limit.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from overlay.config import PeerName
from overlay.effects import Effect, Evicted, Log, Reply, Unicast
from overlay.env import SECOND, Random
from overlay.errors import UsageError
from overlay.ipam.ring import Extent, lineage_rank
from overlay.ipam.space import CHANNEL, Space
from overlay.ipam.universe import Subnet, parse_address, parse_interface
from overlay.owners import release_command, replace_command, short
from overlay.tuning import STANDARD, Tuning
from overlay.wire.ring import Decided, SpaceDenial, SpaceDonation, SpaceRequest


@dataclass(slots=True)
class Pending:
    """A waiting request: `container` wants any address of `subnet`, or (None) the one address `text` at `extent`."""

    request: int
    container: str
    extent: Extent
    subnet: Subnet | None
    text: str
    expires: int | None = None


@dataclass(slots=True)
class _Search:
    """The peers asked for space within one extent, and those that denied it (with the container, if known)."""

    donor: PeerName = ""
    nonce: int = 0
    due: int = 0
    denied: dict[PeerName, str] = field(default_factory=dict)
    granted: bool = False
    """The donor has granted space, and gossip is about to deliver the tokens."""


class Allocator:
    """Answers requests, asks donors, and acts as a donor."""

    def __init__(self, space: Space, rng: Random, tuning: Tuning = STANDARD) -> None:
        self._tuning = tuning
        self.pending: dict[int, Pending] = {}
        self.contested: dict[int, tuple[PeerName, str]] = {}
        """Offsets held here that rightfully belong to (peer, container): quarantined."""
        self._space = space
        self._rng = rng
        self._reachable: tuple[PeerName, ...] = (space.name,)
        self._searches: dict[Extent, _Search] = {}
        self._disowned: list[int] = []
        self._granted: dict[PeerName, tuple[int, tuple[int, ...]]] = {}
        """Each peer's last granted request, and its tokens: a repeated request gets the same tokens."""

    # --- requests ---------------------------------------------------------------------------------------------

    def allocate(self, request: int, container: str, subnet: str) -> list[Effect]:
        """Request any address of a subnet; `settle` answers it, now or later."""
        try:
            wanted = self._space.universe.subnet(subnet)
        except UsageError as error:
            return [Reply(request, error=str(error))]
        self._space.holdings.set_idle(container, False)
        self.pending[request] = Pending(request, container, (wanted.start, wanted.end), wanted, wanted.text)
        return []

    def claim(self, request: int, container: str, text: str) -> list[Effect]:
        """Request one address. Outside of the range it conflicts only with this host's containers."""
        try:
            address, _ = parse_interface(text)
        except UsageError as error:
            return [Reply(request, error=str(error))]
        self._space.holdings.set_idle(container, False)
        offset = self._space.universe.offset(address)
        if offset is not None:
            self.pending[request] = Pending(request, container, (offset, offset + 1), None, text)
            return []
        effects = self._evict(self._space.holdings.outside_holder(str(address)), str(address), container)
        holder = self._space.holdings.outside_holder(str(address))
        if holder is not None and holder != container:
            return [Reply(request, error=_in_use(text, holder, "this host"))]
        self._space.take(container, text, None)
        return [*effects, Reply(request, text)]

    def set_idle(self, container: str, idle: bool) -> None:
        """`container` has stopped, or runs (again)."""
        self._space.holdings.set_idle(container, idle)

    def release(self, request: int, container: str, address: str) -> list[Effect]:
        """Free one address of a container, or all of them and its waiting requests."""
        try:
            plain = str(parse_address(address)) if address else ""
        except UsageError as error:
            return [Reply(request, error=str(error))]
        effects: list[Effect] = [Reply(request, tuple(self._space.give_back(container, plain)))]
        if not plain:
            for pending in [pending for pending in self.pending.values() if pending.container == container]:
                del self.pending[pending.request]
                effects.append(Reply(pending.request, error=f"container {container} was released meanwhile"))
        return effects

    def cancel(self, request: int) -> None:
        """The client of this request is gone."""
        self.pending.pop(request, None)

    def peers_changed(self, reachable: tuple[PeerName, ...]) -> None:
        """The reachable peers (sorted) have changed; a new one may be asked at once."""
        before, self._reachable = self._reachable, reachable
        if not self._searches:
            return
        arrived = bool(frozenset(reachable).difference(before))
        for search in self._searches.values():
            if not self._reaches(search.donor):
                search.donor, search.due, search.granted = "", 0, False
            elif arrived and not search.donor:
                search.due = 0

    def _reaches(self, peer: PeerName) -> bool:
        index = bisect_left(self._reachable, peer)
        return index < len(self._reachable) and self._reachable[index] == peer

    def ring_changed(self, gained: bool) -> None:
        """The ring has changed (`gained`: also this peer's own part), so other peers may be asked now."""
        for (start, end), search in self._searches.items():
            if search.granted and gained:
                search.donor, search.due, search.granted = "", 0, False
            if search.donor or any(search.denied.values()):
                continue
            if end - start == 1:
                search.denied.clear()
            if not search.denied:
                search.due = 0

    # --- settling ---------------------------------------------------------------------------------------------

    def settle(self, now: int) -> list[Effect]:
        """Answer the requests that can be answered, ask donors for the rest. Called after every change."""
        if self._space.ring.lineage is None:
            return []
        effects: list[Effect] = []
        for pending in list(self.pending.values()):
            if pending.subnet is None:
                effects += self._make_way(pending.extent[0], pending.container)
            reply = self._try(pending) or self._expire(pending, now)
            if reply is not None:
                del self.pending[pending.request]
                effects.append(reply)
        effects += self._review_disowned()
        wanted = dict.fromkeys(pending.extent for pending in self.pending.values())
        wanted.update(((offset, offset + 1), None) for offset in self._disowned)
        for extent in [extent for extent in self._searches if extent not in wanted]:
            del self._searches[extent]
        for extent in wanted:
            search = self._searches.setdefault(extent, _Search())
            if now >= search.due:
                effects += self._ask(extent, search, now)
        return effects

    def _make_way(self, offset: int, claimant: str) -> list[Effect]:
        """The address at `offset` is claimed: a stopped container gives it up. `claimant` is "" for another peer's."""
        holdings = self._space.holdings
        return self._evict(holdings.holder(offset), self._space.universe.address(offset), claimant)

    def _evict(self, holder: str | None, plain: str, claimant: str) -> list[Effect]:
        if holder is None or holder == claimant or not self._space.holdings.idle(holder):
            return []
        return [Evicted(holder, text) for text in self._space.give_back(holder, plain)]

    def _try(self, pending: Pending) -> Reply | None:
        space = self._space
        if pending.subnet is not None:
            held = space.holdings.in_subnet(pending.container, pending.subnet)
            if held is not None:
                return Reply(pending.request, held)
            free = space.lowest_free(pending.subnet)
            if free is None:
                return None
            text = f"{space.universe.address(free)}/{pending.subnet.prefix}"
            space.take(pending.container, text, free)
            return Reply(pending.request, text)
        offset = pending.extent[0]
        holder = space.holdings.holder(offset)
        if holder is not None and holder != pending.container:
            return Reply(pending.request, error=_in_use(pending.text, holder, "this host"))
        if holder is not None and offset in self.contested:
            peer, other = self.contested[offset]
            return Reply(pending.request, error=_in_use(pending.text, other, f"peer {peer}"))
        token = space.ring.at(offset)
        if holder is None and (token is None or token.owner != space.name):
            return None
        space.take(pending.container, pending.text, offset)
        return Reply(pending.request, pending.text)

    def _expire(self, pending: Pending, now: int) -> Reply | None:
        if pending.expires is None:
            pending.expires = now + self._tuning.ipam_patience
        return Reply(pending.request, error=self._explain(pending)) if now >= pending.expires else None

    def _review_disowned(self) -> list[Effect]:
        effects: list[Effect] = []
        known = dict.fromkeys(self._disowned)
        self._disowned = self._space.disowned()
        for offset in self._disowned:
            if offset not in known:
                holder = short(self._space.holdings.holder(offset) or "")
                effects.append(
                    Log(
                        "warning",
                        f"{self._space.universe.address(offset)} of container {holder} "
                        f"belongs to {self.owner(offset) or 'an unknown peer'} in the ring that won; claiming it there",
                    )
                )
        for offset in [offset for offset in self.contested if offset not in self._disowned]:
            del self.contested[offset]
            effects.append(Log("info", f"{self._space.universe.address(offset)} is no longer contested"))
        return effects

    def owner(self, offset: int) -> PeerName | None:
        """The owner of the address at `offset` in this view of the ring."""
        token = self._space.ring.at(offset)
        return None if token is None else token.owner

    # --- asking donors ----------------------------------------------------------------------------------------

    def _owners(self, extent: Extent) -> dict[PeerName, int]:
        """The other owners in the extent, each with the approximate number of its free addresses; in ring order."""
        weights: dict[PeerName, int] = {}
        for token, (low, high) in self._space.ring.overlapping(*extent):
            if token.owner != self._space.name:
                weights[token.owner] = weights.get(token.owner, 0) + min(token.free, high - low)
        return weights

    def _ask(self, extent: Extent, search: _Search, now: int) -> list[Effect]:
        if search.donor:
            search.denied.setdefault(search.donor, "")
            search.donor, search.granted = "", False
        elif search.due:
            # The pause after all peers denied is over.
            search.denied.clear()
        weights = {
            peer: weight
            for peer, weight in self._owners(extent).items()
            if self._reaches(peer) and peer not in search.denied
        }
        if not weights:
            search.due = now + self._tuning.ipam_pause
            return []
        search.donor = self._choose(weights)
        search.nonce = self._rng.getrandbits(64)
        search.due = now + self._tuning.ipam_answer_time
        ring = self._space.ring
        assert ring.lineage is not None
        question = SpaceRequest(search.nonce, ring.range, ring.lineage, extent[0], extent[1] - 1)
        return [Unicast(search.donor, CHANNEL, question)]

    def _choose(self, weights: dict[PeerName, int]) -> PeerName:
        # A free count of 0 may be out of date: such peers are asked when no other reports free addresses.
        total = sum(weights.values())
        if total == 0:
            return self._rng.choice(list(weights))
        point = self._rng.randrange(total)
        for peer, weight in weights.items():
            point -= weight
            if point < 0:
                return peer
        raise AssertionError("the weights do not add up")

    def _search_of(self, source: PeerName, nonce: int) -> tuple[Extent, _Search] | None:
        for extent, search in self._searches.items():
            if search.donor == source and search.nonce == nonce:
                return extent, search
        return None

    def donated(self, source: PeerName, nonce: int, here: bool, now: int) -> None:
        """`source` donated space. If gossip has delivered it already (`here`), ask again; otherwise wait for it."""
        found = self._search_of(source, nonce)
        if found is None:
            return
        search = found[1]
        if here:
            search.donor, search.due = "", 0
        else:
            search.granted, search.due = True, now + self._tuning.ipam_answer_time

    def denied(self, source: PeerName, message: SpaceDenial, now: int) -> list[Effect]:
        """`source` has no space, or one of its containers holds the requested address."""
        found = self._search_of(source, message.nonce)
        if found is None:
            return []
        (offset, end), search = found
        search.denied[source] = message.holder
        search.donor = ""
        search.due = 0
        if not message.holder or end - offset != 1:
            return []
        effects: list[Effect] = []
        for pending in [pending for pending in self.pending.values() if pending.extent == (offset, end)]:
            del self.pending[pending.request]
            effects.append(Reply(pending.request, error=_in_use(pending.text, message.holder, f"peer {source}")))
        search.due = now + self._tuning.ipam_reclaim + self._rng.randrange(self._tuning.ipam_reclaim // 4)
        holder = self._space.holdings.holder(offset)
        if holder is not None and self.contested.get(offset) != (source, message.holder):
            self.contested[offset] = (source, message.holder)
            address = self._space.universe.address(offset)
            text = (
                f"{address} is held twice: by container {short(message.holder)} on peer {source}, which keeps it, "
                f"and by container {short(holder)} here; {self.remedy(offset)}"
            )
            effects.append(Log("error", text))
        return effects

    def remedy(self, offset: int) -> str:
        """The command that resolves a quarantine."""
        holder = self._space.holdings.holder(offset) or ""
        held = self._space.holdings.text(offset)
        return f"{release_command(holder, held)}, then {replace_command(holder)}, gives it another address"

    # --- donating ---------------------------------------------------------------------------------------------

    def serve(self, source: PeerName, message: SpaceRequest) -> list[Effect]:
        """Handle another peer's request for space. The grant is in the flushed effects, which come before the reply."""
        space = self._space
        ring = space.ring
        if ring.lineage is None or message.last >= ring.size or message.start > message.last:
            return []
        if message.lineage != ring.lineage:
            if lineage_rank(message.lineage) < lineage_rank(ring.lineage):
                return [Unicast(source, CHANNEL, Decided(ring.whole()))]
            return []
        start, end = message.start, message.last + 1
        nonce, starts = self._granted.get(source, (None, ()))
        if nonce == message.nonce:
            return self._donation(source, message.nonce, starts)
        effects: list[Effect] = []
        holder = ""
        block: Extent | None
        if end - start == 1:
            token = ring.at(start)
            if token is not None and token.owner == space.name:
                effects = self._make_way(start, "")
            block = (start, end) if token is not None and token.owner == space.name else None
            if block is not None and (holder := space.holdings.holder(start) or ""):
                block = None
        else:
            block = space.spare_block(start, end)
        if block is None:
            shown = [token for token, _ in ring.overlapping(start, end)][:16]
            return [Unicast(source, CHANNEL, SpaceDenial(message.nonce, holder, ring.delta(shown)))]
        tokens = space.grant(*block, source)
        starts = tuple(token.start for token in tokens)
        self._granted[source] = (message.nonce, starts)
        return effects + self._donation(source, message.nonce, starts)

    def _donation(self, source: PeerName, nonce: int, starts: tuple[int, ...]) -> list[Effect]:
        ring = self._space.ring
        delta = ring.delta([ring.slots[start].token for start in starts if start in ring.slots])
        return [Unicast(source, CHANNEL, SpaceDonation(nonce, delta))]

    # --- time and texts ---------------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `settle` must run."""
        if self._space.ring.lineage is None or not (self._searches or self.pending):
            return None
        times = [search.due for search in self._searches.values()]
        times += [pending.expires for pending in self.pending.values() if pending.expires is not None]
        return min(times, default=None)

    def _explain(self, pending: Pending) -> str:
        space = self._space
        owners = self._owners(pending.extent)
        away = [peer for peer in sorted(owners) if not self._reaches(peer)]
        asked = [peer for peer in sorted(owners) if self._reaches(peer)]
        if pending.subnet is None:
            text = f"address {pending.text} could not be claimed within {self._tuning.ipam_patience // SECOND} s"
        else:
            own = sum(
                high - low
                for token, (low, high) in space.ring.overlapping(*pending.extent)
                if token.owner == space.name
            )
            text = (
                f"no free address in {pending.text} within {self._tuning.ipam_patience // SECOND} s: "
                f"this peer owns {own} of its {pending.extent[1] - pending.extent[0]} addresses"
            )
        if asked:
            text += f"; asked in vain: {', '.join(asked)}"
        if away:
            text += f"; unreachable owners: {', '.join(away)} (`weave rmpeer {away[0]}` if it will not come back)"
        elif not owners and not space.ring.complete():
            text += "; the ring is not known in full yet, try again"
        elif pending.subnet is not None:
            text += "; release addresses or choose another subnet"
        return text


def _in_use(text: str, holder: str, place: str) -> str:
    return f"address {text} is in use by container {short(holder)} on {place}; choose another, or release it there"
