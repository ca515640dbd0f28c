"""A link as a file says it: parameter by parameter, put over whatever holds without it.

Owns the pydantic model of a link's parameters, in `underlay.links` and in steps; what they mean is `lab.links`'.
"""

import re
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from lab.links import Burst, Distribution, Link, QueueLimit
from lab.scenario.base import Model, fault
from lab.scenario.values import Duration, Percentage, Rate, Size

__all__ = ["DISTRIBUTIONS", "BurstLoss", "LinkSpec", "QueueSpec"]

DISTRIBUTIONS = ("uniform", "normal", "pareto")
"""Those that need no file."""
_TIME = re.compile(r"\s*[\d.]+\s*(ns|us|µs|ms|s|m|h)\s*")


class BurstLoss(Model):
    """Bursty loss after Gilbert and Elliott (see `lab.links.Burst`)."""

    enter: Percentage
    """How likely a packet begins a burst."""
    leave: Percentage
    """How likely a packet ends it."""
    bad: Percentage = 1.0
    """Loss within a burst."""
    good: Percentage = 0.0
    """Loss outside bursts."""


class QueueSpec(Model):
    """The most that may wait for a limited rate: bytes (`64KB`), or a time (`100ms`)."""

    bytes: Size | None = None
    """How many bytes wait at most."""
    time: Duration | None = None
    """How long a packet waits at most, at the link's rate."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = (
        {"type": ["string", "integer"], "examples": ["100ms", "64KB", 30000]},
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        if isinstance(value, str | int) and not isinstance(value, bool):
            return {"time" if _TIME.fullmatch(str(value)) else "bytes": value}
        return value

    @model_validator(mode="after")
    def _one_limit(self) -> "QueueSpec":
        if (self.bytes is None) == (self.time is None):
            raise fault("either a time (100ms) or bytes (64KB)")
        if not (self.bytes or self.time):
            raise fault("a queue above 0: a packet under way is in it", "0")
        return self

    @property
    def limit(self) -> QueueLimit:
        """As data."""
        return QueueLimit(bytes=self.bytes or 0, time=self.time or 0)


class LinkSpec(Model):
    """What a link does to packets, in one direction (see `lab.links.Link` and docs/links.md)."""

    hidden: ClassVar[frozenset[str]] = frozenset({"table"})

    delay: Duration | None = None
    """Time that each packet takes longer."""
    jitter: Duration | None = None
    """How far the delay varies."""
    distribution: str | None = Field(None, examples=[*DISTRIBUTIONS, "delays.txt"])
    """A word, or a file of measured delays next to the scenario."""
    table: SkipJsonSchema[tuple[int, ...] | None] = None
    """What such a file came to."""
    correlation: Percentage | None = None
    """How much a packet's delay resembles that of the packet before."""
    ordered: bool | None = None
    """No packet overtakes another, however its delay varies."""
    loss: Percentage | None = None
    """Share of packets that are lost."""
    loss_correlation: Percentage | None = None
    """How much the loss of a packet depends on that of the packet before."""
    burst: BurstLoss | None = None
    """Loss in bursts (Gilbert-Elliott)."""
    duplicate: Percentage | None = None
    """Share of packets that arrive twice."""
    reorder: Percentage | None = None
    """Share of packets that overtake those before them; needs `delay`."""
    corrupt: Percentage | None = None
    """Share of packets in which one bit is wrong."""
    rate: Rate | None = None
    """Bits per second that pass."""
    queue: QueueSpec | None = None
    """How much waits for the rate, in bytes or in time; the rest is lost."""
    mtu: Size | None = None
    """Packets above this size are dropped, without ICMP."""

    @model_validator(mode="after")
    def _known_distribution(self) -> "LinkSpec":
        words = (*DISTRIBUTIONS, "table") if self.table else DISTRIBUTIONS
        if self.distribution is not None and self.distribution not in words:
            expected = f"{', '.join(DISTRIBUTIONS)}, or a file of delays"
            raise fault(expected, repr(self.distribution))
        return self

    def values(self) -> dict[str, Any]:
        """Names of `Link`'s fields -> values, of what is said."""
        said = {name: value for name in LinkSpec.model_fields if (value := getattr(self, name)) is not None}
        if self.distribution is not None:
            said["distribution"] = Distribution(self.distribution)
            said["table"] = self.table or ()
        if self.burst is not None:
            said["burst"] = Burst(**self.burst.model_dump())
        if self.queue is not None:
            said["queue"] = self.queue.limit
        return said

    def link(self, base: Link) -> Link:
        """`base` with what this file says put over it."""
        return replace(base, **self.values())
