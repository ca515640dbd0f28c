"""One definition of an outage: against a slow oracle, and the same in every place that tells of one."""

import csv
import io
import re
from typing import Any

import synthetic_history
from hypothesis import example, given, settings
from hypothesis import strategies as st
from synthetic_history import MS, S, Story

from lab.checkers.outages import outages
from lab.checkers.reachability import check_reachability
from lab.checkers.run import RecordedRun
from lab.figures import Told, told
from lab.figures.reachability import timeline
from lab.records.history import AnyRecord, Sample
from lab.report.page import render
from lab.report.summary import summarise
from lab.words import span

EVERY, TIMEOUT = 200 * MS, S
KEY = ("http", "a", "b")
tries = st.lists(st.sampled_from(("good", "bad", "late")), max_size=40)


def sample(at: int, what: str, key: tuple[str, str, str] = KEY) -> Sample:
    return Sample(
        t=at,
        probe=key[0],
        source=key[1],
        target=key[2],
        ok=what == "good",
        latency=3 * MS if what == "good" else None,
        error={"good": "", "bad": "timeout", "late": "late"}[what],
        late=MS,
    )


def slow(words: list[str], end: int) -> list[tuple[int, int, int, bool]]:
    """(start, end, tries, ended) by the definition: of every pair of places, whether it is a longest row."""
    said = [(place * EVERY, word) for place, word in enumerate(words) if word != "late"]
    found = []
    for first in range(len(said)):
        for last in range(first, len(said)):
            row = said[first : last + 1]
            begins = first == 0 or said[first - 1][1] == "good"
            ends = last + 1 == len(said) or said[last + 1][1] == "good"
            if begins and ends and all(word == "bad" for _, word in row):
                ended = last + 1 < len(said)
                found.append((row[0][0], said[last + 1][0] + 4 * MS if ended else end, len(row), ended))
    return found


@given(tries, st.integers(0, 40))
@example(["bad", "late", "bad", "good"], 40)
@example(["bad", "good", "bad"], 2)
def test_outages_are_the_longest_rows_of_failed_tries(words: list[str], stopped: int) -> None:
    end, stop = len(words) * EVERY + TIMEOUT, stopped * EVERY
    found = outages(KEY, [sample(place * EVERY, word) for place, word in enumerate(words)], end=end, stop=stop)
    told = [(each.start, each.end, len(each.tries), each.ended) for each in found]
    assert told == slow(words[:stopped], min(end, stop))


def history(rows: dict[tuple[str, str, str], list[str]], faults: list[tuple[int, int]]) -> list[AnyRecord]:
    """Containers on two hosts that ask each other; partitions strike and are healed, but tries become what they do."""
    hosts = {name: "h1" if name < "c" else "h2" for key in rows for name in key[1:]}
    story = Story(("h1", "h2"), hosts, name="made-up", question="What became of the tries?")
    story.took(0, MS, "launch", label="launch all", groups=(("h1", "h2"),))
    story.took(2 * MS, 3 * MS, "run", label="run all", **story.place(hosts))
    for key, words in rows.items():
        for place, word in enumerate(words):
            at = 4 * MS + place * EVERY
            story.add(sample(at, word, key), at=at + (4 * MS if word == "good" else TIMEOUT))
    for start, end in faults:
        step = story.event(start, "partition", "start", label="partition h1 | h2", groups=(("h1",), ("h2",)))
        story.event(end, "partition", "end", step=step, label="heal", groups=(("h1", "h2"),))
    story.event(4 * MS + 41 * EVERY, "down", label="down")
    return story.finish()


keys = st.sampled_from([("http", "a", "b"), ("http", "a", "c"), ("icmp", "a", "c"), ("http", "c", "web-10"),
                        ("http", "c", "web-2"), ("icmp", "b", "a")])  # fmt: skip
spans = st.tuples(st.integers(0, 6 * S), st.integers(1, 3 * S)).map(lambda pair: (pair[0], sum(pair)))


def figure(run: RecordedRun, name: str) -> Told:
    return next(each for each in told(run) if each.name == name)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@settings(max_examples=12, deadline=None)
