"""A link of the underlay as data: the effect of one direction between two hosts on packets.

Owns the parameters and their limits. Knows nothing of how they are applied (`lab.links.model`, kernel queues and rules)
and nothing of file formats. docs/links.md defines each parameter precisely.

Durations are integer nanoseconds, rates bits per second, sizes bytes, probabilities fractions from 0 to 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

__all__ = ["MIN_MTU", "OPPORTUNITY", "TIMED", "Burst", "Deliveries", "Distribution", "Link", "QueueLimit"]

MIN_MTU = 576
"""The minimum that every IPv4 host must accept (RFC 791, section 3.1)."""
OPPORTUNITY = 1500
"""Bytes that one delivery opportunity of a Mahimahi trace carries (mm-link(1))."""


class Distribution(StrEnum):
    """The distribution of jitter around the delay."""

    UNIFORM = "uniform"
    NORMAL = "normal"
    PARETO = "pareto"
    TABLE = "table"
    """A measured distribution: see `Link.table`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Bursty loss (Gilbert-Elliott): a chain with a good and a bad state that steps once per packet."""

    enter: float
    """Probability of a step from good to bad."""
    leave: float
    """Probability of a step from bad to good; 1/leave is the mean length of a burst in packets."""
    bad: float = 1.0
    """Probability of loss while in the bad state."""
    good: float = 0.0
    """Probability of loss while in the good state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimit:
    """Maximum queue of a limited rate; further packets are dropped. Exactly one of the two is above 0."""

    bytes: int = 0
    """Bytes that wait or are being sent; an empty queue accepts any packet."""
    time: int = 0
    """Maximum nanoseconds that a packet waits for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """A rate that follows a Mahimahi trace: when one packet of `OPPORTUNITY` bytes may leave, from the change on."""

    times: tuple[int, ...]
    """Nanoseconds from the change on, in order; equal times mean several packets."""
    period: int
    """Nanoseconds after which it repeats; 0: it does not, and after its end no packet leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction between two hosts. The default is a perfect link."""

    delay: int = 0
    jitter: int = 0
    """Spread of the delay: half the width (uniform) or the standard deviation (all others)."""
    distribution: Distribution = Distribution.UNIFORM
    table: tuple[int, ...] = ()
    """For the distribution `table`: equally likely deviations, in 1/65536 of the jitter; their mean is 0."""
    correlation: float = 0.0
    """Probability that a packet has the jitter of the previous packet."""
    ordered: bool = False
    """Jitter lets no packet overtake: a packet never arrives before the previous one."""
    loss: float = 0.0
    """Per packet; independent of other packets unless `loss_correlation` says otherwise."""
    loss_correlation: float = 0.0
    """Probability that a packet has the fate of the previous one: lost if `loss` dropped that, otherwise not."""
    burst: Burst | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    """Probability that a packet skips the delay, and so overtakes; has no effect without a delay."""
    corrupt: float = 0.0
    """Probability that one bit of a packet is flipped."""
    rate: int = 0
    """Bits per second of wire packets; 0: not limited."""
    queue: QueueLimit | None = None
    """Maximum queue of the rate; None: `lab.links.queue.DEFAULT_QUEUE`."""
    deliveries: Deliveries | None = None
    """A rate that follows a trace; takes precedence over `rate`."""
    mtu: int = 0
    """Largest IP packet that passes; larger ones are dropped without ICMP. 0: limited only by the interfaces."""

    @property
    def perfect(self) -> bool:
        """Whether the link does not affect packets."""
        return self is _PERFECT or self == _PERFECT

    @property
    def timed(self) -> bool:
        """Whether the link delays or alters packets, beyond dropping and rate."""
        return any(name in TIMED for name in self.asks())

    def asks(self) -> tuple[str, ...]:
        """Names of the parameters that differ from a perfect link, in the order of this class."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(_PERFECT, f.name))

    def faults(self) -> Iterator[str]:
        """Errors in these values, one sentence each; empty when they are valid."""
        for name in ("correlation", "loss", "loss_correlation", "duplicate", "reorder", "corrupt"):
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                yield f"{name} is {value}, expected a probability from 0 to 1 (or 0% to 100%)"
        if self.burst is not None:
            for name in ("enter", "leave", "bad", "good"):
                if not 0.0 <= (value := getattr(self.burst, name)) <= 1.0:
                    yield f"burst.{name} is {value}, expected a probability from 0 to 1 (or 0% to 100%)"
        for name in ("delay", "jitter", "rate", "mtu"):
            if (value := getattr(self, name)) < 0:
                yield f"{name} is {value}, expected 0 or more"
        if self.jitter > self.delay:
            yield f"jitter ({self.jitter} ns) exceeds delay ({self.delay} ns): a packet would arrive before it is sent"
        yield from self._missing()
        if 0 < self.mtu < MIN_MTU:
            yield f"mtu is {self.mtu}, expected at least {MIN_MTU}"

    def _missing(self) -> Iterator[str]:
        """Parameters that have no effect without another one."""
        if self.reorder and not self.delay:
            yield "reorder needs a delay: a packet overtakes by skipping it"
        if self.correlation and not self.jitter:
            yield "correlation needs a jitter: it says how much one packet's jitter has of the other's"
        if self.ordered and not self.jitter:
            yield "ordered needs a jitter: without it no packet overtakes"
        if self.loss_correlation and not self.loss:
            yield "loss_correlation needs a loss"
        if self.queue is not None and not self.rate and self.deliveries is None:
            yield "queue needs a rate: without it nothing waits"
        if (self.distribution is Distribution.TABLE) != bool(self.table):
            yield "distribution 'table' and its table are given together"


_PERFECT = Link()
TIMED = (
    "delay", "jitter", "distribution", "table", "correlation", "ordered", "loss_correlation", "burst", "duplicate",
    "reorder", "corrupt", "deliveries",
)  # fmt: skip
"""Parameters that need a queue which delays or alters packets; `loss` alone does not."""
