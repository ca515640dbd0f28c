"""What an origin map sends: the wire form of states in which every peer owns its own entries. No logic.

`uid` is the incarnation of the origin (see `overlay.mesh.messages.PeerRecord`); within one incarnation `version`
counts its changes. Only the origin makes entries; everybody else passes them on unchanged.
"""

from overlay.config import PeerName
from overlay.wirebase import Wire


class NameValue(Wire, frozen=True, tag=34):
    """A DNS entry: `name` (fully qualified, as typed) resolves to `address` (literal) of `container`."""

    name: str
    address: str
    container: str


class EndpointValue(Wire, frozen=True, tag=35):
    """A container's port on the overlay: its MAC and its addresses ("a.b.c.d/n", at least one)."""

    container: str
    mac: str
    addresses: tuple[str, ...]


Value = NameValue | EndpointValue


class Entry(Wire, frozen=True):
    """One entry of one origin: `value` None is a tombstone."""

    key: str
    version: int
    value: Value | None


class OriginState(Wire, frozen=True):
    """Entries of `origin` newer than what the receiver has.

    With `full`, these are all entries it has (the receiver drops the others); otherwise those above `since`.
    """

    origin: PeerName
    uid: int
    version: int
    since: int
    full: bool
    entries: tuple[Entry, ...]


class OriginDelta(Wire, frozen=True, tag=32):
    """News of an origin map, at most one `OriginState` an origin, sorted by origin."""

    states: tuple[OriginState, ...]


class OriginVector(Wire, frozen=True, tag=33):
    """(origin, uid, version) of every origin the sender knows, sorted."""

    known: tuple[tuple[PeerName, int, int], ...]
