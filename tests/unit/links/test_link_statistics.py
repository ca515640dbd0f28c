"""What a link does in the mean, against closed forms, with fixed seeds: exactly the same numbers on every machine.

Bounds are four standard errors of the estimate, rounded up; none of them moves unless the model does.
"""

from itertools import groupby
from math import sqrt
from statistics import fmean, pstdev

import pytest

from lab.links import Burst, Deliveries, Distribution, Link, QueueLimit
from lab.links.jitter import table_of
from lab.links.model import DirectionModel
from overlay.env import MILLISECOND, SECOND, Random

PACKETS = 40_000
APART = 200 * MILLISECOND
MS = MILLISECOND


def fates(link: Link, packets: int = PACKETS) -> list[bool]:
    """Whether each packet is lost."""
    model = DirectionModel(link, Random("fates"))
    return [not model.packet(number * APART, 100) for number in range(packets)]


def delays(link: Link, packets: int = PACKETS) -> list[int]:
    model = DirectionModel(link, Random("delays"))
    return [model.packet(number * APART, 100)[0].at - number * APART for number in range(packets)]


def runs(lost: list[bool]) -> list[int]:
    """Lengths of the runs of lost packets."""
    return [len(list(group)) for value, group in groupby(lost) if value]


def correlation(values: list[int], apart: int) -> float:
    mean, variance = fmean(values), pstdev(values) ** 2
    pairs = zip(values, values[apart:], strict=False)
    return fmean((one - mean) * (other - mean) for one, other in pairs) / variance


@pytest.mark.parametrize("loss", [0.01, 0.3])
def test_independent_loss(loss: float) -> None:
    lost = fates(Link(loss=loss))
    assert fmean(lost) == pytest.approx(loss, abs=4 * sqrt(loss * (1 - loss) / PACKETS))
    assert fmean(runs(lost)) == pytest.approx(1 / (1 - loss), rel=0.05)


@pytest.mark.parametrize(("loss", "r"), [(0.05, 0.25), (0.2, 0.75), (0.5, 0.9)])
def test_loss_with_correlation_keeps_its_share_and_comes_in_runs(loss: float, r: float) -> None:
    lost = fates(Link(loss=loss, loss_correlation=r))
    # Correlated packets say less: the variance of the mean grows by (1 + r) / (1 - r).
    assert fmean(lost) == pytest.approx(loss, abs=4 * sqrt(loss * (1 - loss) / PACKETS * (1 + r) / (1 - r)))
    assert fmean(runs(lost)) == pytest.approx(1 / ((1 - r) * (1 - loss)), rel=0.1)
    assert correlation([int(one) for one in lost], 2) == pytest.approx(r**2, abs=0.05)


@pytest.mark.parametrize(
    "burst",
    [Burst(enter=0.02, leave=0.25), Burst(enter=0.1, leave=0.4, bad=0.8), Burst(enter=0.05, leave=0.5, good=0.01)],
)
def test_bursts_after_gilbert_and_elliott(burst: Burst) -> None:
    lost = fates(Link(burst=burst))
    bad = burst.enter / (burst.enter + burst.leave)
    assert fmean(lost) == pytest.approx(bad * burst.bad + (1 - bad) * burst.good, abs=0.008)
    if burst.bad == 1 and not burst.good:
        lengths = runs(lost)
        assert fmean(lengths) == pytest.approx(1 / burst.leave, rel=0.06)
        # Geometric: so many runs are longer than k.
        for k in (1, 3, 8):
            assert fmean(length > k for length in lengths) == pytest.approx((1 - burst.leave) ** k, abs=0.05)


@pytest.mark.parametrize(
    ("distribution", "deviation"),
    [(Distribution.UNIFORM, 5 / sqrt(3)), (Distribution.NORMAL, 5.0), (Distribution.PARETO, 5.0)],
)
@pytest.mark.parametrize("r", [0.0, 0.6])
def test_jitter_has_its_mean_deviation_and_correlation(distribution: Distribution, deviation: float, r: float) -> None:
    found = delays(Link(delay=100 * MS, jitter=5 * MS, distribution=distribution, correlation=r))
    assert fmean(found) / MS == pytest.approx(100, abs=4 * 5 / sqrt(PACKETS) * sqrt((1 + r) / (1 - r)) + 0.02)
    # The fourth moment of Pareto with shape 3 is infinite, so its deviation settles slowly.
    assert pstdev(found) / MS == pytest.approx(deviation, rel=0.12 if distribution is Distribution.PARETO else 0.03)
    for apart in (1, 3):
        assert correlation(found, apart) == pytest.approx(r**apart, abs=0.06)


