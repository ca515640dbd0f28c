"""Times of which only bounds are known: Turnbull's estimate against a published table, against Kaplan and Meier, and
against the truth."""

import numpy as np
import pytest

from lab.sweep import turnbull
from lab.sweep.compare import compare
from lab.sweep.figures import figures
from lab.sweep.groups import grouped, sample_of
from lab.sweep.measure import EventResult, Point
from lab.sweep.statistics import CensoredSample, curve, median, paired_test, permutation_test, ratio_of_medians
from lab.sweep.table import read_table, write_tables

INF = float("inf")
RADIATION = [
    (45, INF), (25, 37), (37, INF), (6, 10), (46, INF), (0, 5), (0, 7), (26, 40), (18, INF), (46, INF), (46, INF),
    (24, INF), (46, INF), (27, 34), (36, INF), (7, 16), (36, 44), (5, 11), (17, INF), (46, INF), (19, 35), (7, 14),
    (36, 48), (17, 25), (37, 44), (37, INF), (24, INF), (0, 8), (40, INF), (32, INF), (4, 11), (17, 25), (33, INF),
    (15, INF), (46, INF), (19, 26), (11, 15), (11, 18), (37, INF), (22, INF), (38, INF), (34, INF), (46, INF), (5, 12),
    (36, INF), (46, INF),
]  # fmt: skip
"""Months until cosmetic deterioration after radiotherapy alone (Finkelstein and Wolfe, Biometrics 1985)."""
PUBLISHED = {
    (4, 5): 0.0463, (6, 7): 0.0334, (7, 8): 0.0887, (11, 12): 0.0708, (24, 25): 0.0926, (33, 34): 0.0818,
    (38, 40): 0.1209, (46, 48): 0.4656,
}  # fmt: skip
"""As `icfit` of R's package interval prints it (Fay and Shaw, Journal of Statistical Software 2010)."""


def estimate(pairs):
    bounds = np.array(pairs, dtype=float)
    where = turnbull.support(bounds[:, 0], bounds[:, 1])
    return where, turnbull.masses(where, np.ones((1, len(bounds))))


def looked_at(rng, runs, every, scale=1.0):
    """Lognormal times (median 1/e of `scale`), seen by probes of random phases."""
    times, phase = scale * rng.lognormal(-1, 0.6, runs), rng.uniform(0, every, runs)
    step = np.floor((times - phase) / every)
    low, high = np.maximum(0, phase + every * step), phase + every * (step + 1)
    return CensoredSample(list(high), None, list(low)), times


def test_the_estimate_is_the_published_one():
    where, found = estimate(RADIATION)
    mine = {
        (low, high): round(mass, 4)
        for low, high, mass in zip(where.low, where.high, found[0], strict=True)
        if mass > 1e-5
    }
    assert mine == PUBLISHED


def test_exact_and_right_censored_times_give_the_estimate_of_kaplan_and_meier():
    rng = np.random.default_rng(5)
    for _ in range(20):
        times, windows = rng.exponential(1, 15).round(1), rng.exponential(2, 15).round(1)
        sample = CensoredSample(list(np.minimum(times, windows)), list(times <= windows))
        where = turnbull.support(*sample.bounds)
        found = turnbull.masses(where, np.ones((1, 15)))
        known = curve(sample)
        assert turnbull.shares(where, found, np.asarray(known.at))[0] == pytest.approx(known.share, abs=1e-6)
        assert turnbull.quantiles(where, found)[0] == pytest.approx(median(sample).value, abs=1e-6)


def test_bounds_that_touch_do_not_meet_and_an_exact_time_lies_in_those_that_end_with_it():
    where, found = estimate([(0, 1), (1, 2)])
    assert list(zip(where.low, where.high, strict=True)) == [(0, 1), (1, 2)] and found[0] == pytest.approx([0.5, 0.5])
    where, _ = estimate([(0, 1), (1, 1), (1, 2)])
    assert list(zip(where.low, where.high, strict=True)) == [(1, 1), (1, 2)]


@pytest.mark.parametrize("every", [0.05, 0.2])
def test_the_median_of_times_within_bounds_is_that_of_the_times(every):
    sample, times = looked_at(np.random.default_rng(2), 400, every)
    found = median(sample, resamples=100)
    assert found.value == pytest.approx(np.median(times), rel=0.1)
    assert found.low < np.median(times) < found.high
    assert found.value < np.median(sample.values) - every / 4, "upper bounds taken for times are too long"


