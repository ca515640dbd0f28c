"""Estimates and tests against values that were computed by hand, or that the mathematics fixes."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as untyped

from lab.sweep.statistics import (
    CensoredSample,
    curve,
    holm,
    least_p,
    median,
    paired_test,
    permutation_test,
    ratio_of_medians,
)

stats: Any = untyped
samples = st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=30)


def test_without_censoring_the_curve_is_the_empirical_distribution() -> None:
    found = curve(CensoredSample([3.0, 1.0, 2.0, 2.0]))
    assert list(found.at) == [1.0, 2.0, 3.0]
    assert list(found.share) == pytest.approx([0.25, 0.75, 1.0])
    assert (found.low <= found.share + 1e-12).all() and (found.share <= found.high + 1e-12).all()


def test_kaplan_and_meier_by_hand() -> None:
    """6, 6, 6, 6+, 7, 9+, 10, 10+ … of Freireich's leukaemia trial (1963), the textbook's example: S(6) = 0.857,
    S(7) = 0.807, S(10) = 0.753, S(13) = 0.690, S(16) = 0.627, S(22) = 0.538, S(23) = 0.448."""
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    reached = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    found = curve(CensoredSample(times, [bool(one) for one in reached]))
    assert list(found.at) == [6, 7, 10, 13, 16, 22, 23]
    assert list(1 - found.share) == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)
    assert median(CensoredSample(times, [bool(one) for one in reached])).value == 23


def test_a_median_that_was_not_reached_is_infinite() -> None:
    assert median(CensoredSample([1, 2, 3], [True, False, False])).value == math.inf
    assert median(CensoredSample([1, 2, 3], [False] * 3)).value == math.inf
    assert median(CensoredSample([])).value == math.inf


def test_a_median_band_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    bands = [median(CensoredSample(list(rng.exponential(1.0, 40))), seed=k, resamples=200) for k in range(120)]
    covered = sum(band.low <= math.log(2) <= band.high for band in bands)
    assert 104 <= covered <= 120  # 95 % of 120 is 114; this far off happens once in a thousand times


@given(samples)
def test_curves_and_medians_are_those_of_scipy(items: list[tuple[int, bool]]) -> None:
    values, reached = np.array([v for v, _ in items]), np.array([r for _, r in items])
    sample = CensoredSample([v for v, _ in items], [r for _, r in items])
    found = curve(sample, resamples=2)
    if not reached.any():
        assert len(found.at) == 0
        return
    theirs = stats.ecdf(stats.CensoredData(values[reached], right=values[~reached]))
    assert found.share == pytest.approx(theirs.cdf.evaluate(found.at))
    half = theirs.cdf.quantiles[theirs.cdf.probabilities >= 0.5 - 1e-9]
    more = theirs.cdf.quantiles[theirs.cdf.probabilities > 0.5 + 1e-9]
    middle = (half[0] + (more[0] if len(more) else half[0])) / 2 if len(half) else math.inf
    assert median(sample, resamples=2).value == middle


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_without_censoring_the_median_is_everybodys(values: list[int]) -> None:
    assert median(CensoredSample(values), resamples=2).value == np.median(values)


def test_a_test_within_pairs_counts_signs() -> None:
    """Five pairs, all the same way: 2 of the 32 arrangements of signs are as extreme."""
    a, b = CensoredSample([1, 2, 3, 4, 5]), CensoredSample([2, 3, 4, 5, 6])
    assert paired_test(a, b) == (2 / 32, 0.0) and least_p(5, 5, paired=True) == 2 / 32
    assert paired_test(b, a) == (2 / 32, 1.0)
    assert paired_test(a, a) == (1.0, 0.5)
    with pytest.raises(ValueError, match="5 and 1 runs are no pairs"):
        paired_test(a, CensoredSample([1]))
    longer = CensoredSample(list(np.random.default_rng(1).lognormal(0, 1, 40)))
    p, above = paired_test(longer, CensoredSample([value * 1.001 for value in longer.values]))
    assert p < 0.001 and above == 0.0


def test_a_test_within_pairs_is_that_of_scipy() -> None:
    """Without censoring and with one rank per run its scores are the ranks."""
    rng = np.random.default_rng(7)
    a, b = rng.exponential(1, 12), rng.exponential(1.3, 12)
    ranks = stats.rankdata(np.concatenate([a, b]))
    theirs = stats.permutation_test(
        (ranks[:12] - ranks[12:],), lambda d, axis: abs(d.sum(axis=axis)), permutation_type="samples",
        alternative="greater", vectorized=True, n_resamples=10_000,
    ).pvalue  # fmt: skip
    assert paired_test(CensoredSample(list(a)), CensoredSample(list(b)))[0] == pytest.approx(theirs)


def test_the_least_p() -> None:
    assert least_p(5, 5, paired=False) == pytest.approx(2 / 252)
    assert permutation_test(CensoredSample(range(5)), CensoredSample(range(9, 14)))[0] == pytest.approx(2 / 252)
    assert least_p(2, 5, paired=False) == pytest.approx(1 / 21) and least_p(0, 9, paired=True) == 1.0


def test_a_band_is_that_of_scipy() -> None:
    """Without censored runs, where scipy has the same bootstrap."""
    values = np.random.default_rng(4).exponential(1.0, 101)
    ours = median(CensoredSample(list(values)), resamples=20_000)
    theirs = stats.bootstrap((values,), np.median, n_resamples=20_000, method="percentile", rng=5).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_a_ratio_of_medians() -> None:
    rng = np.random.default_rng(2)
    a = CensoredSample(list(rng.lognormal(0.0, 0.2, 200)))
    found = ratio_of_medians(CensoredSample([2 * value for value in a.values]), a)
    assert found.value == pytest.approx(2.0)
    assert found.low is not None and found.high is not None and 1.8 < found.low < 2 < found.high < 2.2
    assert ratio_of_medians(a, CensoredSample([1.0], [False])).value is None


def test_the_permutation_test_is_exact_where_it_can_be_counted() -> None:
    """3 against 3, all of A below all of B: 2 of the 20 divisions are as extreme, p = 0.1."""
    p, above = permutation_test(CensoredSample([1, 2, 3]), CensoredSample([4, 5, 6]))
    assert p == pytest.approx(0.1, abs=0.01) and above == 0.0
    p, above = permutation_test(CensoredSample([1, 1, 1]), CensoredSample([1, 1, 1]))
    assert p == 1.0 and above == 0.5
    p, above = permutation_test(CensoredSample([1]), CensoredSample([2, 3, 4, 5]))
    assert p == pytest.approx(2 / 5) and above == 0.0


def test_what_was_not_reached_counts_as_longer() -> None:
    quick, never = CensoredSample([1.0] * 20), CensoredSample([5.0] * 20, [False] * 20)
    p, above = permutation_test(quick, never)
    assert p < 0.001 and above == 0.0
    # Two that were given up at different times: nothing is known of their order.
    assert permutation_test(CensoredSample([5.0] * 9, [False] * 9), CensoredSample([9.0] * 9, [False] * 9)) == (
        1.0,
        0.5,
    )


def test_equal_distributions_are_seldom_called_different() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(
        permutation_test(*(CensoredSample(list(rng.exponential(1, 15))) for _ in range(2)), permutations=400)[0] < 0.05
        for _ in range(200)
    )
    assert 2 <= alarms <= 22  # 10 are to be expected


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


@given(samples)
def test_curves_rise_from_0_to_at_most_1(items: list[tuple[int, bool]]) -> None:
    found = curve(CensoredSample([v for v, _ in items], [r for _, r in items]), resamples=20)
    assert ((np.diff(found.share) > -1e-12).all() if len(found.share) else True) and (found.share <= 1 + 1e-12).all()


@given(samples, samples)
def test_the_test_is_symmetric(a: list[tuple[int, bool]], b: list[tuple[int, bool]]) -> None:
    one, other = (CensoredSample([v for v, _ in items], [r for _, r in items]) for items in (a, b))
    forth, back = (permutation_test(x, y, permutations=50) for x, y in ((one, other), (other, one)))
    assert forth[1] == pytest.approx(1 - back[1])
    assert 0 < forth[0] <= 1
