"""What endpoints claim, and how claims are told apart. Pure data; who wins is decided in `overlay.datapath.plan`."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from overlay.config import PeerName


class EndpointId(NamedTuple):
    """One endpoint: also the order in which endpoints of equal standing win a MAC."""

    origin: PeerName
    container: str


Arbiter = Callable[[str, list[EndpointId]], EndpointId]
"""Which of the endpoints of equal standing (at least two) keeps an address (an IP literal); the same on every peer."""


class Standing(IntEnum):
    """How an origin stands here; a lower one wins."""

    REACHABLE = 0
    HELD = 1
    """Lost without a farewell: forwarded until the hold is over, unless somebody reachable has the same."""
    GONE = 2


class EndpointClaim(Struct, frozen=True):
    """One announced endpoint: the MAC and the addresses it wants. `literals` are `addresses` without prefix length."""

    mac: str
    addresses: tuple[str, ...]
    literals: tuple[str, ...]


class Contest(Struct, frozen=True):
    """A MAC or an address that two containers announce: who has it, who is quarantined, and what mends it."""

    what: str
    winner: EndpointId
    loser: EndpointId
    mend: str
