"""Each measure of the league, of made-up histories in which the right answer is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from synthetic_history import MS, ORION, S, Story

from lab.api.played import PlayedRun
from lab.league.columns import MEASURES
from lab.league.measures import NEVER, NOT_ASKED, RepeatReading, RunReading, read_repeats
from lab.records.history import Sample
from lab.trials.questions import QUESTIONS
from lab.trials.trial import LeagueQuestion
from lab.trials.usage import usage_in

QUESTION: Mapping[str, LeagueQuestion] = {question.name: question for question in QUESTIONS}
PINGS = ({"kind": "icmp", "every": 50 * MS, "timeout": S},)


def played(story: Story) -> PlayedRun:
    return PlayedRun(Path("history.jsonl"), story.finish())


def repeats(name: str, run: PlayedRun, number: int = 1) -> list[RepeatReading]:
    """The last repeats of a run whose first step of a repeat is number 1."""
    question = QUESTION[name]
    assert run.checks  # before it has steps that the story does not tell of
    meta = run._run.meta
    assert meta is not None
    meta.scenario["timeline"] = [{}] * (1 + number * (len(question.once(0)) or 20))
    found = read_repeats(question, run, number)
    del meta.scenario["timeline"]
    return found


def reading(name: str, run: PlayedRun) -> Mapping[str, RunReading]:
    return repeats(name, run)[0].readings


def over(story: Story, t: int) -> None:
    """The last step of a repeat ends."""
    story.event(t, "expect", "end", ok=True)
    story.event(t, "down", step=-1)


def pinged(
    story: Story, begin: int, end: int, *lost: tuple[int, int], pair: tuple[str, str] = ("web-1", "web-2")
) -> None:
    """A ping every 50 ms, without an answer in these times."""
    for t in range(begin, end, 50 * MS):
        story.sample(t, "icmp", *pair, not any(start <= t < stop for start, stop in lost), timeout=40 * MS)


def faulted(what: str, start: int, end: int) -> Story:
    story = Story(probes=PINGS)
    step = story.event(start, what, "start", label=what)
    story.event(end, what, "end", step=step, label="heal")
    return story


def test_an_outage_counts_from_the_heal_of_a_cut() -> None:
    story = faulted("partition", 2 * S, 7 * S)
    pinged(story, S, 12 * S, (2 * S, 8 * S))  # one second longer than the cut
    pinged(story, S, 12 * S, (2 * S, 7200 * MS), pair=("web-2", "web-1"))
    over(story, 12 * S)
    found = reading("cut-5", played(story))
    assert found["outage"].reached and found["outage"].value == pytest.approx(1.0, abs=0.06)
    assert found["lost"].value == (20 + 4) / 2  # of each pair, after the heal


def test_an_outage_counts_from_the_start_where_another_way_is_left() -> None:
    story = faulted("flap", 2 * S, 14 * S)
    pinged(story, S, 16 * S, (3 * S, 4 * S), (6 * S, 6500 * MS))
    over(story, 16 * S)
    found = reading("flapping", played(story))
    assert found["outage"].value == pytest.approx(1.5, abs=0.06) and found["lost"].value == 30


def test_an_outage_that_does_not_end_is_longer_than_what_was_seen() -> None:
    story = faulted("address", 2 * S, 5 * S)
    pinged(story, S, 9 * S, (3 * S, 9 * S))
    over(story, 9 * S)
    outage = reading("readdressed", played(story))["outage"]
    assert not outage.reached and outage.value == pytest.approx(6.0, abs=0.06)


def test_without_failed_tries_there_is_no_outage() -> None:
    story = faulted("partition", 2 * S, 7 * S)
    pinged(story, S, 9 * S, (2 * S, 7 * S))
    over(story, 9 * S)
    found = reading("cut-5", played(story))
    assert found["outage"].value < 0.06 and found["lost"].value == 0


def test_a_run_that_did_not_come_to_its_question_never_got_there() -> None:
    story = Story(probes=PINGS)
    pinged(story, S, 3 * S, (S, 3 * S))
    over(story, 3 * S)
    assert reading("cut-5", played(story)) == {"outage": RunReading(value=NEVER, reached=False)}
    step = story.event(4 * S, "launch", "start", label="launch")
    story.event(5 * S, "launch", "end", step=step, ok=False, label="launch", error="no")
    assert reading("cold-2", played(story)) == {"first": RunReading(value=NEVER, reached=False)}


def test_the_first_packet_is_that_of_the_last_pair() -> None:
    story = Story(probes=PINGS)
    step = story.event(S, "scale", "start", label="scale")
    story.event(2 * S, "scale", "end", step=step, ok=True, label="scale")
    pinged(story, 0, 6 * S, pair=("asker", "web-1"))
    pinged(story, 2 * S, 6 * S, (2 * S, 4 * S), pair=("asker", "web-3"))
    over(story, 6 * S)
    assert reading("scaled", played(story))["first"].value == pytest.approx(3.0, abs=0.06)
    pinged(story, 2 * S, 6 * S, (2 * S, 6 * S), pair=("asker", "web-4"))
    first = reading("scaled", played(story))["first"]
    assert not first.reached and first.value == 5.0


def test_a_pair_that_nobody_could_ask_was_never_reached() -> None:
    plan = {**PINGS[0], "sources": ["web"], "targets": ["web"]}
    story = Story(services={"web": ORION}, probes=(plan,))
    step = story.event(S, "launch", "start", label="launch")
    places = story.place({"web-1": ORION, "web-2": "b", "web-3": "c"})
    story.event(2 * S, "launch", "end", step=step, ok=True, label="launch", **places)
    names = ("web-1", "web-2", "web-3")
    pairs = [(source, target) for source in names for target in names if source != target]
    for pair in pairs[:-1]:
        pinged(story, 2 * S, 4 * S, pair=pair)
    over(story, 4 * S)
    assert reading("cold-2", played(story))["first"].value == NEVER
    pinged(story, 2 * S, 4 * S, pair=pairs[-1])
    assert reading("cold-2", played(story))["first"].value < 1.1


def test_round_trip_and_losses_of_a_time() -> None:
    story = faulted("link", 2 * S, 4 * S)
    pinged(story, 0, 6 * S, (0, 2 * S), (3 * S, 3200 * MS), (4 * S, 5 * S))
    over(story, 6 * S)
    found = reading("lossy", played(story))
    assert found["lost"].value == 4 and 0.1 < found["rtt"].value < 1.5


def as_throughput(story: Story) -> PlayedRun:
    """A story of pings as one of transfers, whose latency a story does not make up."""
    records = [
        replace(record, probe="throughput") if isinstance(record, Sample) else record for record in story.finish()
    ]
    return PlayedRun(Path("history.jsonl"), records)


TRANSFERS = ({"kind": "throughput", "every": 500 * MS, "timeout": 2 * S},)


def test_throughput_is_that_of_the_tries_in_the_window() -> None:
    story = Story(probes=TRANSFERS)
    step = story.event(2 * S, "wait", "start", label="wait")
    story.event(5 * S, "wait", "end", step=step, ok=True, label="wait")
    for t, speed in ((S, 1), (2 * S, 100), (3 * S, 300), (4 * S, 200), (6 * S, 1)):
        story.sample(t, "icmp", "web-1", "web-2", True, measured={"throughput": speed * 1_000_000})
    over(story, 7 * S)
    assert reading("bulk", as_throughput(story))["throughput"].value == 200


def test_outages_are_those_of_transfers_where_these_are_asked() -> None:
    story = faulted("mtu", 2 * S, 17 * S)
    story.meta.scenario["probes"] = list(TRANSFERS)
    for t in range(S, 20 * S, 500 * MS):
        story.sample(t, "icmp", "web-1", "web-2", not 3 * S <= t < 7 * S)
    over(story, 20 * S)
    found = reading("mtu", as_throughput(story))
    assert found["outage"].value == pytest.approx(4.0, abs=0.1) and found["lost"].value == 8


def test_a_run_is_invalid_for_steps_that_fail_and_for_nothing_slow() -> None:
    story = faulted("partition", 2 * S, 7 * S)
    pinged(story, S, 30 * S, (2 * S, 29 * S))  # back after 22 s, which the verdict of a run minds
    over(story, 30 * S)
    run = played(story)
    assert run.verdict == "invalid" and [one.verdict for one in repeats("cut-5", run)] == ["valid"]
    step = story.event(8 * S, "expect", "start", label="expect", expect="reachable all")
    story.event(9 * S, "expect", "end", step=step, ok=False, expect="reachable all", error="web-1 → web-2: timeout")
    (found,) = repeats("cut-5", played(story))
    assert (found.verdict, found.reason) == ("invalid", "reachable all: web-1 → web-2: timeout")
    assert found.readings["outage"].value == pytest.approx(22.0, abs=0.06)


def test_a_run_whose_probes_were_not_on_schedule_says_nothing() -> None:
    story = Story(probes=PINGS)
    for begin in (0, 4 * S):  # and nothing between
        pinged(story, begin, begin + 2 * S)
    over(story, 7 * S)
    (found,) = repeats("cut-5", played(story))
    assert found.verdict == "unknown" and "holes" in found.reason and not found.readings


def test_each_repeat_in_a_lab_is_read_by_itself() -> None:
    story = Story(probes=PINGS)
    pinged(story, S, 30 * S, (2 * S, 8 * S), (10 * S, 17 * S), (20 * S, 30 * S))
    for number, begin in enumerate((2 * S, 10 * S)):
        step = story.event(begin, "partition", "start", label="partition")
        story.event(begin, "wait", "start")
        story.event(begin + 5 * S, "partition", "end", step=step, label="heal")
        looked = story.event(begin + 5 * S, "expect", "start", expect="reachable all")
        story.event(begin + 7 * S, "expect", "end", step=looked, ok=True)
        story.event(begin + 7500 * MS, "wait", "end")
        assert story.step == 4 * (number + 1)
    step = story.event(20 * S, "partition", "start", label="partition")
    story.event(20 * S, "wait", "start")
    story.event(25 * S, "partition", "end", step=step, label="heal")
    story.event(30 * S, "expect", "end", ok=False, expect="reachable all", error="web-1 → web-2: timeout")
    story.event(30 * S, "down", step=-1)
    first, second, third, fourth, fifth = repeats("cut-5", played(story), 5)
    assert first.readings["outage"].value == pytest.approx(1.0, abs=0.06) and first.verdict == "valid"
    assert second.readings["outage"].value == pytest.approx(2.0, abs=0.06) and second.verdict == "valid"
    assert not third.readings["outage"].reached and third.verdict == "invalid"
    assert third.readings["outage"].value == pytest.approx(5.0, abs=0.06)
    assert [(one.verdict, one.readings) for one in (fourth, fifth)] == [(NOT_ASKED, {})] * 2


def line(host: str, **more: Any) -> str:
    values = {"up": "10.00", "hz": 100, "page": 4096, "cpu": 0, "pages": 0, "count": 1, "bytes": 0, "packets": 0} | more
    return f"usage {host} {' '.join(f'{key}={value}' for key, value in values.items())}\n"


def test_usage_is_per_host_and_second() -> None:
    story = Story(probes=())
    step = story.event(3 * S, "wait", "start", label="wait")
    story.event(8 * S, "wait", "end", step=step, ok=True, label="wait")
    for t, text in (
        (2 * S, line("a", cpu=100, bytes=1000)),
        (2 * S, line("b", cpu=0, bytes=0)),
        (9 * S, line("a", up="20.00", cpu=200, bytes=6000, pages=512)),
        (9 * S, line("b", up="20.00", cpu=0, bytes=0, pages=256)),
        (9 * S, "usage of something else"),
        (S, line("a", bytes=7)),
        (10 * S, line("a", up="30.00", cpu=900, bytes=9000, pages=1024)),
    ):
        story.event(t, "exec", "end", ok=True, stdout=text, code=0)
    over(story, 10 * S)
    found = reading("idle", played(story))
    assert {name: reading.value for name, reading in found.items()} == {"control": 250.0, "cpu": 0.05, "memory": 1.5}


@pytest.mark.parametrize("text", ["", "usage", "usage a up=1 hz=x", line("a").replace("bytes", "octets")])
def test_what_is_no_count_is_none(text: str) -> None:
    assert usage_in(text) is None


def test_every_question_asks_for_measures_that_there_are() -> None:
    assert len(QUESTION) == len(QUESTIONS) >= 12
    for question in QUESTIONS:
        assert question.measures and set(question.measures) <= set(MEASURES)
    assert {name for question in QUESTIONS for name in question.measures} == set(MEASURES)
    assert ORION  # the story's first host
