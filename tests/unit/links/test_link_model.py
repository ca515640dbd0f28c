"""One direction of a link: what holds for every packet, whatever the parameters, and what holds in the mean."""

from hypothesis import given
from hypothesis import strategies as st

from lab.links import Burst, Distribution, Link, QueueLimit
from lab.links.jitter import table_of
from lab.links.model import DirectionModel
from lab.links.queue import DEFAULT_QUEUE
from overlay.env import MILLISECOND, SECOND, Random

Sent = list[tuple[int, int]]

chance = st.sampled_from((0.0, 0.1, 0.5, 1.0))
links = st.builds(
    Link,
    delay=st.integers(0, 50 * MILLISECOND),
    jitter=st.integers(0, 50 * MILLISECOND),
    distribution=st.sampled_from((Distribution.UNIFORM, Distribution.NORMAL, Distribution.PARETO)),
    correlation=chance,
    ordered=st.booleans(),
    loss=chance,
    loss_correlation=chance,
    burst=st.none() | st.builds(Burst, enter=chance, leave=chance, bad=chance, good=chance),
    duplicate=chance,
    reorder=chance,
    corrupt=chance,
    rate=st.sampled_from((0, 8_000, 1_000_000, 33_333_333)),
    queue=st.none() | st.builds(QueueLimit, time=st.integers(1, SECOND)) | st.builds(QueueLimit, bytes=st.just(9000)),
    mtu=st.sampled_from((0, 576, 1400)),
)
traffic = st.lists(st.tuples(st.integers(0, 20 * MILLISECOND), st.integers(1, 1500)), max_size=60)
"""(pause before it, size)."""


def sent_at(traffic: Sent) -> Sent:
    now, found = 0, []
    for pause, size in traffic:
        now += pause
        found.append((now, size))
    return found


@given(links, traffic, st.integers())
def test_nothing_arrives_that_was_not_sent_or_before_it_was(link: Link, traffic: Sent, seed: int) -> None:
    model, again = (DirectionModel(link, Random(seed), base=7) for _ in range(2))
    for now, size in sent_at(traffic):
        copies = model.packet(now, size)
        assert copies == again.packet(now, size), "the same seed, the same fate"
        assert len(copies) <= (2 if link.duplicate else 1)
        assert all(copy.at >= now + 7 for copy in copies)
        assert not (link.mtu and size > link.mtu and copies)
        assert link.corrupt or not any(copy.corrupt for copy in copies)
        if not (link.loss or link.burst or link.rate or link.mtu):
            assert copies, "without loss, rate and MTU every packet arrives"


@given(links, traffic, st.integers())
def test_without_jitter_and_reorder_or_if_asked_order_is_kept(link: Link, traffic: Sent, seed: int) -> None:
    model = DirectionModel(link, Random(seed))
    last = 0
    for now, size in sent_at(traffic):
        for copy in model.packet(now, size):
            if not link.reorder and (link.ordered or not link.jitter):
                assert copy.at >= last
            last = max(last, copy.at)


@given(st.integers(8_000, 10**9), st.none() | st.integers(1, 200 * MILLISECOND), st.integers(0, 20_000), traffic)
def test_a_rate_is_never_exceeded_and_its_queue_has_an_end(
    rate: int, time: int | None, room: int, traffic: Sent
) -> None:
    queue = QueueLimit(time=time) if time else QueueLimit(bytes=room) if room else None
    model = DirectionModel(Link(rate=rate, queue=queue), Random(1))
    left: Sent = []
    for now, size in sent_at(traffic):
        waiting = [each for each in left if each[0] > now]
        copies = model.packet(now, size)
        if copies:
            left.append((copies[0].at, size))
        limit = queue or DEFAULT_QUEUE
        if limit.bytes:
            held = sum(size for _, size in waiting)
            assert bool(copies) == (not waiting or held + size <= limit.bytes)
        else:
            assert bool(copies) == (max([now, *(at for at, _ in waiting)]) - now <= limit.time)
    for first in range(len(left)):
        carried = 0
        for last in range(first + 1, len(left)):
            carried += left[last][1]
            # Times are cut to whole nanoseconds.
            assert carried * 8 * SECOND <= rate * (left[last][0] - left[first][0] + 1)
    if len(left) == len(traffic) and left and not any(pause for pause, _ in traffic):
        assert left[-1][0] == sum(size for _, size in left) * 8 * SECOND // rate, "and all of it is used"


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=3000))
def test_a_table_has_the_mean_and_the_deviation_of_what_was_measured(delays: list[int]) -> None:
    table, mean, deviation = table_of(delays)
    assert min(delays) <= mean <= max(delays)
    assert bool(table) == bool(deviation)
    if deviation > 1000:
        assert abs(sum(table)) <= 70 * len(table)
        assert abs(sum(each**2 for each in table) / len(table) / (1 << 32) - 1) < 0.02
