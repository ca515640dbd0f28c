"""Runs -> cells with intervals, and ranks where intervals allow. Pure.

A cell is one entry, one question, one measure. Medians and their intervals are `lab.sweep.statistics`'; repeats in one
lab may be alike, so intervals come from drawing labs first, and then repeats of each. One entry is better than another
only if its whole interval is, by more than the measure can tell apart; an entry's rank is one more than the number of
entries that are better. Where no two can be told apart nobody has a rank.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from lab.league.columns import MEASURES, LeagueMeasure
from lab.league.measures import NEVER, REFUSED, RunReading
from lab.league.plan import LeagueRun, Pairing
from lab.scenario.values import parse_duration
from lab.sweep.statistics import CensoredSample, Estimate, median
from lab.trials.trial import LeagueQuestion
from lab.words import count

__all__ = ["LeagueCell", "LeagueRow", "alike", "by_pair", "reading_words", "rows_of", "shown_value"]

State = Literal["measured", "n/a", "failed", "missing"]


class LeagueCell(Struct, frozen=True, kw_only=True):
    """One entry, one question, one measure."""

    entry: str
    question: str
    measure: str
    state: State
    estimate: Estimate = Estimate(math.nan, math.nan, math.nan)
    runs: int = 0
    """That are in the estimate."""
    unreached: int = 0
    """Of these, in which the time was not reached."""
    invalid: int = 0
    """Runs in which something that must come true did not."""
    reason: str = ""
    """Why there is no number, or why runs are not valid."""
    rank: int | None = None

    @property
    def value(self) -> str:
        """Its median alone, for a table of everything."""
        if self.state != "measured":
            return self.words
        return _value(self.estimate.value, MEASURES[self.measure])

    @property
    def words(self) -> str:
        """What the cell says, in its measure's unit."""
        if self.state == "measured":
            return _words(self)
        return {"n/a": "n/a", "failed": "failed", "missing": "–"}[self.state]


class LeagueRow(Struct, frozen=True, kw_only=True):
    """One question and one measure: a cell for each entry."""

    question: LeagueQuestion
    measure: LeagueMeasure
    cells: tuple[LeagueCell, ...]


def by_pair(runs: Sequence[LeagueRun]) -> dict[tuple[str, str], list[LeagueRun]]:
    """(entry, question) -> its runs."""
    found: dict[tuple[str, str], list[LeagueRun]] = {}
    for run in runs:
        found.setdefault((run.entry, run.question), []).append(run)
    return found


def rows_of(pairings: Sequence[Pairing], runs: Mapping[tuple[str, str], Sequence[LeagueRun]]) -> list[LeagueRow]:
    """The table, question by question."""
    questions: dict[str, list[Pairing]] = {}
    for pairing in pairings:
        questions.setdefault(pairing.question.name, []).append(pairing)
    rows = []
    for mine in questions.values():
        question = mine[0].question
        for name in question.measures:
            measure = MEASURES[name]
            cells = [_cell(one, measure, runs.get((one.entry.label, question.name), ())) for one in mine]
            rows.append(
                LeagueRow(question=question, measure=measure, cells=_ranked(cells, measure, _step(question, measure)))
            )
    return rows


def _cell(pairing: Pairing, measure: LeagueMeasure, runs: Sequence[LeagueRun]) -> LeagueCell:
    def cell(state: State, **more: object) -> LeagueCell:
        return LeagueCell(
            entry=pairing.entry.label,
            question=pairing.question.name,
            measure=measure.name,
            state=state,
            **more,  # type: ignore[arg-type]
        )

    if pairing.why_not:
        return cell("n/a", reason=pairing.why_not)
    if pairing.broken:
        return cell("failed", reason=pairing.broken)
    refused = next((run.reason for run in runs if run.verdict == REFUSED), "")
    if refused:
        return cell("n/a", reason=refused)
    said = [run for run in runs if not run.failed and run.asked]
    silent = next((run.reason for run in runs if run.failed), "")
    bad = [run for run in said if run.verdict == "invalid"]
    why = bad[0].reason if bad else ""
    readings = [run.readings[measure.name] for run in said if measure.name in run.readings]
    if not readings:
        if bad:
            return cell("failed", reason=why, invalid=len(bad))
        return cell("missing", reason=silent or ("its runs say nothing of it" if said else "it was not played yet"))
    if all(not one.reached and one.value >= NEVER for one in readings):
        return cell("failed", reason=why or "no run came to the question", runs=len(readings), invalid=len(bad))
    labs = {run.run or run.key: index for index, run in enumerate(said)}
    groups = [labs[run.run or run.key] for run in said if measure.name in run.readings]
    sample = CensoredSample([one.value for one in readings], [one.reached for one in readings], groups=groups)
    return cell(
        "measured",
        estimate=median(sample),
        runs=len(readings),
        unreached=sample.censored,
        invalid=len(bad),
        reason=why,
    )


def _step(question: LeagueQuestion, measure: LeagueMeasure) -> float:
    """The least difference that can be told: times that probes end are no finer than their interval."""
    if measure.unit != "s" or not question.probes:
        return measure.step
    return max(measure.step, parse_duration(str(question.probes[0]["every"])) / 1e9)


def _ranked(cells: Sequence[LeagueCell], measure: LeagueMeasure, step: float) -> tuple[LeagueCell, ...]:
    placed = [cell for cell in cells if cell.state == "measured"]
    better = {id(cell): sum(_better(other, cell, measure, step) for other in placed) for cell in placed}
    if not any(better.values()):
        return tuple(cells)
    return tuple(
        msgspec.structs.replace(cell, rank=better[id(cell)] + 1) if id(cell) in better else cell for cell in cells
    )


def _better(one: LeagueCell, other: LeagueCell, measure: LeagueMeasure, step: float) -> bool:
    """Whether one is certainly better; without intervals nothing is."""
    mine, theirs = one.estimate, other.estimate
    if any(math.isnan(bound) for bound in (mine.low, mine.high, theirs.low, theirs.high)):
        return False
    if measure.better == "less":
        return mine.high + step < theirs.low
    return mine.low - step > theirs.high


def alike(row: LeagueRow, one: LeagueCell, other: LeagueCell) -> bool:
    """Whether two cells of a row say the same: neither is better."""
    if one.state != "measured" or other.state != "measured":
        return one.state == other.state
    step = _step(row.question, row.measure)
    return not _better(one, other, row.measure, step) and not _better(other, one, row.measure, step)


def _words(cell: LeagueCell) -> str:
    measure, found = MEASURES[cell.measure], cell.estimate
    value = _value(found.value, measure)
    interval = ""
    if not math.isnan(found.low):
        low = "∞" if math.isinf(found.low) else shown_value(found.low, measure)
        high = "∞" if math.isinf(found.high) else shown_value(found.high, measure)
        interval = f" [{low}, {high}]" if low != high else ""
    failed = f", {count(cell.invalid, 'run')} of {cell.runs} failed" if cell.invalid else ""
    return f"{value}{interval}{failed}"


def _value(value: float, measure: LeagueMeasure) -> str:
    return "not reached" if math.isinf(value) else shown_value(value, measure)


def shown_value(value: float, measure: LeagueMeasure) -> str:
    """A number with three digits that matter."""
    if measure.unit == "packets" or abs(value) >= 100:
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if measure.unit != "cores" else f"{value:.3f}"


def reading_words(reading: RunReading | None, measure: LeagueMeasure) -> str:
    """What one run says, for its own row."""
    if reading is None:
        return ""
    if reading.value >= NEVER:
        return "not reached"
    return f"{'' if reading.reached else '> '}{shown_value(reading.value, measure)}"
