"""This peer's own part of the ring and what is free in it: combines ring and holdings. No messages, no requests.

It collects the data to be written and announced; `flush` turns it into effects, with everything that must be on disk
first. A caller that changes a `Space` puts the flushed effects before all others, so that nothing is sent before it is
stored.
"""

from collections.abc import Mapping

import msgspec

from overlay.config import PeerName
from overlay.effects import Broadcast, Effect, Persist
from overlay.ipam.holdings import KEY as ADDRESSES_KEY
from overlay.ipam.holdings import Holdings, largest_block
from overlay.ipam.ring import SEED, Extent, Ring, divide, make_lineage
from overlay.ipam.universe import Subnet, Universe
from overlay.stored import decode, understood
from overlay.tuning import STANDARD, Tuning
from overlay.wire.ring import Lineage, StoredRing, Token

CHANNEL = "ipam"
RING_KEY = "ipam.ring"


class Space:
    """Ring, holdings, and their changes that are not yet on disk or announced."""

    def __init__(
        self, name: PeerName, universe: Universe, stored: Mapping[str, bytes], tuning: Tuning = STANDARD
    ) -> None:
        """A stored ring of another name or range is dropped. Raises `EnvironmentProblem` if it cannot be read."""
        self._tuning = tuning
        self.name = name
        self.universe = universe
        self.ring = Ring(universe.text, universe.size)
        self.holdings = Holdings(universe, stored)
        self.extents: list[Extent] = []
        """The extents that this peer owns, sorted."""
        self._urgent = False
        self._stale_since: int | None = None
        self._addresses_changed = False
        self._written: dict[int, Token] = {}
        if RING_KEY in stored:
            kept: StoredRing = decode(RING_KEY, stored[RING_KEY], StoredRing)
            if kept.name == name and kept.ring.range == universe.text:
                with understood(RING_KEY):
                    self.ring.found(kept.ring.lineage, kept.ring.tokens)
                    self.ring.check_invariants()
                    self.extents = self.ring.extents(name)

    # --- changes ----------------------------------------------------------------------------------------------

    def found(self, kind: int, founders: tuple[PeerName, ...], nonce: int) -> None:
        """Create the ring of this first agreement (or seed set)."""
        lineage = make_lineage(self.universe.text, kind, founders, nonce)
        tokens = divide(self.universe.size, founders)
        self.ring.found(lineage, tokens)
        self._urgent = True
        if kind != SEED:
            self._written = {token.start: token for token in tokens}
        self.extents = self.ring.extents(self.name)

    def merge(self, lineage: Lineage, tokens: tuple[Token, ...], now: int) -> list[Token]:
        """Merge tokens of another peer; returns those that were new."""
        old = self.ring.lineage
        changed = self.ring.merge(lineage, tokens)
        if self.ring.lineage != old:
            # Tokens written in the former ring need not be announced any more.
            self._written.clear()
            self._urgent = True
        if changed or self.ring.lineage != old:
            self._ring_changed()
            if self._stale_since is None:
                self._stale_since = now
        return changed

    def _ring_changed(self) -> None:
        extents = self.ring.extents(self.name)
        if extents != self.extents:
            self.extents = extents
            self._urgent = True

    def _wrote(self, tokens: list[Token]) -> None:
        self._written.update((token.start, token) for token in tokens)
        if tokens:
            self._urgent = True
        self.extents = self.ring.extents(self.name)

    def take(self, container: str, text: str, offset: int | None) -> None:
        """Give "a.b.c.d/n" to `container`; `offset` is its position in the range (None: outside)."""
        self.holdings.hold(container, text)
        self._addresses_changed = True
        if offset is not None:
            self._report_free(offset)

    def give_back(self, container: str, plain: str = "") -> list[str]:
        """Take one address (or all) from `container`; returns them, each "a.b.c.d/n"."""
        dropped = self.holdings.drop(container, plain)
        if dropped:
            self._addresses_changed = True
            for low, _ in self.extents:
                self._report_free(low)
        return dropped

    def _report_free(self, offset: int) -> None:
        # The free count is updated only if it is off by a factor of two, so most allocations change no token.
        token = self.ring.at(offset)
        if token is None or token.owner != self.name:
            return
        free = self.holdings.free(self.ring.extent(token.start))
        if free * 2 <= token.free or free >= token.free * 2:
            if free == token.free:
                return
            self._wrote(self.ring.report_free(token.start, free))

    def grant(self, start: int, end: int, recipient: PeerName) -> list[Token]:
        """Give `start` to `end` (exclusive, free, within one own extent) away; returns the changed tokens."""
        token = self.ring.at(start)
        assert token is not None and token.owner == self.name, "only the owner gives away"
        low, high = self.ring.extent(token.start)
        free = self.holdings.free((low, start)), self.holdings.free((end, high))
        assert self.holdings.used((start, end)) == 0, "what is given away is in use"
        tokens = self.ring.grant(start, end, recipient, free)
        self._wrote(tokens)
        return tokens

    def take_over(self, peer: PeerName) -> int:
        """Become the owner of all addresses of `peer`; returns their number."""
        count = self.ring.owned(peer)
        self._wrote(self.ring.take_over(peer, self.name))
        return count

    def hand_over(self, heir: PeerName) -> list[Token]:
        """Release all addresses and give all space to `heir`; returns the changed tokens."""
        for container in self.holdings.by_container():
            self.holdings.drop(container)
        self._addresses_changed = True
        tokens = self.ring.hand_over(self.name, heir)
        self._wrote(tokens)
        return tokens

    # --- queries ----------------------------------------------------------------------------------------------

    def lowest_free(self, subnet: Subnet) -> int | None:
        """The lowest usable address of the subnet that is owned and free here."""
        return self.holdings.lowest_free(self._within(subnet.first_usable, subnet.end_usable))

    def spare_block(self, start: int, end: int) -> Extent | None:
        """The part of a subnet that this peer can donate: its largest free CIDR block, at most half of its free space.

        The first and the last address of the subnet are unusable, so a block is never one of these alone.
        """
        usable = self._within(start + 1, end - 1)
        if not any(self.holdings.free(extent) for extent in usable):
            return None
        owned = self._within(start, end)
        limit = sum(self.holdings.free(extent) for extent in owned) // 2
        if limit > 1:
            gaps = [gap for extent in owned for gap in self.holdings.gaps(extent)]
            block = largest_block(gaps, limit)
            if block is not None and block[1] - block[0] > 1:
                return block
        return largest_block([gap for extent in usable for gap in self.holdings.gaps(extent)], 1)

    def _within(self, start: int, end: int) -> list[Extent]:
        return [(max(low, start), min(high, end)) for low, high in self.extents if low < end and high > start]

    def disowned(self) -> list[int]:
        """Held offsets that this peer does not own: its former ring lost a merge, or the peer was removed."""
        if self.ring.lineage is None or sum(map(self.holdings.used, self.extents)) == len(self.holdings.offsets()):
            return []
        return [
            offset
            for offset in self.holdings.offsets()
            if (token := self.ring.at(offset)) is None or token.owner != self.name
        ]

    def share(self) -> float:
        """The fraction of the range that this peer owns, 0 to 1."""
        return sum(high - low for low, high in self.extents) / self.universe.size

    # --- disk and gossip --------------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When changes from other peers must be written to disk at the latest."""
        return None if self._stale_since is None else self._stale_since + self._tuning.ipam_lazy

    def flush(self, now: int) -> list[Effect]:
        """Effects that write and announce the changes; they go before all other effects of the same input."""
        effects: list[Effect] = []
        if self._urgent or (self._stale_since is not None and now - self._stale_since >= self._tuning.ipam_lazy):
            stored = StoredRing(self.name, self.ring.whole())
            effects.append(Persist(RING_KEY, msgspec.msgpack.encode(stored)))
            self._urgent = False
            self._stale_since = None
        if self._addresses_changed:
            effects.append(Persist(ADDRESSES_KEY, self.holdings.encode()))
            self._addresses_changed = False
        if self._written:
            tokens = [self.ring.slots[start].token for start in sorted(self._written)]
            self._written.clear()
            effects.append(Broadcast(CHANNEL, self.ring.delta(tokens)))
        return effects

    def check_invariants(self) -> None:
        """Assert that ring and holdings are consistent."""
        self.ring.check_invariants()
        self.holdings.check_invariants()
        assert self.extents == self.ring.extents(self.name), "the own extents are not those of the ring"
