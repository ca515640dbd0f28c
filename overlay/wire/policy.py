"""Messages of the policy table: the known writes, and which of these are current. Data; `docs/wire.md` explains.

A write is identified by its writer and a number from that writer. A writer is one incarnation of a peer, because a peer
whose disk was lost or restored does not know which numbers it has used.
"""

from typing import Annotated

from msgspec import Meta

from overlay.wire.base import Wire

__all__ = ["MAX_COUNTER", "PolicyDelta", "PolicyEntry", "PolicySpan", "PolicyVector"]

MAX_RULE = 512
"""Maximum characters of `from … to …`."""
MAX_COUNTER = 1 << 62
"""Limit of numbers and versions on the wire, so that any received value can still be exceeded within 64 bits."""

Writer = Annotated[str, Meta(min_length=1, max_length=96)]
Number = Annotated[int, Meta(ge=1, le=MAX_COUNTER)]


class PolicyEntry(Wire, frozen=True, dict=True):
    """A current policy. Of two with the same `rule` the one with the higher version (then writer, number) wins."""

    writer: Writer
    number: Number
    version: Number
    accept: bool
    rule: Annotated[str, Meta(min_length=1, max_length=MAX_RULE)]
    """`from X to Y` in the canonical form of `overlay.policy.words`; a peer keeps and forwards rules that it cannot
    parse."""


class PolicySpan(Wire, frozen=True, order=True):
    """All writes of `writer` with the numbers `first` to `last` are known."""

    writer: Writer
    first: Number
    last: Number


class PolicyDelta(Wire, frozen=True, tag=70):
    """Of the writes in `spans` exactly `entries` are current. Both are sorted."""

    spans: tuple[PolicySpan, ...]
    entries: tuple[PolicyEntry, ...]


class PolicyVector(Wire, frozen=True, tag=71):
    """All known writes of the sender, and (writer, number, low 32 bits of its hash) of the current ones."""

    spans: tuple[PolicySpan, ...]
    standing: tuple[tuple[Writer, Number, Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]], ...]
