"""Addresses of other peers, stored on disk for the next run, which may start without any peer named.

Owns what is remembered and when it is written; the dialler dials it. Without discovery nothing is remembered, because
then a peer connects only to the neighbours that were named. Must not know connections.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from overlay.config import Address, Config, PeerName
from overlay.effects import Effect, Persist
from overlay.env import SECOND
from overlay.stored import decode

__all__ = ["MAX_REMEMBERED", "MET_KEY", "Memory"]

MET_KEY: Final = "met"
MAX_REMEMBERED: Final = 32
"""Enough, because one peer that answers leads to all others."""
PAUSE: Final = 5 * SECOND
"""Minimum time between writes, because a booting mesh changes many times a second."""


class Memory:
    """The peers that this peer has met. They stay while out of reach, and are removed when they leave."""

    def __init__(self, config: Config, stored: bytes | None) -> None:
        self._discovery = config.discovery
        self.known: dict[PeerName, Address] = {}
        """The peers met and their addresses; reachable peers first."""
        if stored is not None and self._discovery:
            self.known = decode(MET_KEY, stored, dict[PeerName, Address])
        self._written = dict(self.known)
        self._recalled = False
        self.first: int | None = 0 if self.known else None
        """When `wake` has something to do."""

    def recall(self) -> list[tuple[PeerName, Address]]:
        """The peers to look for in this run, and their addresses; empty after the first call."""
        first, self._recalled = not self._recalled, True
        return list(self.known.items()) if first else []

    def touch(self, now: int) -> None:
        """A peer may have become reachable: schedule a write."""
        if self._discovery and self.first is None:
            self.first = now + PAUSE

    def drop(self, peer: PeerName, now: int) -> None:
        """Forget a peer that has left or is declared dead."""
        if self.known.pop(peer, None) is not None:
            self.touch(now)

    def drop_addresses(self, addresses: Iterable[Address], now: int) -> None:
        """Forget the peers at these addresses."""
        unwanted = dict.fromkeys(addresses)
        for peer in [peer for peer, address in self.known.items() if address in unwanted]:
            self.drop(peer, now)

    def wake(self, found: Mapping[PeerName, Address]) -> list[Effect]:
        """Write the reachable peers (`found`), followed by the peers met before."""
        self.first = None
        kept = {peer: address for peer, address in self.known.items() if peer not in found}
        self.known = dict(list({**found, **kept}.items())[:MAX_REMEMBERED])
        if self.known == self._written:
            return []
        self._written = dict(self.known)
        return [Persist(MET_KEY, msgspec.msgpack.encode(self.known))]
