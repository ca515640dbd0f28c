"""How far what takes no time but that of kernels and processes lies apart: base delays, round trips, answers.

Without a spread every try over a perfect link takes the same time to the nanosecond, and every pair as long as every
other. Owns the two tables, which are measured on real packets (`python -m benchmarks spread`; docs/performance.md has
the figures and when they were made), and how they are drawn from: all from the run's seed, in integers. The delay of
a pair is a function of the names, so that it is the same whatever else a run does.
"""

from hashlib import blake2b

from overlay.env import Random

__all__ = ["BETWEEN_PAIRS", "ROUND_TRIP", "Spread"]

ROUND_TRIP = (701, 791, 844, 879, 911, 938, 965, 989, 1_009, 1_030, 1_054, 1_081, 1_111, 1_152, 1_250, 1_465)
"""Thousandths of the median that a round trip takes: the quantiles in the middle of sixteen equal parts."""
BETWEEN_PAIRS = (859, 984, 1_015, 1_097)
"""Thousandths of the median of all that a pair's own median is: the same of four parts."""
_BITS = 16


class Spread:
    """The draws of one run."""

    __slots__ = ("_rng", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} spread")

    def of_pair(self, sender: str, receiver: str, base: int) -> int:
        """What the way from one host to another takes that takes `base` nanoseconds on the median."""
        name = "\0".join((str(self._seed), sender, receiver))
        drawn = int.from_bytes(blake2b(name.encode(), digest_size=_BITS // 8).digest(), "big")
        return base * _at(BETWEEN_PAIRS, drawn) // 1_000

    def around(self, usual: int) -> int:
        """How long something takes this time that takes `usual` nanoseconds on the median."""
        return usual * _at(ROUND_TRIP, self._rng.getrandbits(_BITS)) // 1_000


def _at(table: tuple[int, ...], drawn: int) -> int:
    """The value at a place in [0, 2**_BITS) of the distribution: straight lines between the middles of the parts, and
    no further than the outermost."""
    place = max(0, min(drawn * len(table) - (1 << _BITS - 1), len(table) - 1 << _BITS))
    part, rest = place >> _BITS, place & (1 << _BITS) - 1
    if part == len(table) - 1:
        return table[part]
    return table[part] + ((table[part + 1] - table[part]) * rest >> _BITS)
