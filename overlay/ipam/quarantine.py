"""Which container keeps an address that two containers hold: one rule, the same on every peer. Pure, stateless.

Such duplicates cannot be prevented (two networks that allocated before they met, an address typed twice by hand,
`rmpeer` of a peer that is still alive). Other peers must not install forwarding or DNS entries for the losers.
"""

from collections.abc import Iterable
from typing import TypeVar

from overlay.config import PeerName

Holder = TypeVar("Holder", bound=tuple[str, ...])
"""(peer, container)."""


def rightful_holder(owner: PeerName | None, holders: Iterable[Holder]) -> Holder:
    """Which of `holders` (at least one) keeps an address; `owner` owns it in the ring (None outside of the range).

    The owner's own container wins (it has at most one there, except by mistake); otherwise the lowest peer, then the
    lowest container. The ring is the same everywhere once gossip has converged, so the result is too.
    """
    return min(holders, key=lambda holder: (holder[0] != owner, holder))
