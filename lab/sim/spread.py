"""Variation of durations that depend only on kernels and processes: base delays, round trips, replies.

Without it, every try over a perfect link takes exactly the same time, and every pair has the same delay. Owns the two
tables, measured on real packets (`python -m benchmarks spread`; docs/performance.md has the figures and their date),
and how values are drawn from them: from the run's seed, in integers. A pair's delay is a function of its names, so it
does not depend on anything else in the run.
"""

from hashlib import blake2b

from overlay.env import Random

__all__ = ["BETWEEN_PAIRS", "ROUND_TRIP", "Spread"]

ROUND_TRIP = (701, 791, 844, 879, 911, 938, 965, 989, 1_009, 1_030, 1_054, 1_081, 1_111, 1_152, 1_250, 1_465)
"""A round trip in thousandths of its median: the midpoint quantiles of sixteen equal parts."""
BETWEEN_PAIRS = (859, 984, 1_015, 1_097)
"""A pair's median in thousandths of the median of all pairs: the same for four parts."""
_BITS = 16


class Spread:
    """The random draws of one run."""

    __slots__ = ("_rng", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} spread")

    def of_pair(self, sender: str, receiver: str, base: int) -> int:
        """The delay from one host to another, if the median delay is `base` nanoseconds."""
        name = "\0".join((str(self._seed), sender, receiver))
        drawn = int.from_bytes(blake2b(name.encode(), digest_size=_BITS // 8).digest(), "big")
        return base * _at(BETWEEN_PAIRS, drawn) // 1_000

    def around(self, usual: int) -> int:
        """This time's duration of something with a median of `usual` nanoseconds."""
        return usual * _at(ROUND_TRIP, self._rng.getrandbits(_BITS)) // 1_000


def _at(table: tuple[int, ...], drawn: int) -> int:
    """The value at a place in [0, 2**_BITS) of the distribution: linear between the midpoints of the parts, and
    constant outside the outermost."""
    place = max(0, min(drawn * len(table) - (1 << _BITS - 1), len(table) - 1 << _BITS))
    part, rest = place >> _BITS, place & (1 << _BITS) - 1
    if part == len(table) - 1:
        return table[part]
    return table[part] + ((table[part + 1] - table[part]) * rest >> _BITS)
