"""What the policy table sends: which writes it knows, and which of these still stand. Data; `docs/wire.md` explains.

A write is known by its writer and by the number that the writer gave it. A writer is one life of
a peer, because a peer whose disk was lost or set back does not know which numbers it has given.
"""

from typing import Annotated

from msgspec import Meta

from overlay.wire.base import Wire

__all__ = ["MAX_COUNTER", "PolicyDelta", "PolicyEntry", "PolicySpan", "PolicyVector"]

MAX_RULE = 512
"""Characters of `from … to …` at the most."""
MAX_COUNTER = 1 << 62
"""Bound of numbers and versions on the wire: it leaves room to out-version whatever comes, within 64 bits."""

Writer = Annotated[str, Meta(min_length=1, max_length=96)]
Number = Annotated[int, Meta(ge=1, le=MAX_COUNTER)]


class PolicyEntry(Wire, frozen=True, dict=True):
    """A policy that stands. Of two about the same `rule` the one of the higher version (then writer, number) counts."""

    writer: Writer
    number: Number
    version: Number
    accept: bool
    rule: Annotated[str, Meta(min_length=1, max_length=MAX_RULE)]
    """`from X to Y` as `overlay.policy.words` spells it; what a peer does not understand it keeps and passes on."""


class PolicySpan(Wire, frozen=True, order=True):
    """All writes of `writer` from the number `first` to `last` are known."""

    writer: Writer
    first: Number
    last: Number


class PolicyDelta(Wire, frozen=True, tag=70):
    """Of the writes in `spans` exactly `entries` still stand. Both are sorted."""

    spans: tuple[PolicySpan, ...]
    entries: tuple[PolicyEntry, ...]


class PolicyVector(Wire, frozen=True, tag=71):
    """All that the sender knows, and of what stands (writer, number, low 32 bits of its hash)."""

    spans: tuple[PolicySpan, ...]
    standing: tuple[tuple[Writer, Number, Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]], ...]
