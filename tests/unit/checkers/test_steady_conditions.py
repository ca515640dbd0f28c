"""What a window says of a condition, which windows count, and what becomes of a condition over a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.checkers.steady import Disturbances, FaultSpan, SteadyJudge, first_start, in_words
from lab.records.history import Event, Sample
from lab.scenario.steady import SteadyCondition

MS, S = 1_000_000, 1_000_000_000


def condition(**more):
    values = {"name": "web", "probe": "http", "sources": ("*",), "targets": ("*",), "window": S, "least": 10}
    return SteadyCondition(**{**values, "timeout": 500 * MS, **more})


def sample(t, ok=True, latency=MS, **more):
    values = {"probe": "http", "source": "client", "target": "web", "error": "" if ok else "timeout"}
    return Sample(**{**values, "t": t, "ok": ok, "latency": latency if ok else None, **more})


def judge_of(wanted, tries):
    judge = SteadyJudge(wanted, ("client", "web"))
    for one in tries:
        judge.feed(one)
    return judge


def every(start, end, step=10 * MS, **more):
    return [sample(t, **more) for t in range(start, end, step)]


def test_it_holds_at_its_limit_and_not_beyond():
    at_limit = judge_of(condition(success=0.99), [*every(0, 990 * MS), sample(990 * MS, ok=False)])
    assert at_limit.reading(0, S).state == "held"
    beyond = judge_of(condition(success=0.99), [*every(0, 980 * MS), *every(980 * MS, S, ok=False)])
    assert beyond.reading(0, S).state == "broken"
    assert beyond.reading(0, S).text == "98 % answered (at least 99 %) of 100 tries"


def test_a_try_without_an_answer_is_slower_than_any_limit():
    judge = judge_of(condition(p95=5 * MS), [*every(0, 940 * MS), *every(940 * MS, S, ok=False)])
    assert judge.reading(0, S).state == "broken"
    slow = judge_of(condition(p95=5 * MS), [*every(0, 940 * MS), *every(940 * MS, S, latency=6 * MS)])
    assert slow.reading(0, S).text == "p95 6.0 ms (at most 5.0 ms) of 100 tries"


def test_too_few_tries_are_unknown_unless_the_missing_ones_could_not_help():
    few = judge_of(condition(success=0.99, least=100), every(0, 500 * MS))
    assert few.reading(0, S).state == "unknown" and "too few (at least 100)" in few.reading(0, S).text
    one_bad = judge_of(condition(success=0.99, least=100), [*every(0, 490 * MS), sample(490 * MS, ok=False)])
    assert one_bad.reading(0, S).state == "unknown", "with 50 more good ones it would hold"
    two_bad = judge_of(condition(success=0.99, least=100), [*every(0, 480 * MS), *every(480 * MS, 500 * MS, ok=False)])
    assert two_bad.reading(0, S).state == "broken"
    assert judge_of(condition(success=0.5), []).reading(0, S).state == "unknown"


def test_what_the_prober_failed_to_send_is_not_counted():
    late = [sample(t, ok=False, error=error) for t in range(0, S, 10 * MS) for error in ("late", "gone")]
    assert judge_of(condition(success=0.9), [*late, *every(0, S)]).reading(0, S).tries == 100


def test_loss_jitter_and_throughput_have_limits_too():
    trains = [sample(t, measured={"sent": 20, "lost": t // S, "jitter": 2 * MS}) for t in (0, S, 2 * S)]
    judge = judge_of(condition(loss=0.05, jitter=MS, window=3 * S, least=3), trains)
    assert judge.reading(0, 3 * S).state == "broken"
    assert "loss 5 % (at most 5 %); median jitter 2.0 ms (at most 1.0 ms)" in judge.reading(0, 3 * S).text
    rate = judge_of(condition(throughput=2_000_000, least=1), [sample(0, measured={"throughput": 1_500_000})])
    assert rate.reading(0, S).text.startswith("median throughput 1.5 Mbit/s (at least 2 Mbit/s)")
    assert judge_of(condition(loss=0.05, least=1), every(0, S)).reading(0, S).state == "unknown"


def test_only_what_it_names_is_counted():
    judge = judge_of(condition(sources=("client",), targets=("web",), success=0.9), [])
    for source, target, counts in (
        ("client", "web", True),
        ("client-2", "web-10", True),
        ("client", "db", False),
        ("client-x", "web", False),
    ):
        before = judge.reading(0, S).tries
        judge.feed(sample(0, source=source, target=target))
        assert (judge.reading(0, S).tries > before) is counts
    judge.feed(sample(0, probe="icmp"))
    assert judge.reading(0, S).tries == 2


FAULT = [FaultSpan(3, "partition", "partition a | b", 5 * S, 8 * S)]
OUTAGE = [*every(0, 5 * S), *every(5 * S, 9 * S, ok=False), *every(9 * S, 14 * S)]


def test_a_named_fault_may_break_it_and_it_holds_again():
    wanted = condition(success=0.99, may_break=("partition",), again_within=1500 * MS)
    result = judge_of(wanted, OUTAGE).result(FAULT, 13 * S)
    assert (result.state, result.before, result.during, result.after) == ("held", "held", "broken", "held")
    assert [(one.allowed, one.cause) for one in result.breaks] == [(True, "partition a | b")]


def test_back_too_late_is_broken_and_says_when():
    wanted = condition(success=0.99, may_break=("partition",), again_within=500 * MS)
    result = judge_of(wanted, OUTAGE).result(FAULT, 13 * S)
    assert (result.state, result.during, result.after) == ("broken", "broken", "broken")
    assert result.reason == "60 % answered (at least 99 %) of 100 tries from 8.6 s to 9.6 s"


def test_a_fault_that_it_does_not_name_must_not_break_it():
    result = judge_of(condition(success=0.99, may_break=("kill",)), OUTAGE).result(FAULT, 13 * S)
    assert result.state == "broken" and "during partition a | b" in result.reason
    assert not result.breaks[0].allowed


def test_it_must_hold_before_the_first_fault():
    tries = [*every(0, 4500 * MS), *every(4500 * MS, 5 * S, ok=False), *every(5 * S, 14 * S)]
    wanted = condition(success=0.99, may_break=("partition",))
    result = judge_of(wanted, tries).result(FAULT, 13 * S)
    assert (result.before, result.state) == ("broken", "broken")
    warming = [*every(0, 2 * S, ok=False), *every(2 * S, 14 * S)]
    assert judge_of(wanted, warming).result(FAULT, 13 * S).state == "held", "what was before it held is no break"
    never = [*every(0, 5 * S, ok=False), *every(5 * S, 14 * S)]
    assert judge_of(wanted, never).result(FAULT, 13 * S).before == "broken"


def test_a_run_that_ends_too_early_is_unknown():
    wanted = condition(success=0.99, may_break=("partition",), again_within=S)
    result = judge_of(wanted, every(0, 9500 * MS)).result(FAULT, 9500 * MS)
    assert (result.state, result.after) == ("unknown", "unknown")
    assert result.reason == "the run ended before a window of 1.00 s could show it again"
    assert judge_of(wanted, every(0, 10 * S)).result(FAULT, 10 * S).state == "held"
    for_ever = [FaultSpan(3, "partition", "partition a | b", 5 * S)]
    assert judge_of(wanted, every(0, 9 * S)).result(for_ever, 9 * S).state == "held", "it may be broken to the end"


def test_without_tries_nothing_is_known():
    assert judge_of(condition(success=0.9), []).result(FAULT, 13 * S).state == "unknown"
    assert judge_of(condition(success=0.9), every(6 * S, 14 * S)).result(FAULT, 13 * S).before == "unknown"
    assert judge_of(condition(success=0.9), every(0, 14 * S, ok=False)).result([], 13 * S).state == "broken"


@given(st.lists(st.booleans(), min_size=30, max_size=60), st.integers(1, 29))
def test_looking_in_between_sees_the_same_windows(oks, cut):
    """The runner looks again and again, the checker once: both see the same."""
    tries = [sample(t * 100 * MS, ok=ok) for t, ok in enumerate(oks)]
    judge = judge_of(condition(success=0.5), tries)
    end = len(tries) * 100 * MS
    whole = list(judge.windows([], end))
    first = list(judge.windows([], cut * 100 * MS))
    held = any(one.part == "before" and one.reading.state == "held" for one in first)
    assert whole == first + list(judge.windows([], end, since=cut * 100 * MS, held=held))


def test_faults_are_found_in_events():
    seen = Disturbances()
    for t, step, what, phase in (
        (1, 0, "launch", "start"),
        (2, 0, "launch", "end"),
        (3, 1, "kill", "start"),
        (4, 2, "scale", "start"),
        (5, 2, "scale", "end"),
        (6, 3, "expect", "start"),
        (7, 4, "restart", "start"),
        (8, 4, "restart", "end"),
    ):
        seen.feed(Event(t=t, step=step, what=what, phase=phase, ok=True))  # type: ignore[arg-type]
    assert [(one.what, one.start, one.end) for one in seen.all] == [("kill", 3, 8), ("scale", 4, 5)]
    assert first_start(seen.all) == 3


def test_a_condition_is_said_in_a_line():
    wanted = condition(sources=("client",), targets=("web",), success=0.999, p99=50 * MS, loss=0.01)
    words = "http client → web: success at least 99.9 %, p99 at most 50 ms, loss at most 1 % in 1.00 s"
    assert in_words(wanted) == words


@pytest.mark.parametrize("state", ["held", "broken"])
def test_tries_may_come_in_any_order(state):
    tries = every(0, S, ok=state == "held")
    assert judge_of(condition(success=0.9), tries[::-1]).reading(0, S).state == state
