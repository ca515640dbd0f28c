"""A long history as columns gives exactly what it gives as a list of records: verdicts, times, tables, page.

The small histories of other tests and random ones are played through both; blocks and chunks are made so small that
their edges fall everywhere.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import synthetic_history
from synthetic_history import MS, S, Story

from lab.checkers import RecordedRun, check_run, columnar
from lab.checkers.tries import MISSED, outcomes
from lab.errors import LabError
from lab.figures import told
from lab.plots import pictures
from lab.records import tries
from lab.records.history import AnyRecord, Sample, Writer, read
from lab.report import write as report
from lab.report import write_report
from lab.report.columns import columns
from lab.report.feed import Feed
from lab.report.page import data_of
from lab.report.summary import summarise

RANDOM = range(8)


def random_history(seed: int) -> list[AnyRecord]:
    """Partitions, a killed host, scaling, lossy links; tries that fail, come late, are reported out of order."""
    draw = Random(seed)
    hosts = tuple(f"h{n}" for n in range(draw.choice((2, 3, 5))))
    names = {f"s{n}": host for n, host in enumerate(hosts)}
    story = Story(hosts, names, seed=seed, name=f"random-{seed}")
    if seed % 3 == 1:
        story.meta.scenario["underlay"]["links"] = [{"from": "*", "to": "*", "loss": 0.2}]
    story.took(0, 100 * MS, "launch", label="launch all", groups=(hosts,))
    story.took(200 * MS, 300 * MS, "run", label="run all", **story.place(names))
    for host in hosts:
        story.view(150 * MS, host, hosts)
    apart: list[tuple[int, int]] = []
    t = 4 * S
    while t < 24 * S:
        length = draw.randrange(1, 6) * S
        halves = hosts[:1], hosts[1:]
        step = story.event(t, "partition", "start", label="partition", groups=halves)
        for host in hosts:
            story.view(t + draw.randrange(2000) * MS, host, halves[host != hosts[0]], tag=draw.random())
        story.event(t + length, "partition", "end", step=step, label="partition", groups=(hosts,))
        for host in hosts:
            story.view(t + length + draw.randrange(2000) * MS, host, hosts)
        if draw.random() < 0.4:
            story.took(t + length + S, t + length + 1500 * MS, "expect", label="converged", expect="converged all")
        apart.append((t, t + length))
        t += length + draw.randrange(2, 8) * S
    for source in names:
        for target in names:
            for probe in ("http", "icmp"):
                if source != target and draw.random() < 0.9:
                    _probe(story, draw, probe, source, target, apart)
        for due in range(draw.randrange(500) * MS, 28 * S, 500 * MS):
            answers = ("10.0.1.1",) if draw.random() < 0.8 else ("10.0.1.1", "10.0.1.9")
            story.sample(due, "dns", source, "s0.weave.local", draw.random() < 0.9, answers=answers)
    if seed % 2:
        story.event(28 * S, "down")
    return story.finish()


def _probe(story: Story, draw: Random, probe: str, source: str, target: str, apart: list[tuple[int, int]]) -> None:
    lossy = draw.choice((0.0, 0.02, 0.3))
    for due in range(300 * MS + draw.randrange(200) * MS, 28 * S, 200 * MS):
        cut = "s0" in (source, target) and any(start <= due < end + 150 * MS for start, end in apart)
        good = not (cut and draw.random() < 0.97) and draw.random() >= lossy
        error = "late" if draw.random() < 0.02 else ""
        more = {"measured": {"jitter": draw.randrange(1000), "sent": 10, "lost": 1}} if draw.random() < 0.1 else {}
        if draw.random() < 0.03:
            continue  # a hole in the schedule
        story.sample(due, probe, source, target, good and not error, **({"error": error} if error else {}), **more)


HISTORIES: dict[str, Callable[[], list[AnyRecord]]] = {
    **{name: getattr(synthetic_history, name) for name in ("partition", "scale", "crash")},
    **{f"random {seed}": partial(random_history, seed) for seed in RANDOM},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges of blocks and chunks everywhere."""
    monkeypatch.setattr(columnar, "_CHUNK", 13)
    monkeypatch.setattr(tries, "_BLOCK", 700)


def stored(records: list[AnyRecord], folder: Path) -> Path:
    folder.mkdir(parents=True)
    with (folder / "history.jsonl").open("wb") as file:
        writer = Writer(file)
        for record in records:
            writer.write(record)
    return folder / "history.jsonl"