def test_the_distributions_have_their_shapes() -> None:
    normal = delays(Link(delay=100 * MS, jitter=5 * MS, distribution=Distribution.NORMAL))
    assert fmean(abs(each - 100 * MS) < 5 * MS for each in normal) == pytest.approx(0.6827, abs=0.01)
    uniform = delays(Link(delay=100 * MS, jitter=5 * MS))
    assert min(uniform) >= 95 * MS and max(uniform) <= 105 * MS
    assert fmean(each < 97.5 * MS for each in uniform) == pytest.approx(0.25, abs=0.01)
    pareto = delays(Link(delay=100 * MS, jitter=5 * MS, distribution=Distribution.PARETO))
    # X >= 1 with P(X > x) = x^-3: its mean is 1.5, its deviation sqrt(3)/2.
    for x in (1.2, 2.0, 4.0):
        at = 100 + 5 * (x - 1.5) / (sqrt(3) / 2)
        assert fmean(each > at * MS for each in pareto) == pytest.approx(x**-3, abs=0.01)


def test_measured_delays_come_back() -> None:
    measured = [Random("measured").randrange(3) * 10 * MS + 5 * MS for _ in range(3000)]
    measured += [80 * MS] * 100
    table, mean, deviation = table_of(measured)
    found = delays(Link(delay=mean, jitter=deviation, distribution=Distribution.TABLE, table=table))
    assert fmean(found) == pytest.approx(fmean(measured), rel=0.02)
    assert pstdev(found) == pytest.approx(pstdev(measured), rel=0.03)
    assert fmean(each > 79 * MS for each in found) == pytest.approx(100 / len(measured), abs=0.006)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_duplicates_corruption_and_overtaking(share: float) -> None:
    model = DirectionModel(Link(delay=50 * MS, duplicate=share, reorder=share, corrupt=share), Random("copies"))
    sent = [model.packet(number * APART, 100) for number in range(PACKETS)]
    bound = 4 * sqrt(share * (1 - share) / PACKETS)
    assert fmean(len(copies) == 2 for copies in sent) == pytest.approx(share, abs=bound)
    assert fmean(copies[0].corrupt for copies in sent) == pytest.approx(share, abs=bound)
    early = [copies[0].at == number * APART for number, copies in enumerate(sent)]
    assert fmean(early) == pytest.approx(share, abs=bound)


def test_a_full_link_carries_its_rate_and_no_queue_outgrows_its_limit() -> None:
    rate = 1_234_567
    for queue in (QueueLimit(bytes=15_000), QueueLimit(time=40 * MS)):
        model = DirectionModel(Link(rate=rate, queue=queue), Random(1))
        sent = [(number * MS, model.packet(number * MS, 700)) for number in range(20_000)]
        waits = [copies[0].at - now for now, copies in sent if copies]
        assert len(waits) * 700 * 8 / 20 == pytest.approx(rate, rel=0.01)
        most = queue.time + 700 * 8 * SECOND // rate if queue.time else queue.bytes * 8 * SECOND // rate
        assert most * 0.9 <= max(waits) <= most + 1


def test_deliveries_are_used_as_mahimahi_does() -> None:
    """Opportunities at 1, 1, 4 and 10 ms, again every 10 ms; each carries 1500 bytes, and what is left is lost."""
    trace = Deliveries(times=(1 * MS, 1 * MS, 4 * MS, 10 * MS), period=10 * MS)
    model = DirectionModel(Link(), Random(1))
    model.change(Link(deliveries=trace), 100 * MS)
    begun = 100 * MS

    def leaves(at: int, size: int) -> float:
        return (model.packet(begun + at, size)[0].at - begun) / MS

    assert [leaves(0, 500) for _ in range(4)] == [1, 1, 1, 1]  # three share the first, one is in the second
    assert leaves(0, 1500) == 4  # what was left of the second, and the third
    assert leaves(2 * MS, 1500) == 10  # the third has 500 bytes left
    assert leaves(11 * MS, 100) == 11  # the second round
    assert leaves(12 * MS, 100) == 14
    assert leaves(15 * MS, 3000) == 21


def test_deliveries_that_do_not_begin_again_end() -> None:
    model = DirectionModel(Link(deliveries=Deliveries(times=(1 * MS, 2 * MS), period=0)), Random(1))
    assert [copy.at for copy in model.packet(0, 1500)] == [1 * MS]
    assert [copy.at for copy in model.packet(0, 1500)] == [2 * MS]
    assert model.packet(0, 1500) == []
    model.change(Link(), 5 * MS)
    assert [copy.at for copy in model.packet(5 * MS, 1500)] == [5 * MS]


def test_a_change_of_the_rate_lets_nothing_overtake_what_waits() -> None:
    model = DirectionModel(Link(rate=12_000, queue=QueueLimit(time=5 * SECOND)), Random(1))
    first = model.packet(0, 1500)[0].at
    assert first == SECOND
    model.change(Link(), 10 * MS)
    assert model.packet(10 * MS, 100)[0].at == first
    assert model.packet(2 * SECOND, 100)[0].at == 2 * SECOND
