"""Trains of datagrams: RFC 3550's jitter, loss by sequence numbers; and what the lab's echo answers."""

from hypothesis import given
from hypothesis import strategies as st

from lab.kinds.probes import PROBES
from lab.probes.echo import HEADER, LARGEST, answer_to, question, read_answer
from lab.probes.train import PacketTrain, interarrival_jitter


def test_jitter_is_that_of_rfc_3550():
    even = [(20 * n, 1000 + 20 * n) for n in range(50)]
    assert interarrival_jitter(even) == 0
    # Transit times 100, 116, 100: |D| is 16 twice, so J = 16/16 = 1, then 1 + (16 - 1)/16 = 1.9375.
    assert interarrival_jitter([(0, 100), (20, 136), (40, 140)]) == round(1.9375)
    big = [(0, 100_000), (20_000, 136_000), (40_000, 140_000)]
    assert interarrival_jitter(big) == 1938
    assert interarrival_jitter([(0, 1)]) == 0


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=40), st.integers(-(10**12), 10**12))
def test_the_receivers_clock_may_show_anything(transits, ahead):
    packets = [(n * 10**7, n * 10**7 + transit) for n, transit in enumerate(transits)]
    moved = [(sent, arrived + ahead) for sent, arrived in packets]
    assert interarrival_jitter(packets) == interarrival_jitter(moved)


def test_loss_order_and_duplicates_come_from_the_numbers():
    train = PacketTrain(5)
    for number in range(5):
        train.sent(number, number * 10)
    train.answered(7, 0, 0)
    for number, arrived, back in ((0, 100, 105), (2, 120, 126), (1, 125, 131), (1, 126, 133), (4, 140, 147)):
        train.answered(number, arrived, back)
    found = train.measured()
    assert (found["sent"], found["lost"], found["duplicates"], found["reordered"]) == (5, 1, 1, 1)
    assert train.median_trip() == 106
    assert not train.whole
    train.answered(3, 150, 170)
    assert train.whole and train.measured()["lost"] == 0


def test_a_train_that_nobody_answers_has_lost_all():
    train = PacketTrain(3)
    train.sent(0, 0)
    assert train.median_trip() is None
    assert train.measured() == {"sent": 3, "lost": 3}


def test_the_echo_answers_questions_only_and_with_no_more_bytes():
    asked = question(7, 3, 2, 200)
    answer = answer_to(asked, 55)
    assert answer is not None and len(answer) == len(asked) == 200
    assert read_answer(answer, 7, 3) == (2, 55)
    assert read_answer(answer, 8, 3) is None and read_answer(answer, 7, 4) is None
    assert answer_to(answer, 56) is None, "two that answer would keep each other busy"
    assert read_answer(asked, 7, 3) is None
    assert answer_to(question(7, 3, 2, LARGEST + 1), 0) is None
    assert answer_to(asked[: HEADER - 1], 0) is None


@given(st.binary(max_size=1500))
def test_strangers_bytes_are_survived(data):
    answer = answer_to(data, 1)
    assert answer is None or len(answer) == len(data)
    read_answer(data, 1, 1)


def test_options_have_their_ranges():
    jitter = PROBES.get("jitter")
    assert not list(jitter.option_faults({"packets": 10, "gap_ms": 2, "size": 100}))
    for bad in ({"packets": 1}, {"packets": "10"}, {"gap": 3}, {"size": 5000}, {"port": 0}, {"packets": True}):
        assert list(jitter.option_faults(bad))
