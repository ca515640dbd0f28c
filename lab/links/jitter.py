"""How far a packet's delay is from the mean: uniform, normal, Pareto or as measured, with correlation. Pure.

All is integer arithmetic, so that every machine draws the same. With correlation r a packet has the deviation of the
packet before with probability r, and a new one otherwise: the distribution stays what it is, and deviations k packets
apart are correlated by r^k.
"""

from collections.abc import Sequence
from math import isqrt

from lab.links.values import Distribution, Link
from overlay.env import Random

__all__ = ["ONE", "Jitter", "table_of"]

_BITS = 16
ONE = 1 << _BITS
"""The jitter, in the numbers of a table."""
QUANTILES = 1024
"""Numbers of a table at most."""


class Jitter:
    """The deviations of one direction."""

    __slots__ = ("_last", "_rng", "link")

    def __init__(self, link: Link, rng: Random) -> None:
        self.link = link
        self._rng = rng
        self._last: int | None = None

    def deviation(self) -> int:
        """Nanoseconds to be added to the delay of the next packet; may be negative."""
        correlation = self.link.correlation
        if not correlation:
            return self._fresh()
        if self._last is None or self._rng.random() >= correlation:
            self._last = self._fresh()
        return self._last

    def _fresh(self) -> int:
        jitter, rng = self.link.jitter, self._rng
        match self.link.distribution:
            case Distribution.UNIFORM:
                return rng.randrange(-jitter, jitter + 1)
            case Distribution.NORMAL:
                # The sum of twelve uniform draws (Irwin and Hall): variance 1, and no logarithm.
                return (sum(rng.getrandbits(_BITS) for _ in range(12)) - 6 * ONE) * jitter // ONE
            case Distribution.PARETO:
                # Shape 3: the inverse cube root of a uniform draw, mean 1.5, deviation sqrt(3)/2.
                drawn = _cube_root((1 << 63) // (rng.getrandbits(15) + 1))
                return (drawn - 98_304) * jitter // 56_756
            case Distribution.TABLE:
                return rng.choice(self.link.table) * jitter // ONE


def table_of(delays: Sequence[int]) -> tuple[tuple[int, ...], int, int]:
    """A table of measured delays (ns), their mean, and their standard deviation.

    More than `QUANTILES` of them become as many quantiles. Delays that are all the same have no table."""
    count = len(delays)
    ordered = sorted(delays)
    if count > QUANTILES:
        ordered = [ordered[(2 * place + 1) * count // (2 * QUANTILES)] for place in range(QUANTILES)]
        count = QUANTILES
    mean = sum(ordered) // count
    deviation = isqrt(sum((delay - mean) ** 2 for delay in ordered) // count)
    if not deviation:
        return (), mean, 0
    return tuple((delay - mean) * ONE // deviation for delay in ordered), mean, deviation


def _cube_root(value: int) -> int:
    low, high = 0, 1 << 22
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle - 1)
    return low
