"""Messages of an origin map: the wire form of states in which every peer owns its own entries. No logic but its rules.

`uid` is the incarnation of the origin (see `overlay.wire.topology.PeerRecord`); within one incarnation `version` counts
its changes. Only the origin creates entries; all other peers pass them on unchanged.
"""

from typing import Annotated

from msgspec import Meta, Struct

from overlay.config import PeerName
from overlay.wire.base import Wire

MAX_NAMES = 32
MAX_LABELS = 128
MAX_COUNTER = 1 << 62
"""Limit of uid and version on the wire, so that any received value can still be exceeded within 64 bits."""


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
    names: Annotated[tuple[str, ...], Meta(max_length=MAX_NAMES)] = ()
    """Names that policies may use: the engine's name, and its DNS names without the domain. Lower case, sorted."""
    labels: Annotated[tuple[tuple[str, str], ...], Meta(max_length=MAX_LABELS)] = ()
    """Labels from the engine, sorted."""


class EnforcerValue(Wire, frozen=True, tag=36):
    """How a peer enforces policies, under the key `ENFORCER`."""

    table: Annotated[int, Meta(ge=0)]
    """The digest of the policies that it enforces."""
    closed: bool
    """It denies what no policy decides."""
    state: Annotated[str, Meta(max_length=16)] = ""
    """How its packet filter tracks replies: `conntrack` or `stateless`; `off`: it has no filter; empty: nothing to
    enforce yet."""


ENFORCER = "weave:policy"
"""The key of a peer's `EnforcerValue` among its endpoints."""

Value = NameValue | EndpointValue | EnforcerValue


class OriginEntry(Wire, frozen=True):
    """One entry of one origin: `value` None is a tombstone."""

    key: str
    version: int
    value: Value | None


class OriginState(Wire, frozen=True, dict=True):
    """The changes at `origin` between its versions `since` (exclusive) and `version` (inclusive).

    With `since` 0 it is the whole state: the receiver drops the keys that are not in it. Tombstones at or below `floor`
    are no longer in it; with `since` above 0 the floor is not above `since`. Entries ascend by version.
    """

    origin: PeerName
    uid: int
    version: int
    since: int
    floor: int
    entries: tuple[OriginEntry, ...]

    def fault(self) -> str:
        """The format rule that its numbers break; empty if they are valid."""
        if not (0 < self.uid < MAX_COUNTER and 0 <= self.since <= self.version < MAX_COUNTER):
            return f"uid {self.uid}, since {self.since}, version {self.version}"
        if self.since == self.version > 0:
            return f"nothing between since and version {self.version}"
        if not 0 <= self.floor <= (0 if self.since else self.version):
            return f"floor {self.floor} with since {self.since}"
        if len(self.entries) > 1 and len({entry.key for entry in self.entries}) != len(self.entries):
            return "one key twice"
        last = self.since
        for entry in self.entries:
            if not last < entry.version <= self.version:
                return f"entry {entry.key!r} of version {entry.version} after {last}, up to {self.version}"
            last = entry.version
        return ""


class OriginDelta(Wire, frozen=True, tag=32):
    """Changes of an origin map, sorted by (origin, since); several states of one origin leave gaps between them."""

    states: tuple[OriginState, ...]


class OriginVector(Wire, frozen=True, tag=33):
    """(origin, uid, version) of every origin that the sender knows, sorted."""

    known: tuple[tuple[PeerName, int, int], ...]


class Change(Struct, frozen=True):
    """A changed entry of `origin`, with old and new value; None: no entry. Never on the wire."""

    origin: PeerName
    key: str
    old: Value | None
    new: Value | None
