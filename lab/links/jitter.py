"""Deviation of a packet's delay from the mean: uniform, normal, Pareto or measured, with correlation. Pure.

All arithmetic is on integers, so that every machine draws the same values. With correlation r, a packet repeats the
previous packet's deviation with probability r, and draws a new one otherwise. So the distribution does not change, and
deviations k packets apart have correlation r^k.
"""

from collections.abc import Sequence
from math import isqrt

from lab.links.values import Distribution, Link
from overlay.env import Random

__all__ = ["ONE", "Jitter", "table_of"]

_BITS = 16
ONE = 1 << _BITS
"""A deviation of one jitter, in the unit of a table's values."""
QUANTILES = 1024
"""Maximum number of values in a table."""


class Jitter:
    """The deviations in one direction."""

    __slots__ = ("_last", "_rng", "link")

    def __init__(self, link: Link, rng: Random) -> None:
        self.link = link
        self._rng = rng
        self._last: int | None = None

    def deviation(self) -> int:
        """Nanoseconds to add to the delay of the next packet; may be negative."""
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
                # Sum of twelve uniform draws (Irwin-Hall): variance 1, without a logarithm.
                return (sum(rng.getrandbits(_BITS) for _ in range(12)) - 6 * ONE) * jitter // ONE
            case Distribution.PARETO:
                # Pareto with shape 3: the inverse cube root of a uniform draw; mean 1.5, standard deviation sqrt(3)/2.
                drawn = _cube_root((1 << 63) // (rng.getrandbits(15) + 1))
                return (drawn - 98_304) * jitter // 56_756
            case Distribution.TABLE:
                return rng.choice(self.link.table) * jitter // ONE


def table_of(delays: Sequence[int]) -> tuple[tuple[int, ...], int, int]:
    """A table of measured delays (ns), their mean, and their standard deviation.

    More than `QUANTILES` delays are reduced to that many quantiles. If all delays are equal, the table is empty.
    """
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
