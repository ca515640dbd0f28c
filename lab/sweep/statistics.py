"""Estimates with confidence bands, and tests, for censored samples.

A `CensoredSample` has times, and for each whether it was reached. A time that was not reached is right-censored: longer
than its value. A reached one may be interval-censored: longer than `after`, and at most its value.

Distributions are estimated after Kaplan and Meier (JASA 1958), which without censored values gives the empirical
distribution, or after Turnbull (`lab.sweep.turnbull`) if there are intervals. Bands are percentile bootstrap (Efron
1979): the runs are drawn with replacement. Because resamples of few runs lie too close together (Hesterberg, The
American Statistician 2015), tails are widened by a factor that simulations confirm (`make check-statistics`). If most
bounds lie further apart than the times do, resampling cannot estimate the spread, and the interval is that of the sign
test on ordered bounds.

Two samples are compared by Gehan's generalisation of the Mann-Whitney test (Biometrika 1965) with its permutation
distribution. With intervals it uses the scores of Fay (Statistics in Medicine 1999) from the pooled estimate, which are
valid if both samples were observed equally often. Paired runs (equal seeds) are compared by the same scores within
pairs (O'Brien and Fleming, Biometrics 1987). The error rate of many comparisons is controlled after Holm (1979).
Everything is a function of its arguments: the generators are seeded. Pure except for numpy and scipy.

scipy does the permutations. Its `bootstrap` interpolates between resamples, which is meaningless towards infinity, and
its `ecdf` estimates one censored sample at a time: 1,000 resamples of 100 runs would take 0.2 s instead of 15 ms. So
both are implemented here, for all resamples at once; a test compares them with scipy's.
"""

from collections.abc import Sequence
from functools import cache
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lab.sweep import turnbull

__all__ = [
    "BOOTSTRAP",
    "CONFIDENCE",
    "FEWEST_FOR_AN_INTERVAL",
    "FEWEST_TO_JUDGE",
    "PERMUTATIONS",
    "CensoredSample",
    "Curve",
    "Estimate",
    "Ratio",
    "curve",
    "holm",
    "least_p",
    "median",
    "paired_test",
    "permutation_test",
    "ratio_of_medians",
]

Floats = NDArray[np.float64]
Generator = np.random.Generator

BOOTSTRAP = 1_000
"""Number of resamples for each band."""
CONFIDENCE = 0.95
PERMUTATIONS = 20_000
"""Maximum number of permutations for each p value; if fewer exist, all are used."""
FEWEST_FOR_AN_INTERVAL = 2
"""One run cannot be resampled."""
FEWEST_TO_JUDGE = 6
"""The least and the greatest of five runs have the median between them in 94 % of all cases: no interval of fewer than
six covers it in 95 %, so nothing is called alike, or not alike, by such an interval."""
_GRID = 200
"""Maximum number of points at which a band is computed."""
_ROUNDS = 40
"""Iterations of the estimate for each resample (`lab.sweep.turnbull`): more of them move the interval by less than a
hundredth of its width."""
_CHUNK = 4_000_000
"""Maximum number of values in memory at once."""