def test_where_bounds_lie_further_apart_than_times_the_interval_is_not_narrow():
    rng = np.random.default_rng(3)
    samples = [looked_at(rng, 20, 1.0)[0] for _ in range(40)]
    assert all(sample.vague for sample in samples)
    bands = [median(sample) for sample in samples]
    assert all(band.low <= np.exp(-1) <= band.high for band in bands)
    assert ratio_of_medians(samples[0], samples[1]).low is None


def test_a_curve_of_times_within_bounds_is_a_line_between_them():
    found = curve(CensoredSample([1.0, 1.0, 3.0], None, [0.0, 0.0, 2.0]))
    assert found.sloped and list(found.at) == [0, 1, 2, 3]
    assert found.share == pytest.approx([0, 2 / 3, 2 / 3, 1])
    assert all(found.low <= found.share) and all(found.share <= found.high)


def test_tests_see_a_doubling_through_bounds_and_nothing_where_there_is_nothing():
    rng = np.random.default_rng(4)
    a, b, same = looked_at(rng, 40, 0.2)[0], looked_at(rng, 40, 0.2, 2.0)[0], looked_at(rng, 40, 0.2)[0]
    for test in (permutation_test, paired_test):
        p, above = test(a, b, permutations=2_000)
        assert p < 0.01 and above < 0.3
        assert test(a, same, permutations=2_000)[0] > 0.05
    assert 1.3 < (ratio_of_medians(b, a, resamples=200).value or 0) < 3.0


def test_many_bounds_are_moved_outwards_only():
    rng = np.random.default_rng(6)
    low = rng.uniform(0, 1, 300)
    high = np.where(rng.uniform(size=300) < 0.2, INF, low + rng.uniform(0, 1, 300))
    down, up = turnbull.coarse(low, high)
    assert (down <= low).all() and (up >= high).all() and (np.isinf(up) == np.isinf(high)).all()
    assert len(np.unique(np.concatenate([down, up[np.isfinite(up)]]))) <= 60


def probed(seed, every=200_000_000, heal=None):
    """A point whose pairs were seen to be right between two tries, or at the first one."""
    took = every * (1 + seed % 5) // 5 if heal is None else heal + every * (seed % 5) // 5
    after = 0 if heal is None else took - every
    return Point(
        key=str(seed),
        parameters={},
        seed=seed,
        verdict="valid",
        events=(
            EventResult(
                name="heal",
                label="heal",
                window=6_000_000_000,
                times={"half": took, "overall": None, "topology": 90_000_000},
                after={"half": after, "overall": 5_000_000_000, "topology": 90_000_000},
                floor={"half": every, "overall": every},
                waited=True,
            ),
        ),
    )


def test_bounds_and_floors_are_in_the_tables_and_read_back(tmp_path):
    points = [probed(seed, heal=1_000_000_000) for seed in range(6)]
    for path in write_tables(tmp_path, points):
        (row, *_) = (point.events[0] for point in read_table(path))
        assert row == points[0].events[0], path
    sample = sample_of(read_table(tmp_path), "heal", "half")
    assert sample.intervals and list(sample.values - sample.after) == pytest.approx([0.2] * 6)
    late = sample_of(points, "heal", "overall")
    assert late.censored == 6 and set(late.values) == {5.0}, "longer than the last bad try"


def test_a_time_below_the_interval_of_the_probes_is_not_said_to_be_shorter():
    drawn = {figure.name: figure for figure in figures(grouped([probed(seed) for seed in range(6)]))}
    heal = drawn["after-heal"]
    assert heal.title == "After heal half of the pairs were right within 200 ms in half of the runs"
    assert "the interval of the probes, 200 ms" in heal.caption and "A step waits here" in heal.caption
    header, *rows = (line.split(",") for line in heal.csv.splitlines())
    assert {row[header.index("floor_s")] for row in rows if row[1] == "half"} == {"0.2"}


def test_differences_below_the_interval_are_at_most_it_in_words():
    a, b = ([probed(seed, heal=heal) for seed in range(20)] for heal in (None, 1_000_000_000))
    (half,) = (item for item in compare(a, b).differences if item.metric == "half")
    assert half.differs and half.floor == 0.2 and "instead of at most 200 ms" in half.words
    (late,) = (item for item in compare(a, b).differences if item.metric == "overall")
    assert late.waited and not half.waited
