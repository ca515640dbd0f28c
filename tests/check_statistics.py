"""`make check-statistics`: do the intervals and tests of sweeps keep what they say? Plays made-up sweeps and counts.

Prints, for each kind of runs, how often the 95 % interval of the median covers the truth, how often two sweeps of one
kind are said to differ, and how often a doubling is found. Ends with 1 where a figure is further outside of what is
promised than chance explains. It is no part of `make test`: it takes minutes of all cores.

    python tests/check_statistics.py [PROCESSES]
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from lab.sweep.statistics import CensoredSample, least_p, median, paired_test, permutation_test

INTERVALS = 2_000
"""Sets for an interval's coverage where times have bounds, whose estimate takes ten times as long."""
COVERED = 8_000
"""Sets for an interval's coverage."""
PAIRS = 8_000
"""Pairs of sets for false alarms. With 2,000, an exact test of 5 % gave 6.4 % in one of fourteen counts: the standard
error is 0.5 %. Other pairs of the same kind, and ten times as many permutations, showed that it was these pairs."""
DOUBLED = 2_000
"""Pairs of sets for power."""
PERMUTATIONS = 999
RUNS = 20
ALPHA = 0.05
ALARMS = (0.02, 0.05)
"""Promised share of false alarms."""
Draw = Callable[[np.random.Generator, int], CensoredSample]
"""(generator, number of runs) -> a made-up sweep."""


class Count(NamedTuple):
    """A share, from this many sets, next to what is promised."""

    share: float
    of: int
    lowest: float
    highest: float

    @property
    def error(self) -> float:
        """Three standard errors: of all figures of the table, one in fifteen tables has one further off by chance."""
        return 3 * sqrt(self.share * (1 - self.share) / self.of)

    @property
    def holds(self) -> bool:
        return self.lowest - self.error <= self.share <= self.highest + self.error

    def __str__(self) -> str:
        promised = f"{self.lowest:g} to {self.highest:g}" if self.highest < 1 else f"{self.lowest:g} or more"
        return f"{self.share:.3f} ± {self.error:.3f} ({promised}){'' if self.holds else ' <--'}"


def _lognormal(rng: np.random.Generator, runs: int) -> CensoredSample:
    return CensoredSample(list(rng.lognormal(0.0, 0.6, runs)))


def _exponential(rng: np.random.Generator, runs: int) -> CensoredSample:
    return CensoredSample(list(rng.exponential(1.0, runs)))


def _censored(rng: np.random.Generator, runs: int) -> CensoredSample:
    """Exponential times, of which 30 % are cut short by windows of random length (also exponential)."""
    times, windows = rng.exponential(1.0, runs), rng.exponential(0.7 / 0.3, runs)
    return CensoredSample(list(np.minimum(times, windows)), list(times <= windows))


def _probed(every: float, *, censored: bool = False) -> Draw:
    """Lognormal times (sigma 0.6), seen by probes with random phases; `censored`: windows cut some short."""

    def draw(rng: np.random.Generator, runs: int) -> CensoredSample:
        times, phase = rng.lognormal(0.0, 0.6, runs), rng.uniform(0, every, runs)
        windows = rng.lognormal(0.7, 0.6, runs) if censored else np.full(runs, np.inf)

        def last_try(until: np.ndarray) -> np.ndarray:
            return np.maximum(0, phase + every * np.floor((until - phase) / every))

        after = last_try(times)
        reached = after + every <= windows
        high = np.where(after > 0, after + every, phase + every * np.ceil((times - phase) / every))
        after = np.where(reached, after, np.minimum(after, last_try(np.minimum(windows, 1e6))))
        return CensoredSample(list(np.where(reached, high, after)), list(reached), list(after))

    return draw


KINDS: dict[str, tuple[Draw, float, tuple[float, float]]] = {
    "lognormal (sigma 0.6)": (_lognormal, 1.0, (0.94, 0.96)),
    "exponential": (_exponential, log(2), (0.94, 0.96)),
    "exponential, 30 % censored": (_censored, log(2), (0.94, 0.96)),
    "lognormal within bounds of 0.1": (_probed(0.1), 1.0, (0.94, 0.96)),
    "lognormal within bounds of 0.5": (_probed(0.5), 1.0, (0.94, 0.96)),
    "lognormal within bounds of 0.5, censored": (_probed(0.5, censored=True), 1.0, (0.94, 0.97)),
    "lognormal within bounds of 1.5": (_probed(1.5), 1.0, (0.94, 1.0)),
}
"""Kind -> what draws it, its true median, and how often intervals have to cover that. Where bounds lie further apart
than times do, ordered bounds are the interval, which is cautious."""


def _doubled(sample: CensoredSample) -> CensoredSample:
    return CensoredSample(list(2 * sample.values), list(sample.reached), list(2 * sample.after))


def _share(hits: Iterator[bool], of: int) -> float:
    return sum(hits) / of


def _alarms(test: Callable[..., tuple[float, float]], pairs: list[tuple[CensoredSample, CensoredSample]]) -> float:
    """How often a test finds a difference. Each pair has permutations of its own: shared ones, which are few, would
    have the same error in all of them."""
    found = (test(a, b, seed=seed, permutations=PERMUTATIONS)[0] < ALPHA for seed, (a, b) in enumerate(pairs))
    return _share(found, len(pairs))


def of_kind(kind: str, sets: int | None = None, pairs: int = PAIRS) -> dict[str, Count]:
    """All counts of one kind, by what they are of."""
    draw, truth, (lowest, highest) = KINDS[kind]
    rng = np.random.default_rng([1, list(KINDS).index(kind)])
    sets = sets or (INTERVALS if "bounds" in kind else COVERED)
    bands = (median(draw(rng, RUNS), seed=seed) for seed in range(sets))
    covered = _share((band.low <= truth <= band.high for band in bands), sets)
    drawn = [(draw(rng, RUNS), draw(rng, RUNS)) for _ in range(pairs)]
    doubled = [(a, _doubled(b)) for a, b in drawn[:DOUBLED]]
    return {
        "the interval covers": Count(covered, sets, lowest, highest),
        "false alarms": Count(_alarms(permutation_test, drawn), pairs, *ALARMS),
        "false alarms in pairs": Count(_alarms(paired_test, drawn), pairs, *ALARMS),
        "a doubling is found": Count(
            _alarms(permutation_test, doubled), len(doubled), 0.9 if draw is _lognormal else 0.0, 1.0
        ),
    }


def main() -> int:
    """Print the table; 1 where a figure is outside of what is promised."""
    broken = 0
    print(f"sweeps of {RUNS} runs: {COVERED} for an interval ({INTERVALS} where times have bounds), {PAIRS} pairs for")
    print(f"false alarms, {DOUBLED} for power. ±: three standard errors; in brackets what is promised.")
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(processes) as pool:
        for kind, counts in zip(KINDS, pool.map(of_kind, KINDS), strict=True):
            print(f"{kind}: {', '.join(f'{what} {count}' for what, count in counts.items())}", flush=True)
            broken += sum(not count.holds for count in counts.values())
    print(f"fewest pairs with which one primary outcome can differ: {_fewest(paired=True)}; unpaired: {_fewest()}")
    return 1 if broken else 0


def _fewest(*, paired: bool = False) -> int:
    return next(runs for runs in range(2, 99) if least_p(runs, runs, paired=paired) < ALPHA)


if __name__ == "__main__":
    sys.exit(main())