@given(
    st.dictionaries(keys, st.lists(st.sampled_from(("good", "good", "bad")), min_size=1, max_size=40), min_size=1),
    st.lists(spans, max_size=2).filter(lambda found: len(found) < 2 or found[0][1] < found[1][0]),
)
def test_every_place_tells_of_the_same_outages(
    made: dict[tuple[str, str, str], list[str]], faults: list[tuple[int, int]]
) -> None:
    run = RecordedRun(history(made, faults))
    picture = timeline(run)
    assert picture is not None
    summary = summarise(run)
    stop = 4 * MS + 41 * EVERY
    truth = [
        (start + 4 * MS, end + (4 * MS if ended else 0), key)
        for key, words in made.items()
        if key[0] == "http" or ("http", *key[1:]) not in made
        for start, end, _, ended in slow(words, stop)
    ]
    longest = max((end - start for start, end, _ in truth), default=None)
    # Summary, page and the figure's title.
    told = summary["longest_outage"]
    assert (told and told["lasted"]) == longest
    if longest is None:
        assert re.match(r"Every pair reached each other: \d+ tr(y|ies), none failed", picture.title)
    else:
        assert f"<b>{span(longest)}</b><span>longest outage of a pair</span>" in render(run, summary)
        if told["ended"]:
            name = told["series"].partition(" ")[2]
            assert picture.title.startswith(f"{name} unreachable for {span(longest)}")
        else:
            assert f"unreachable from {told['start'] / 1e9:.1f} s on" in picture.title
    # The table: each failed try names its outage; rows stand in the order of time, and names in that of numbers.
    table = rows(picture.csv)
    by_outage = {(row["source"], row["target"], row["outage_s"]) for row in table if row["outage_s"]}
    assert by_outage == {(key[1], key[2], f"{start / 1e9:.6f}") for start, _, key in truth}
    assert [row["state"] == "not reached" for row in table] == [bool(row["outage_s"]) for row in table]
    times = [float(row["t_s"]) for row in table]
    assert times == sorted(times)
    # The checker: what it calls an outage is a part of one.
    for finding in check_reachability(run).findings:
        if finding["should"] and finding["series"].startswith("http"):
            assert any(start <= finding["start"] and finding["end"] <= end for start, end, _ in truth)


def churned() -> RecordedRun:
    """A fault lasts from 1 s to 7 s; within it a pair fails three times for a second or less."""
    failing = [*range(8, 12), *range(18, 23), *range(30, 33)]
    words = ["bad" if place in failing else "good" for place in range(40)]
    return RecordedRun(history({("http", "a", "c"): words, ("http", "a", "b"): ["good"] * 40}, [(S, 7 * S)]))


def test_an_outage_spans_no_success() -> None:
    run = churned()
    assert figure(run, "reachability").title == "a → c unreachable for 1.00 s, back before the heal"
    longest: Any = summarise(run)["longest_outage"]
    assert (longest["lasted"], longest["tries"]) == (5 * EVERY + 4 * MS, 5)


def test_pairs_are_counted_that_were_asked_at_the_time() -> None:
    """Of 3 pairs in all one is asked after the fault only: 2 could be cut off, and 1 was."""
    cut = ["good"] * 5 + ["bad"] * 10 + ["good"] * 25
    late = ["late"] * 20 + ["good"] * 20
    run = RecordedRun(
        history({("http", "a", "c"): cut, ("http", "a", "b"): ["good"] * 40, ("http", "b", "c"): late}, [(S, 3 * S)])
    )
    assert figure(run, "matrices").title == "1 of 2 pairs was cut off while the fault lasted, it came back"


def test_a_pair_that_was_never_reached_is_not_cut_off_by_the_fault() -> None:
    run = RecordedRun(history({("http", "a", "c"): ["bad"] * 40, ("http", "a", "b"): ["good"] * 40}, [(S, 3 * S)]))
    assert figure(run, "matrices").title == "No pair was cut off"


def test_tables_are_sorted_by_number() -> None:
    words = ["good"] * 40
    names = [f"web-{number}" for number in (1, 2, 10)]
    run = RecordedRun(history({("http", "a", name): words for name in names}, []))
    found = rows(figure(run, "reachability").csv)
    assert [row["target"] for row in found[:3]] == names
    run = RecordedRun(synthetic_history.scale())
    times = [float(row["t_s"]) for row in rows(figure(run, "dns").csv)]
    assert times == sorted(times) and times[0] < 2 < 10 < times[-1]
    convergence = [float(row["t_s"]) for row in rows(figure(run, "convergence").csv)]
    assert convergence == sorted(convergence)


def test_a_headline_without_a_fault_says_so() -> None:
    words = ["good"] * 20 + ["bad"] * 3 + ["good"] * 17
    run = RecordedRun(history({("http", "a", "b"): words, ("http", "a", "c"): ["good"] * 40}, []))
    assert figure(run, "reachability").title == "a → b unreachable for 604 ms, with no fault in force"
    run = RecordedRun(history({("http", "a", "b"): ["bad"] * 3 + ["good"] * 37}, []))
    assert figure(run, "reachability").title == "a → b unreachable for 604 ms, while things were settling"
