"""Who keeps an address that two containers hold: one rule, the same on every peer. Pure functions, no state.

Such duplicates cannot be prevented (two networks that allocated before they met, an address typed twice by hand,
`rmpeer` of a peer that still lives). The others must not install forwarding or DNS entries for the losers.
"""

from collections.abc import Iterable
from typing import TypeVar

from overlay.config import PeerName

Holder = TypeVar("Holder", bound=tuple[str, ...])
"""(peer, container)."""


def rightful_holder(owner: PeerName | None, holders: Iterable[Holder]) -> Holder:
    """Which of `holders` (at least one) keeps an address whose owner in the ring is `owner` (None outside of it).

    The owner's own container (it can have but one there, except by mistake); else the lowest peer, then the lowest
    container. The ring is the same everywhere once gossip is through, hence so is the outcome.
    """
    return min(holders, key=lambda holder: (holder[0] != owner, holder))
