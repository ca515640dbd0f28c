"""`make check-statistics`: do the intervals and tests of sweeps keep what they say? Plays made-up sweeps and counts.

Prints, for each kind of runs, how often the 95 % interval of the median covers the truth, how often two sweeps of one
kind are said to differ, and how often a doubling is found. Ends with 1 where a figure is outside of what is promised.
It is no part of `make test`: it takes minutes, and its figures are of chance.
"""

import sys
from collections.abc import Callable, Iterator
from math import log

import numpy as np

from lab.sweep.statistics import CensoredSample, least_p, median, paired_test, permutation_test

INTERVALS = 2_000
"""Sets for an interval's coverage where times have bounds, whose estimate takes ten times as long."""
COVERED = 8_000
"""Sets for an interval's coverage: one in three hundred such counts is outside of 0.943 to 0.957 if it is 0.95."""
SETS = 2_000
"""Sets for tests."""
RUNS = 20
ALPHA = 0.05
Draw = Callable[[np.random.Generator, int], CensoredSample]
"""(generator, number of runs) -> a made-up sweep."""


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
    "lognormal within bounds of 0.1": (_probed(0.1), 1.0, (0.93, 0.97)),
    "lognormal within bounds of 0.5": (_probed(0.5), 1.0, (0.93, 0.97)),
    "lognormal within bounds of 0.5, censored": (_probed(0.5, censored=True), 1.0, (0.93, 0.98)),
    "lognormal within bounds of 1.5": (_probed(1.5), 1.0, (0.94, 1.0)),
}
"""Kind -> what draws it, its true median, and how often intervals have to cover that. Where bounds lie further apart
than times do, ordered bounds are the interval, which is cautious. Coverage within bounds is counted on fewer sets."""


def _doubled(sample: CensoredSample) -> CensoredSample:
    return CensoredSample(list(2 * sample.values), list(sample.reached), list(2 * sample.after))


def _share(hits: Iterator[bool], of: int = SETS) -> float:
    return sum(hits) / of


def _alarms(test: Callable[..., tuple[float, float]], pairs: list[tuple[CensoredSample, CensoredSample]]) -> float:
    """How often a test finds a difference. Each pair has permutations of its own: shared ones, which are few, would
    have the same error in all of them."""
    return _share(test(a, b, seed=seed, permutations=2_000)[0] < ALPHA for seed, (a, b) in enumerate(pairs))


def main() -> int:
    """Print the table; 1 where a figure is outside of what is promised."""
    broken = 0
    print(f"{COVERED} sweeps (intervals; within bounds {INTERVALS}) and {SETS} pairs of sweeps of {RUNS} runs each;")
    print("in brackets what is promised")
    for number, (kind, (draw, truth, (lowest, highest))) in enumerate(KINDS.items()):
        rng = np.random.default_rng([1, number])
        sets = INTERVALS if "bounds" in kind else COVERED
        bands = (median(draw(rng, RUNS), seed=seed) for seed in range(sets))
        covered = _share((band.low <= truth <= band.high for band in bands), sets)
        pairs = [(draw(rng, RUNS), draw(rng, RUNS)) for _ in range(SETS)]
        alarms = _alarms(permutation_test, pairs)
        within = _alarms(paired_test, pairs)
        power = _alarms(permutation_test, [(a, _doubled(b)) for a, b in pairs])
        least = 0.9 if draw is _lognormal else 0.0
        fine = (
            lowest <= covered <= highest and all(0.02 <= rate <= 0.0625 for rate in (alarms, within)) and power >= least
        )
        broken += not fine
        print(
            f"{kind}: the interval covers {covered:.3f} ({lowest:g} to {highest:g}), false alarms {alarms:.3f} and in "
            f"pairs {within:.3f} (0.05), a doubling is found {power:.3f}{' (0.9)' if least else ''}"
            f"{'' if fine else '  <--'}",
            flush=True,
        )
    print(f"fewest pairs with which one primary outcome can differ: {_fewest(paired=True)}; unpaired: {_fewest()}")
    return 1 if broken else 0


def _fewest(*, paired: bool = False) -> int:
    return next(runs for runs in range(2, 99) if least_p(runs, runs, paired=paired) < ALPHA)


if __name__ == "__main__":
    sys.exit(main())
