"""Where other peers were found: kept on disk for the next life, which may be launched without a word of them.

Owns what is remembered and when it is written; the dialler dials it. Without discovery nothing is remembered, for then
a peer has only the neighbours that somebody named. Must not know connections.
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
"""One that answers is enough to find all others."""
PAUSE: Final = 5 * SECOND
"""It is written at most so often: a mesh that boots changes many times a second."""


class Memory:
    """The acquaintances of one peer. They stay through any time out of reach, and go with their farewell."""

    def __init__(self, config: Config, stored: bytes | None) -> None:
        self._discovery = config.discovery
        self.known: dict[PeerName, Address] = {}
        """Who was met, and where; the ones in reach first."""
        if stored is not None and self._discovery:
            self.known = decode(MET_KEY, stored, dict[PeerName, Address])
        self._written = dict(self.known)
        self._recalled = False
        self.first: int | None = 0 if self.known else None
        """When `wake` has something to do."""

    def recall(self) -> list[tuple[PeerName, Address]]:
        """Which peers to look for in this life, and where; once."""
        first, self._recalled = not self._recalled, True
        return list(self.known.items()) if first else []

    def touch(self, now: int) -> None:
        """Somebody may have come into reach."""
        if self._discovery and self.first is None:
            self.first = now + PAUSE

    def drop(self, peer: PeerName, now: int) -> None:
        """It has left, or is declared dead: there is nobody to be found any more."""
        if self.known.pop(peer, None) is not None:
            self.touch(now)

    def drop_addresses(self, addresses: Iterable[Address], now: int) -> None:
        """Nobody is to be looked for there."""
        unwanted = dict.fromkeys(addresses)
        for peer in [peer for peer, address in self.known.items() if address in unwanted]:
            self.drop(peer, now)

    def wake(self, found: Mapping[PeerName, Address]) -> list[Effect]:
        """Write down those in reach (`found`), and behind them the peers met before."""
        self.first = None
        kept = {peer: address for peer, address in self.known.items() if peer not in found}
        self.known = dict(list({**found, **kept}.items())[:MAX_REMEMBERED])
        if self.known == self._written:
            return []
        self._written = dict(self.known)
        return [Persist(MET_KEY, msgspec.msgpack.encode(self.known))]
