"""What a link of the underlay does to packets, as data: one model for all backends, one `Link` per direction.

Owns the parameters, their limits and how a table of links is resolved for a pair of hosts. Knows nothing of how a
backend applies them (kernel queues and rules, virtual time) and nothing of file formats.

Durations are integer nanoseconds, rates bits per second, sizes bytes, probabilities fractions from 0 to 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

MIN_MTU = 576
"""What every IPv4 host must accept (RFC 791, section 3.1)."""


class Distribution(StrEnum):
    """How jitter is spread around the delay."""

    UNIFORM = "uniform"
    NORMAL = "normal"
    PARETO = "pareto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Bursty loss after Gilbert and Elliott: a chain of a good and a bad state that steps once per packet."""

    enter: float
    """Probability of a step from good to bad."""
    leave: float
    """Probability of a step from bad to good; 1/leave is the mean length of a burst in packets."""
    bad: float = 1.0
    """Probability of loss while in the bad state."""
    good: float = 0.0
    """Probability of loss while in the good state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction between two hosts. The default is a perfect link."""

    delay: int = 0
    jitter: int = 0
    """Spread of the delay: half the width (uniform) or the standard deviation (normal, pareto)."""
    distribution: Distribution = Distribution.UNIFORM
    loss: float = 0.0
    """Independent per packet."""
    burst: Burst | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    """Probability that a packet skips the delay, and so overtakes; means nothing without a delay."""
    corrupt: float = 0.0
    """Probability that one bit of a packet is flipped."""
    rate: int = 0
    """Bits per second of wire packets; 0: not limited."""
    mtu: int = 0
    """Largest IP packet that passes; larger ones vanish without a word. 0: whatever the interfaces carry."""

    @property
    def perfect(self) -> bool:
        """Nothing happens to a packet on this link."""
        return self is _PERFECT or self == _PERFECT

    @property
    def timed(self) -> bool:
        """Asks for something that holds packets back or alters them, beyond dropping and rate."""
        return any(name in TIMED for name in self.asks())

    def asks(self) -> tuple[str, ...]:
        """Names of the parameters that differ from a perfect link, in the order of this class."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(_PERFECT, f.name))

    def faults(self) -> Iterator[str]:
        """What is wrong with these values, one sentence each; nothing when they make sense."""
        for name in ("loss", "duplicate", "reorder", "corrupt"):
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
        if self.reorder and not self.delay:
            yield "reorder needs a delay: a packet overtakes by skipping it"
        if 0 < self.mtu < MIN_MTU:
            yield f"mtu is {self.mtu}, expected at least {MIN_MTU}"


_PERFECT = Link()
TIMED = ("delay", "jitter", "burst", "duplicate", "reorder", "corrupt")
"""Parameters that need a queue which holds packets back or alters them; `loss` alone does not."""


@dataclass(frozen=True, slots=True)
class Links:
    """All links of an underlay: a default, the directions that differ, (sender, receiver) by host name, and between
    them in rank what holds from one region to another."""

    default: Link = _PERFECT
    pairs: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    """Host -> region."""
    regional: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    """(sender's region, receiver's region) -> link."""

    def between(self, sender: str, receiver: str) -> Link:
        """The link from one host to another; a host's link to itself is perfect."""
        if sender == receiver:
            return _PERFECT
        found = self.pairs.get((sender, receiver))
        return found if found is not None else self.below(sender, receiver)

    def below(self, sender: str, receiver: str) -> Link:
        """What holds for two hosts of which nothing is said as a pair: their regions', or the default."""
        if self.regional:
            ends = self.regions.get(sender, ""), self.regions.get(receiver, "")
            return self.regional.get(ends, self.default)
        return self.default

    def impaired(self, hosts: Sequence[str]) -> Iterator[tuple[str, str, Link]]:
        """(sender, receiver, link) of every direction among these hosts that is not perfect, in their order."""
        if self.default.perfect and not self.pairs and not self.regional:
            return
        for sender in hosts:
            for receiver in hosts:
                if not (link := self.between(sender, receiver)).perfect:
                    yield sender, receiver, link

    def with_pair(self, sender: str, receiver: str, link: Link) -> "Links":
        """The same table with one direction replaced."""
        return replace(self, pairs={**self.pairs, (sender, receiver): link})
