"""Cells, intervals and ranks of a league, and what is written of them, from runs that are made up."""

import csv
from pathlib import Path

import pytest

from lab.league.again import agreements
from lab.league.document import document
from lab.league.measures import NEVER, REFUSED, RunReading
from lab.league.page import write_pages
from lab.league.papers import CELLS, RUNS_CSV, RUNS_PARQUET, TEX, write_papers
from lab.league.plan import LeagueRun, Pairing, matches, pairings
from lab.league.results import LeagueRow, rows_of
from lab.trials.questions import QUESTIONS
from lab.trials.trial import Entry, OverlayFacts

CUT = next(question for question in QUESTIONS if question.name == "cut-5")
BULK = next(question for question in QUESTIONS if question.name == "bulk")
Values = dict[str, list[float]]


def run(entry: str, repeat: int, question: str = "cut-5", **more: object) -> LeagueRun:
    told = {"verdict": "valid", "run": f"runs/{entry}/{question}/{repeat}", "wall": 9.0} | more
    return LeagueRun(key=f"{entry}{question}{repeat}", entry=entry, question=question, repeat=repeat, **told)  # type: ignore[arg-type]


def outages(values: Values) -> dict[tuple[str, str], list[LeagueRun]]:
    return {
        (entry, "cut-5"): [
            run(
                entry,
                n,
                readings={"outage": RunReading(value=value, reached=value < 60), "lost": RunReading(value=20 * value)},
            )
            for n, value in enumerate(mine)
        ]
        for entry, mine in values.items()
    }


def pairing(name: str, question: object = CUT, **more: str) -> Pairing:
    return Pairing(entry=Entry(label=name, kind=name), question=question, **more)  # type: ignore[arg-type]


def table(values: Values) -> list[LeagueRow]:
    return rows_of([pairing(name) for name in values], outages(values))


def ranks(values: Values) -> dict[str, int | None]:
    return {cell.entry: cell.rank for cell in table(values)[0].cells}


FAST, SLOW = [1.0, 1.1, 1.2, 1.05, 1.15], [5.0, 5.2, 5.1, 5.3, 4.9]


def test_ranks_stand_where_intervals_are_apart() -> None:
    assert ranks({"a": SLOW, "b": FAST}) == {"a": 2, "b": 1}
    # c overlaps both, so it is behind nobody, and nobody is behind it.
    assert ranks({"a": SLOW, "b": FAST, "c": [1.0, 5.0, 1.1, 5.1, 3.0]}) == {"a": 2, "b": 1, "c": 1}


def test_nobody_has_a_rank_where_all_overlap_or_ran_once() -> None:
    assert ranks({"a": FAST, "b": FAST}) == {"a": None, "b": None}
    assert ranks({"a": [1.0], "b": [50.0]}) == {"a": None, "b": None}
    # Closer than the probes are to each other.
    assert ranks({"a": [1.0] * 5, "b": [1.04] * 5}) == {"a": None, "b": None}


def test_ranks_need_more_than_the_interval_of_the_probes() -> None:
    mtu = next(question for question in QUESTIONS if question.name == "mtu")
    runs = {
        (name, "mtu"): [run(name, n, "mtu", readings={"outage": RunReading(value=value)}) for n in range(5)]
        for name, value in (("a", 1.0), ("b", 1.4), ("c", 1.6))
    }
    row = rows_of([pairing(name, mtu) for name in "abc"], runs)[0]
    assert {cell.entry: cell.rank for cell in row.cells} == {"a": 1, "b": 1, "c": 2}


def test_more_throughput_is_better() -> None:
    runs = {
        (name, "bulk"): [run(name, n, "bulk", readings={"throughput": RunReading(value=value + n)}) for n in range(5)]
        for name, value in (("a", 100.0), ("b", 900.0))
    }
    row = rows_of([pairing("a", BULK), pairing("b", BULK)], runs)[0]
    assert {cell.entry: cell.rank for cell in row.cells} == {"a": 2, "b": 1}


def test_times_that_were_not_reached_count_as_longer() -> None:
    cell = table({"a": [1.0, 61.0, 61.0, 61.0, 61.0]})[0].cells[0]
    assert (cell.state, cell.unreached, cell.words) == ("measured", 4, "not reached [1.00, ∞]")
    cell = table({"a": [1.0, 2.0, 3.0, 61.0]})[0].cells[0]
    assert cell.estimate.value == 2.5 and cell.unreached == 1


def test_what_is_not_promised_failed_or_was_not_played() -> None:
    never = {"outage": RunReading(value=NEVER, reached=False)}
    runs = {
        ("dead", "cut-5"): [run("dead", n, verdict="invalid", reason="no answer", readings=never) for n in (1, 2)],
        ("busy", "cut-5"): [run("busy", 1, verdict="unknown", reason="too busy", failed=True)],
    }
    found = [
        pairing("dead"), pairing("busy"), pairing("absent"), pairing("shy", why_not="no addresses"),
        pairing("gone", broken="cannot be launched"),
    ]  # fmt: skip
    cells = {cell.entry: (cell.state, cell.words, cell.reason) for cell in rows_of(found, runs)[0].cells}
    assert cells == {
        "dead": ("failed", "failed", "no answer"),
        "busy": ("missing", "–", "too busy"),
        "absent": ("missing", "–", "it was not played yet"),
        "shy": ("n/a", "n/a", "no addresses"),
        "gone": ("failed", "failed", "cannot be launched"),
    }


