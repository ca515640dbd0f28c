"""The page's state at a moment, computed by JavaScript, is what Python's checkers say of the same history."""

from typing import Any

import pytest
import synthetic_history
from page_states import compare, states
from synthetic_history import MS, S, Story

from lab.checkers import RecordedRun
from lab.checkers.reachability import transitions
from lab.checkers.tries import MISSED
from lab.report.columns import columns
from lab.report.feed import Feed
from lab.report.page import data_of

STORIES = {
    "partition": synthetic_history.partition(),
    "open": synthetic_history.partition(healed=False),
    "crash": synthetic_history.crash(),
    "scale": synthetic_history.scale(),
}


@pytest.mark.parametrize("name", STORIES)
def test_both_say_the_same_of_every_moment(name: str) -> None:
    run = RecordedRun(STORIES[name])
    data, notes = data_of(run)
    assert notes == []
    compare(run, data, seed=name)


@pytest.mark.parametrize("name", STORIES)
def test_a_live_feed_says_what_the_stored_page_says(name: str) -> None:
    """Records one by one, tries among them: after the last one everything stands as in the columns."""
    run = RecordedRun(STORIES[name])
    stored, _ = data_of(run)
    feed = Feed()
    live = [made for record in run.records for made in feed.feed(record)]
    number = {(each["probe"], each["source"], each["target"]): each["i"] for each in live if each["k"] == "series"}
    times = sorted(
        {int(run.end * share) for share in (0.2, 0.4, 0.6, 0.8)} | {band.start + 2 * S for band in run.bands}
    )
    for one, other in zip(states({"records": live, "series": []}, times), states(stored, times), strict=True):
        for key, pair in zip(run.series, other["pairs"], strict=True):
            mine = one["pairs"][number[key]]
            assert (mine["state"], mine["t"]) == (pair["state"], pair["t"]) or not certain(run, pair), (key, mine, pair)
        for field in ("groups", "replicas", "faults", "hosts", "connections"):
            assert one[field] == other[field]


def certain(run: RecordedRun, pair: dict[str, Any]) -> bool:
    """Whether what should have been was known when the try was reported: a step says what it changed at its end."""
    return not any(start <= (pair["t"] or 0) <= end + S for start, end in transitions(run))


def long_run(tries: int) -> RecordedRun:
    hosts = tuple(f"h{n}" for n in range(4))
    story = Story(hosts, {f"s{n}": host for n, host in enumerate(hosts)}, name="long")
    places = dict(zip(story.meta.scenario["services"], hosts, strict=True))
    story.took(0, 100 * MS, "run", label="run all", groups=(hosts,), **story.place(places))
    story.took(100 * S, 160 * S, "partition", label="cut", groups=(hosts[:2], hosts[2:]))
    for number in range(tries):
        story.sample(200 * MS + number * 100 * MS, "icmp", "s0", "s2", number % 997 != 5)
    story.event(tries * 100 * MS + S, "down")
    return RecordedRun(story.finish())


def test_many_tries_are_aggregated_and_states_stay_exact() -> None:
    run = long_run(5000)
    (every,), said_nothing = columns(run, Feed())
    (merged,), notes = columns(run, Feed(), most=1000)
    assert said_nothing == [] and "5,000 tries are aggregated" in notes[0] and "have each try" in notes[0]
    assert sum(merged["w"]) == 5000 and len(merged["s"]) < 1100 < len(every["s"])
    times = [300 * MS + 100 * MS * number for number in range(0, 5000, 3)]
    data = [{"records": [], "series": [series]} for series in (every, merged)]
    for each in data:
        each["records"] = data_of(run)[0]["records"]
    exact, coarse = (states(each, times) for each in data)
    assert [state["pairs"][0]["state"] for state in exact] == [state["pairs"][0]["state"] for state in coarse]


def test_even_a_million_changes_are_a_small_page() -> None:
    """A pair that fails every other time: then one entry covers an interval, with the worst in it."""
    hosts = ("a", "b")
    story = Story(hosts, {"x": "a", "y": "b"}, name="flapping")
    story.took(0, 100 * MS, "run", label="run all", groups=(hosts,), **story.place({"x": "a", "y": "b"}))
    for number in range(3000):
        story.sample(200 * MS + number * 100 * MS, "icmp", "x", "y", number % 2 == 0)
    story.event(400 * S, "down")
    (merged,), notes = columns(RecordedRun(story.finish()), Feed(), most=100)
    assert len(merged["s"]) <= 101 and set(merged["s"]) == {str(MISSED)} and "the worst" in notes[0]
