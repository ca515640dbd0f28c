"""TCP Reno of the simulator: all bytes in order over any links, its window, and Mathis' formula."""

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.links import Link, QueueLimit
from lab.links.model import DirectionModel
from lab.sim.reno import MSS, Acknowledgement, RenoReceiver, RenoSender, Segment
from lab.sim.scheduler import Scheduler
from lab.sim.tcp import PacketSender, TcpFlow
from overlay.env import MILLISECOND, SECOND, Random


class Connection:
    """A flow over one link and a perfect way back of the same delay."""

    def __init__(self, link: Link, seed: int = 1, *, back: Link | None = None) -> None:
        self.scheduler = Scheduler()
        rng = Random(seed)
        there, answers = (DirectionModel(one, rng) for one in (link, back or Link(delay=link.delay)))
        self.got: list[object] = []
        self.received = 0
        self.failed = 0
        self.endless = False
        self.flow = TcpFlow(
            self.scheduler, 2 * link.delay, self._over(there), self._over(answers), self._delivered, self._fails
        )

    def _over(self, model: DirectionModel) -> PacketSender:
        def send(size: int, arrives, what: object) -> None:
            for copy in model.packet(self.scheduler.now, size):
                if not copy.corrupt:
                    self.scheduler.at(copy.at, arrives, what)

        return send

    def _delivered(self, message: object, size: int) -> None:
        self.got.append(message)
        self.received += size
        if self.endless:
            self.flow.write(None, size)

    def _fails(self) -> None:
        self.failed = self.scheduler.now

    def rate(self, seconds: int, warm: int = 2) -> float:
        """Bits per second of a transfer without end."""
        self.endless = True
        for _ in range(100):
            self.flow.write(None, 1 << 16)
        self.scheduler.run(warm * SECOND)
        before = self.received
        self.scheduler.run((warm + seconds) * SECOND)
        return (self.received - before) * 8 / seconds


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 40_000), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.02, 0.15]),
    st.sampled_from([0, 2_000_000]),
    st.integers(0, 20),
    st.integers(0, 1 << 20),
)
def test_every_message_arrives_once_and_in_order(
    sizes: list[int], loss: float, rate: int, jitter: int, seed: int
) -> None:
    delay = 20 * MILLISECOND
    link = Link(
        delay=delay,
        loss=loss,
        rate=rate,
        jitter=jitter * MILLISECOND,
        duplicate=0.1,
        queue=QueueLimit(bytes=9000) if rate else None,
    )
    one = Connection(link, seed, back=Link(delay=delay, loss=loss, duplicate=0.1))
    for number, size in enumerate(sizes):
        one.flow.write(number, size)
    one.scheduler.run(1000 * SECOND)
    assert one.failed or (one.got == list(range(len(sizes))) and one.flow.idle)
    assert one.got == list(range(len(one.got)))
    assert one.flow.sender.pipe == 0 or one.failed


def test_slow_start_doubles_and_the_rate_is_used_in_full() -> None:
    one = Connection(Link(delay=50 * MILLISECOND))
    one.flow.write(0, 400 * MSS)
    windows = []
    for trip in range(4):
        one.scheduler.run((100 * trip + 99) * MILLISECOND)
        windows.append(one.flow.sender.window)
    assert windows == [10, 20, 40, 80], "from ten segments, a doubling in each round trip"
    full = Connection(Link(delay=10 * MILLISECOND, rate=10_000_000)).rate(10)
    assert 0.98 * 10_000_000 * MSS / (MSS + 52) < full < 10_000_000 * MSS / (MSS + 52) * 1.001


def test_a_lost_segment_is_sent_again_after_three_later_ones_and_halves_the_window() -> None:
    sender = RenoSender(20 * MILLISECOND)
    sender.write(30 * MSS, 0)
    sent = sender.segments(0)
    assert len(sent) == 10
    for number in (1, 2):
        sender.heard(Acknowledgement(0, sent[number].start, 0), 20 * MILLISECOND)
        assert [one.start for one in sender.segments(20 * MILLISECOND)] == [(9 + number) * MSS], "limited transmit"
    sender.heard(Acknowledgement(0, sent[3].start, 0), 20 * MILLISECOND)
    assert sender.window == sender.threshold == 5 and sender.losses == 1
    for number in range(4, 8):
        sender.heard(Acknowledgement(0, sent[number].start, 0), 21 * MILLISECOND)
    assert sender.segments(21 * MILLISECOND)[0].start == 0, "once less than the new window is under way"


def test_silence_doubles_the_timer_and_ends_after_ten_seconds() -> None:
    one = Connection(Link(delay=10 * MILLISECOND, loss=1.0))
    one.flow.write(0, 100)
    one.scheduler.run(60 * SECOND)
    assert 10 * SECOND <= one.failed < 11 * SECOND and one.flow.sender.timeouts in (5, 6) and not one.got


def test_the_first_full_segment_may_wait_for_a_second_one() -> None:
    receiver = RenoReceiver()
    assert receiver.heard(Segment(0, MSS, 5), 10) is None and receiver.deadline == 10 + 40 * MILLISECOND
    assert receiver.heard(Segment(MSS, MSS, 6), 11) == Acknowledgement(2 * MSS, MSS, 5)
    assert receiver.heard(Segment(3 * MSS, MSS, 7), 12) == Acknowledgement(2 * MSS, 3 * MSS, 7), "out of order"
    assert receiver.heard(Segment(2 * MSS, MSS, 8), 13) == Acknowledgement(4 * MSS, 2 * MSS, 8)
    assert receiver.heard(Segment(4 * MSS, 10, 9), 14) == Acknowledgement(4 * MSS + 10, 4 * MSS, 9), "ends a write"


@pytest.mark.parametrize(("trip", "loss", "seconds"), [(20, 0.01, 120), (100, 0.01, 900), (100, 0.001, 200)])
def test_mathis(trip: int, loss: float, seconds: int) -> None:
    """Mathis et al. 1997: sqrt(3/2) segments per round trip over the root of the loss; `make bench` has all corners."""
    found = Connection(Link(delay=trip * MILLISECOND // 2, loss=loss)).rate(seconds, warm=5)
    formula = sqrt(1.5 / loss) * MSS * 8 / (trip / 1000)
    assert abs(found / formula - 1) < 0.2