def test_runs_that_are_not_valid_are_told_with_their_number() -> None:
    runs = outages({"a": [1.0, 2.0]})
    runs["a", "cut-5"].append(run("a", 9, verdict="invalid", reason="late", readings={"outage": RunReading(value=3.0)}))
    cell = rows_of([pairing("a")], runs)[0].cells[0]
    assert cell.words.endswith(", 1 run of 3 failed") and cell.reason == "late"


HOSTILE = "<script>alert(1)</script>|\x1b[31m&_%"


def test_all_is_written_and_nothing_that_an_entry_says_is_markup(tmp_path: Path) -> None:
    values = {"a": FAST, "b": SLOW}
    runs = outages(values)
    runs["b", "cut-5"].append(run("b", 9, verdict="invalid", reason=HOSTILE, readings={}))
    rows = rows_of([pairing(name) for name in (*values, "c")] + [], {**runs})
    every = [one for mine in runs.values() for one in mine]
    facts = {name: OverlayFacts(name=name, version=HOSTILE) for name in values}
    written = write_papers(tmp_path, rows, every)
    page = write_pages(tmp_path, rows, every, facts, {"c": HOSTILE})
    assert {path.name for path in written} >= {RUNS_CSV, CELLS, TEX}
    text = page.read_text() + (tmp_path / "pairs" / "b--cut-5.html").read_text()
    assert "<script>" not in text and "\x1b" not in text and "&lt;script&gt;" in text
    assert 'href="pairs/a--cut-5.html"' in text and 'href="../runs/b/cut-5/0/history.jsonl"' in text
    lines = list(csv.DictReader((tmp_path / RUNS_CSV).open()))
    assert len(lines) == 2 * 10 + 1 and {line["measure"] for line in lines} == {"outage", "lost", ""}
    told = {(line["entry"], line["measure"]): line for line in csv.DictReader((tmp_path / CELLS).open())}
    assert told["a", "outage"]["rank"] == "1" and float(told["a", "outage"]["median"]) == 1.1
    tex = (tmp_path / TEX).read_text()
    assert r"cut-5 & outage (s) & 1.10 [1.00, 1.20] (1) & 5.10 [4.90, 5.30], 1 run of 5 failed (2)" in tex
    written_text = document(rows, every, facts, {"c": HOSTILE}, "0+code")
    assert "<script>" not in written_text.replace("\\<script\\>", "") and "\x1b" not in written_text
    assert "| a | 1.10 [1.00, 1.20] **1** |" in written_text and "`lab league --questions cut-5`" in written_text


def test_parquet_has_the_same_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    runs = outages({"a": FAST})
    write_papers(tmp_path, rows_of([pairing("a")], runs), runs["a", "cut-5"])
    rows = parquet.read_table(tmp_path / RUNS_PARQUET).to_pylist()
    assert len(rows) == 10 and {row["value"] for row in rows if row["measure"] == "outage"} == set(FAST)


def grouped(labs: list[list[float]]) -> LeagueRow:
    runs = [
        run("a", 10 * lab + index, run=f"lab{lab}", index=index, readings={"outage": RunReading(value=value)})
        for lab, values in enumerate(labs)
        for index, value in enumerate(values)
    ]
    return rows_of([pairing("a")], {("a", "cut-5"): runs})[0]


def test_intervals_are_wider_where_labs_differ() -> None:
    labs = [[1.0, 1.01, 1.02, 1.03, 1.04], [2.0, 2.01, 2.02, 2.03, 2.04], [3.0, 3.01, 3.02, 3.03, 3.04]]
    mixed = [[labs[other][(index + other) % 5] for other in (0, 1, 2)] for index in range(5)]
    apart, alone = grouped(labs).cells[0].estimate, grouped(mixed).cells[0].estimate
    assert apart.value == alone.value == 2.02
    assert (apart.low, apart.high) == pytest.approx((1.0, 3.04), abs=0.03)
    one = grouped([[value for values in labs for value in values]]).cells[0].estimate
    assert apart.high - apart.low > one.high - one.low > 0


def test_two_leagues_agree_where_intervals_do() -> None:
    first = table({"a": FAST, "b": SLOW})
    for values, agree in (({"a": FAST, "b": SLOW}, [True, True]), ({"a": SLOW, "b": SLOW}, [False, True])):
        found = agreements(first[:1], table(values)[:1])
        assert [one.agree for one in found] == agree and [one.first.entry for one in found] == ["a", "b"]
    text = document(first, [], {}, {}, "c0de", agreements(first, table({"a": SLOW})))
    assert "2 cells, chosen at random" in text and "| cut-5 | outage (s) | a | 1.10 [" in text
    assert "(`make league`)" in text and "Again: `lab league --questions cut-5`" in text
    text = document(first, [], {}, {}, "c0de", backend="dind")
    assert "(`make league-dind`)" in text and "Again: `lab league --backend dind --questions cut-5`" in text


def test_what_a_backend_refuses_and_what_an_overlay_fails_unasked() -> None:
    refused = [run("a", 1, verdict=REFUSED, reason="dind has no cable to break")]
    cell = rows_of([pairing("a")], {("a", "cut-5"): refused})[0].cells[0]
    assert (cell.state, cell.reason) == ("n/a", "dind has no cable to break")
    (question,) = (one for one in QUESTIONS if one.name == "killed")
    facts = {"a": OverlayFacts(name="a", leaves="processes of it run after `kill`: sleep")}
    (found,) = pairings([Entry(label="a", kind="tinc")], [question], facts, {})
    assert found.broken == "processes of it run after `kill`: sleep" and not matches([found], facts, None)