def both(records: list[AnyRecord], folder: Path) -> tuple[RecordedRun, RecordedRun]:
    path = stored(records, folder / "run")
    plain, long = RecordedRun(read(path)), report.recorded(path, long=0)
    assert plain.long is None and long.long is not None
    return plain, long


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", HISTORIES)
def test_columns_and_records_come_to_the_same(name: str, tmp_path: Path) -> None:
    plain, long = both(HISTORIES[name](), tmp_path)
    assert [list(series) for series in plain.series.values()] == [list(series) for series in long.series.values()]
    assert list(plain.series) == list(long.series) and plain.views == long.views
    assert (plain.start, plain.end, plain.stop) == (long.start, long.end, long.stop)
    assert plain.convergence == long.convergence and plain.final == long.final
    assert plain.epochs == long.epochs
    assert {key: outcomes(plain, key) for key in plain.series} == {key: outcomes(long, key) for key in long.series}
    for one, other in zip(plain.outages.values(), long.outages.values(), strict=True):
        assert [(o.start, o.end, o.ended, list(o.tries)) for o in one] == [
            (o.start, o.end, o.ended, list(o.tries)) for o in other
        ]
    assert msgspec.to_builtins(check_run(plain)) == msgspec.to_builtins(check_run(long))
    assert summarise(plain) == summarise(long) and data_of(plain) == data_of(long)
    for figure, same in zip(told(plain), told(long), strict=True):
        assert (figure.name, figure.title, figure.caption) == (same.name, same.title, same.caption)
        assert "".join(figure.table()) == "".join(same.table())


@pytest.mark.usefixtures("small")
def test_the_whole_report_is_equal_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for long in (report.LONG, 0):
        monkeypatch.setattr(report.recorded, "__defaults__", (long,))
        folder = stored(random_history(1), tmp_path / str(long)).parent
        write_report(folder, formats=("svg",))
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1] and {"reachability.csv", "index.html", "latency.svg"} <= set(found[0])


@pytest.mark.parametrize("most", [50, 200])
def test_the_page_of_many_tries_hides_no_lost_one(most: int, tmp_path: Path) -> None:
    plain, long = both(random_history(3), tmp_path)
    shown, notes = columns(long, Feed(), most)
    assert (shown, notes) == columns(plain, Feed(), most) and "tries are aggregated" in notes[0]
    for key, series in zip(long.series, shown, strict=True):
        begins = list(_sums(series["t"]))
        assert sum(series["w"]) == len(long.series[key]) and len(begins) < len(long.series[key])
        for state, sample in zip(outcomes(long, key), long.series[key], strict=True):
            if state == MISSED:
                at = max(place for place, begin in enumerate(begins) if begin <= sample.t)
                assert int(series["s"][at]) >= MISSED, "an entry with a lost try shows nothing better"


def _sums(steps: list[int]) -> Any:
    total = 0
    for step in steps:
        total += step
        yield total


def test_the_page_is_exact_where_outages_are(tmp_path: Path) -> None:
    """As long as there is room, an entry ends where what becomes of tries changes."""
    _, long = both(synthetic_history.partition(), tmp_path)
    shown, notes = columns(long, Feed(), 600)
    assert "cut where what became of them changed" in notes[0]
    for key, series in zip(long.series, shown, strict=True):
        states = outcomes(long, key)
        edges = {long.series[key][n + 1].t for n, (a, b) in enumerate(pairwise(states)) if a != b}
        assert edges <= set(_sums(series["t"]))


@pytest.mark.usefixtures("small")
def test_a_broken_line_is_named_and_a_torn_one_skipped(tmp_path: Path) -> None:
    path = stored(synthetic_history.partition(), tmp_path / "torn")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"sample","t":1')
    others = [record for record in read(path) if not isinstance(record, Sample)]
    assert len(report.recorded(path, long=0).records) == len(others)
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:40], b'{"kind":"nothing"}\n', *lines[40:]]))
    with pytest.raises(LabError, match=":41: no line of a history"):
        report.recorded(path, long=0)


def test_pictures_of_a_long_history_are_the_same(tmp_path: Path) -> None:
    plain, long = both(synthetic_history.partition(), tmp_path)
    assert list(pictures(plain, ("svg",))) == list(pictures(long, ("svg",)))
