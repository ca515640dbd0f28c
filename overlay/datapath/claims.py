"""Claims of endpoints, and their order. Pure data; `overlay.datapath.plan` decides who wins."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from overlay.config import PeerName


class EndpointId(NamedTuple):
    """One endpoint. The tuple order decides which of several endpoints of equal standing wins a MAC."""

    origin: PeerName
    container: str


Arbiter = Callable[[str, list[EndpointId]], EndpointId]
"""Decides which of the endpoints of equal standing (at least two) keeps an address (an IP literal); the same on every
peer."""


class Standing(IntEnum):
    """The standing of an origin on this peer; a lower value wins."""

    REACHABLE = 0
    HELD = 1
    """Lost without a farewell: forwarded until the hold ends, unless a reachable peer has the same MAC or address."""
    GONE = 2


class EndpointClaim(Struct, frozen=True):
    """One announced endpoint: the MAC and the addresses it claims. `literals` are `addresses` without prefix length."""

    mac: str
    addresses: tuple[str, ...]
    literals: tuple[str, ...]


class Contest(Struct, frozen=True):
    """A MAC or an address that two containers announce: the winner, the quarantined loser, and the fix."""

    what: str
    winner: EndpointId
    loser: EndpointId
    mend: str