class CensoredSample:
    """Values of one metric, one per run. `reached` false: the time is longer than the value. `after`: lower bound.
    `groups`: runs with the same number may be alike, so groups are drawn first, and then runs of each drawn one."""

    __slots__ = ("after", "groups", "reached", "values")

    def __init__(
        self,
        values: Sequence[float],
        reached: Sequence[bool] | None = None,
        after: Sequence[float] | None = None,
        groups: Sequence[int] | None = None,
    ) -> None:
        self.groups = None if groups is None or len(set(groups)) == len(groups) else np.asarray(groups)
        self.values: Floats = np.asarray(values, dtype=np.float64)
        self.after: Floats = self.values if after is None else np.asarray(after, dtype=np.float64)
        self.reached: NDArray[np.bool_] = (
            np.ones(len(self.values), dtype=bool) if reached is None else np.asarray(reached, dtype=bool)
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def censored(self) -> int:
        """Number of runs that did not reach it."""
        return int((~self.reached).sum())

    @property
    def intervals(self) -> bool:
        """Whether any reached time is interval-censored."""
        return bool((self.reached & (self.after < self.values)).any())

    @property
    def vague(self) -> bool:
        """Whether bounds lie further apart than times do, so that the intervals say little about the differences."""
        if not self.intervals:
            return False
        low, high = self.bounds
        middles = np.where(self.reached, (low + high) / 2, low)
        first, third = np.quantile(middles, (0.25, 0.75))
        return bool(np.median((high - low)[self.reached]) > third - first)

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """(longer than, at most) of each run; equal where the time is exact."""
        return np.where(self.reached, self.after, self.values), np.where(self.reached, self.values, np.inf)

    @property
    def constant(self) -> bool:
        """Whether all values are the same."""
        return len(self) == 0 or (
            bool((self.values == self.values[0]).all() and (self.after == self.after[0]).all())
            and self.censored in (0, len(self))
        )


class Estimate(Struct, frozen=True):
    """An estimate and its confidence interval; inf: too few runs reached it. The bounds are nan where there is no
    interval, because one run says nothing about the spread."""

    value: float
    low: float
    high: float


class Ratio(Struct, frozen=True):
    """The ratio of two medians and its interval; None where a median is zero or was not reached. The interval is None
    if one side has one run."""

    value: float | None
    low: float | None
    high: float | None


class Curve(Struct, frozen=True):
    """A distribution function: the share of runs that had settled `at` each time, and its band. A right-continuous step
    function; for interval-censored times (`sloped`) a line from each point to the next."""

    at: Any
    share: Any
    low: Any
    high: Any
    sloped: bool = False


def curve(sample: CensoredSample, *, seed: int = 0, resamples: int = BOOTSTRAP) -> Curve:
    """The distribution of a sample, at no more than `_GRID` points."""
    if sample.intervals:
        return _sloped(sample, seed, resamples)
    times = np.unique(sample.values[sample.reached])
    if len(times) == 0:
        empty = np.zeros(0)
        return Curve(empty, empty, empty, empty)
    share = 1 - _survival(sample, np.ones((1, len(sample))), times)[0]
    if len(sample) < FEWEST_FOR_AN_INTERVAL:
        return Curve(times, share, np.full(len(times), np.nan), np.full(len(times), np.nan))
    drawn = 1 - _resampled(sample, times, seed, resamples)
    low, high = np.quantile(drawn, _tails(len(sample)), axis=0)
    if len(times) > _GRID:
        kept = np.unique(np.linspace(0, len(times) - 1, _GRID).round().astype(int))
        times, share, low, high = times[kept], share[kept], low[kept], high[kept]
    return Curve(times, share, low, high)


def _sloped(sample: CensoredSample, seed: int, resamples: int) -> Curve:
    """The curve of interval-censored times: at both ends of each innermost interval."""
    where, found = _turnbull(sample, np.ones((1, len(sample))))
    if sample.vague:
        # All resamples would be equal. It is only known which runs certainly settled, and which may have.
        times = np.unique(np.concatenate([*sample.bounds, where.low]))
        times = times[np.isfinite(times)]
        lows, highs = (np.sort(bound) for bound in sample.bounds)
        sure = np.searchsorted(highs, times, side="right") / len(sample)
        may = np.searchsorted(lows, times, side="left") / len(sample)
        share = turnbull.shares(where, found, times)[0]
        return Curve(times, share, np.minimum(sure, share), np.maximum(may, share), sloped=True)
    ends = np.stack([where.low, where.high], axis=1)[np.isfinite(where.high) & (found[0] > 0)]
    times = np.unique(ends.reshape(-1))
    share = turnbull.shares(where, found, times)[0]
    if len(sample) < FEWEST_FOR_AN_INTERVAL:
        return Curve(times, share, np.full(len(times), np.nan), np.full(len(times), np.nan), sloped=True)
    again, drawn = _turnbull(sample, _weights(len(sample), seed, resamples))
    low, high = np.quantile(turnbull.shares(again, drawn, times), _tails(len(sample)), axis=0)
    return Curve(times, share, np.minimum(low, share), np.maximum(high, share), sloped=True)


def _turnbull(sample: CensoredSample, weights: Floats) -> tuple[turnbull.Support, Floats]:
    """The innermost intervals, and the probability of each per row of weights. Many rows get fewer iterations, so their
    last digits are not exact."""
    low, high = sample.bounds
    if len(weights) == 1:
        where = turnbull.support(low, high)
        return where, turnbull.masses(where, weights)
    where = turnbull.support(*turnbull.coarse(low, high))
    begin = turnbull.masses(where, np.ones((1, len(sample))))
    return where, turnbull.masses(where, weights, begin=begin, rounds=_ROUNDS)


def median(sample: CensoredSample, *, seed: int = 0, resamples: int = BOOTSTRAP) -> Estimate:
    """The median; inf when fewer than half of the runs reached it. Within an innermost interval all places are equally
    likely, so the median is interpolated linearly."""
    if len(sample) == 0:
        return Estimate(np.inf, np.inf, np.inf)
    value = float(_medians_of(sample, np.ones((1, len(sample))))[0])
    if len(sample) < FEWEST_FOR_AN_INTERVAL:
        return Estimate(value, np.nan, np.nan)
    if sample.vague:
        return Estimate(value, *_by_order(sample))
    low, high = _quantiles(_medians(sample, seed, resamples), len(sample))
    return Estimate(value, min(low, value), max(high, value))


def _by_order(sample: CensoredSample) -> tuple[float, float]:
    """The distribution-free interval of the median: with n times, only a limited number lies above it or below it, so
    it lies between these two of the ordered bounds."""
    runs, place, tail = len(sample), 0, 0.5 ** len(sample)
    while place < runs // 2 and tail + comb(runs, place + 1) * 0.5**runs <= (1 - CONFIDENCE) / 2:
        place += 1
        tail += comb(runs, place) * 0.5**runs
    low, high = sample.bounds
    return float(np.sort(low)[place]), float(np.sort(high)[runs - 1 - place])


def ratio_of_medians(
    a: CensoredSample, b: CensoredSample, *, paired: bool = False, seed: int = 0, resamples: int = BOOTSTRAP
) -> Ratio:
    """median(a) / median(b) with its interval; resamples whose ratio is undefined make the interval open.

    `paired`: the runs are pairs, in the same order; they are resampled as pairs.
    """
    first, second = _medians_of(a, np.ones((1, len(a))))[0], _medians_of(b, np.ones((1, len(b))))[0]
    if not (np.isfinite(first) and np.isfinite(second) and second > 0 and first > 0):
        return Ratio(None, None, None)
    if min(len(a), len(b)) < FEWEST_FOR_AN_INTERVAL or a.vague or b.vague:
        return Ratio(float(first / second), None, None)
    tops, bottoms = _medians(a, seed, resamples), _medians(b, seed if paired else seed + 1, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = tops / bottoms
    if np.isnan(ratios).any():
        return Ratio(float(first / second), None, None)
    low, high = _quantiles(ratios, min(len(a), len(b)))
    return Ratio(float(first / second), low, high if np.isfinite(high) else None)


def permutation_test(
    a: CensoredSample, b: CensoredSample, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """(p value, probability that a run of `a` takes longer than one of `b`; ties count half).

    Two-sided. The score of a run is the number of other runs that certainly took longer minus the number that certainly
    took less time. Under the null hypothesis that `a` and `b` are alike, every division of the scores is equally
    likely. Pairs whose order is unknown because of censoring count as ties.
    """
    # Imported here because the import takes a second and only comparisons need it.
    from scipy.stats import permutation_test as permute  # type: ignore[attr-defined]

    scores = _scores(a, b)
    first = len(a)
    superiority = float(0.5 - scores[:first].sum() / (2 * first * len(b)))
    if min(first, len(b)) == 1:  # scipy rejects a single run; here it may be any of the runs
        one = scores[0] if first == 1 else scores[-1]
        return float((abs(scores) >= abs(one)).mean()), superiority
    found = permute(
        (scores[:first], scores[first:]),
        lambda one, _, axis: abs(one.sum(axis=axis)),
        n_resamples=permutations,
        batch=max(1, _CHUNK // len(scores)),
        vectorized=True,
        alternative="greater",
        rng=seed,
    )
    return float(found.pvalue), superiority


def paired_test(
    a: CensoredSample, b: CensoredSample, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """(p value, probability that a run of `a` takes longer than its partner in `b`; ties count half). Two-sided.

    Run i of `a` and run i of `b` are a pair. Each run is scored among all runs of both (see `permutation_test`). If `a`
    and `b` are alike, the members of a pair are exchangeable, so all signs of the differences are equally likely.
    Raises ValueError for samples of different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} runs are no pairs")
    scores = _scores(a, b)
    differences = scores[: len(a)] - scores[len(a) :]
    superiority = float(((differences < 0) + (differences == 0) / 2).mean()) if len(a) else 0.5
    moved = differences[differences != 0]
    if len(moved) < 2:  # scipy rejects a single pair; both of its signs are equally extreme
        return 1.0, superiority
    # Imported here because the import takes a second and only comparisons need it.
    from scipy.stats import permutation_test as permute  # type: ignore[attr-defined]

    found = permute(
        (moved,),
        lambda one, axis: abs(one.sum(axis=axis)),
        permutation_type="samples",
        n_resamples=permutations,
        batch=max(1, _CHUNK // len(moved)),
        vectorized=True,
        alternative="greater",
        rng=seed,
    )
    return float(found.pvalue), superiority


def least_p(a: int, b: int, *, paired: bool) -> float:
    """The least possible p value for samples of `a` and `b` runs, if no two runs are equal; 1 without runs."""
    if min(a, b) == 0:
        return 1.0
    if paired:
        return 2.0 ** (1 - min(a, b))
    # For equal sizes the opposite division is equally extreme.
    return min(1.0, (2 if a == b else 1) / comb(a + b, a))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted (Holm) so that they control the probability of any false alarm among them."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


@cache
def _tails(runs: int) -> tuple[float, float]:
    """The shares of resamples below and above an interval; `runs` is at least 2."""
    normal = NormalDist()
    tail = normal.cdf(normal.inv_cdf((1 - CONFIDENCE) / 2) * sqrt((runs + 1) / (runs - 1)))
    return tail, 1 - tail


def _quantiles(values: Floats, runs: int) -> tuple[float, float]:
    """The interval, without interpolation, which is meaningless towards infinity."""
    low, high = np.quantile(values, _tails(runs), method="inverted_cdf")
    return float(low), float(high)


def _weights(n: int, seed: int, resamples: int) -> Floats:
    """How often each of n runs was drawn, per resample: (resamples, n)."""
    rng = np.random.default_rng([seed, n])
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _drawn(sample: CensoredSample, seed: int, resamples: int) -> Floats:
    """The same for a sample whose runs may be alike in groups."""
    if sample.groups is None:
        return _weights(len(sample), seed, resamples)
    rng = np.random.default_rng([seed, len(sample)])
    groups = np.unique(sample.groups)
    taken = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=resamples)
    weights = np.zeros((resamples, len(sample)))
    for index, group in enumerate(groups):
        members = np.flatnonzero(sample.groups == group)
        weights[:, members] = rng.multinomial(taken[:, index] * len(members), np.full(len(members), 1 / len(members)))
    return weights


def _survival(sample: CensoredSample, weights: Floats, times: Floats) -> Floats:
    """Kaplan-Meier: the share that had not settled by each of `times` (sorted), per row of weights."""
    order = np.argsort(sample.values, kind="stable")
    values, reached = sample.values[order], sample.reached[order]
    weights = weights[:, order]
    started = np.searchsorted(values, times, side="left")
    ended = np.searchsorted(values, times, side="right")
    zero = np.zeros((len(weights), 1))
    settled = np.concatenate([zero, np.cumsum(weights * reached, axis=1)], axis=1)
    everybody = np.concatenate([zero, np.cumsum(weights, axis=1)], axis=1)
    at_risk = everybody[:, -1:] - everybody[:, started]
    events = settled[:, ended] - settled[:, started]
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(at_risk > 0, 1 - events / at_risk, 1.0)
    survival: Floats = np.cumprod(factors, axis=1, dtype=np.float64)
    return survival


def _resampled(sample: CensoredSample, times: Floats, seed: int, resamples: int) -> Floats:
    """The survival function per resample, (resamples, times)."""
    weights = _drawn(sample, seed, resamples)
    rows = max(1, _CHUNK // max(len(sample), 1))
    return np.concatenate([_survival(sample, weights[i : i + rows], times) for i in range(0, resamples, rows)])


def _medians(sample: CensoredSample, seed: int, resamples: int) -> Floats:
    weights = _drawn(sample, seed, resamples)
    rows = max(1, _CHUNK // max(len(sample), 1))
    return np.concatenate([_medians_of(sample, weights[i : i + rows]) for i in range(0, resamples, rows)])


def _medians_of(sample: CensoredSample, weights: Floats) -> Floats:
    """The first time by which at least half have settled, per row; inf if there is none.

    If exactly half have settled, the middle between this time and the next, as for an uncensored median.
    """
    if sample.intervals:
        return turnbull.quantiles(*_turnbull(sample, weights))
    times = np.unique(sample.values[sample.reached])
    if len(times) == 0:
        return np.full(len(weights), np.inf)
    # Accumulated products of fractions: compare with one half up to rounding errors.
    left = _survival(sample, weights, times)
    half, more = left <= 0.5 + 1e-9, left < 0.5 - 1e-9
    first = np.where(half.any(axis=1), times[half.argmax(axis=1)], np.inf)
    after = np.where(more.any(axis=1), times[more.argmax(axis=1)], first)
    middle: Floats = (first + after) / 2
    return middle


def _scores(a: CensoredSample, b: CensoredSample) -> NDArray[Any]:
    """Gehan's scores of all runs: number that certainly took longer minus number that certainly took less time. For
    interval-censored times: the expected numbers under the pooled estimate."""
    values, reached = np.concatenate([a.values, b.values]), np.concatenate([a.reached, b.reached])
    if a.intervals or b.intervals:
        both = CensoredSample(list(values), list(reached), [*a.after, *b.after])
        where, found = _turnbull(both, np.ones((1, len(both))))
        left = 1 - np.concatenate([[0.0], np.cumsum(found[0])])
        expected: NDArray[Any] = len(both) * (left[where.first] + left[where.last + 1] - 1)
        return expected.round(9)
    known = np.sort(values[reached])
    everything = np.sort(values)
    censored = np.sort(values[~reached])
    # A run censored at exactly this time took longer.
    longer = len(everything) - np.searchsorted(everything, values, side="right")
    longer = longer + np.searchsorted(censored, values, side="right") - np.searchsorted(censored, values, side="left")
    shorter_known = np.searchsorted(known, values, side="left")
    shorter_censored = np.searchsorted(known, values, side="right")
    scores: NDArray[np.int64] = np.where(reached, longer - shorter_known, -shorter_censored).astype(np.int64)
    return scores
