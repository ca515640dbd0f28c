"""What an origin map sends: the wire form of states in which every peer owns its own entries. No logic but its rules.

`uid` is the incarnation of the origin (see `overlay.wire.topology.PeerRecord`); within one incarnation `version`
counts its changes. Only the origin makes entries; everybody else passes them on unchanged.
"""

from typing import Annotated

from msgspec import Meta, Struct

from overlay.config import PeerName
from overlay.wire.base import Wire

MAX_NAMES = 32
MAX_LABELS = 128
MAX_COUNTER = 1 << 62
"""Bound of uid and version on the wire: it leaves room to out-version whatever comes, within 64 bits."""


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
    """What policies may call it: the engine's name, and its DNS names without the domain. Lower case, sorted."""
    labels: Annotated[tuple[tuple[str, str], ...], Meta(max_length=MAX_LABELS)] = ()
    """Of the engine, sorted."""


class EnforcerValue(Wire, frozen=True, tag=36):
    """How a peer enforces policies, under the key `ENFORCER`."""

    table: Annotated[int, Meta(ge=0)]
    """The digest of the policies that it goes by."""
    closed: bool
    """What no policy decides it denies."""
    state: Annotated[str, Meta(max_length=16)] = ""
    """How its packet filter knows replies: `conntrack` or `stateless`; `off`: it has none; empty: nothing to do yet."""


ENFORCER = "weave:policy"
"""The key of a peer's `EnforcerValue` among its endpoints."""

Value = NameValue | EndpointValue | EnforcerValue


class OriginEntry(Wire, frozen=True):
    """One entry of one origin: `value` None is a tombstone."""

    key: str
    version: int
    value: Value | None


class OriginState(Wire, frozen=True, dict=True):
    """What changed at `origin` between its versions `since` (not included) and `version` (included).

    With `since` 0 it is the whole state: the receiver drops the keys that are not in it. Tombstones at or below
    `floor` are no longer in it; with `since` above 0 the floor is not above `since`. Entries ascend by version.
    """

    origin: PeerName
    uid: int
    version: int
    since: int
    floor: int
    entries: tuple[OriginEntry, ...]

    def fault(self) -> str:
        """Which of the format's rules its numbers break; empty: none."""
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
    """News of an origin map, sorted by (origin, since); several states of one origin leave gaps between them."""

    states: tuple[OriginState, ...]


class OriginVector(Wire, frozen=True, tag=33):
    """(origin, uid, version) of every origin the sender knows, sorted."""

    known: tuple[tuple[PeerName, int, int], ...]


class Change(Struct, frozen=True):
    """One entry of `origin` is not what it was; None: there was none, or there is none any more. Never on the wire."""

    origin: PeerName
    key: str
    old: Value | None
    new: Value | None
