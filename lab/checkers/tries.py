"""The outcome of each try, defined once for the page, tables and pictures. Pure.

The live page computes it for each try as it arrives (`lab.report.feed`), everything else for a whole series
(`outcomes`).
"""

from typing import cast

from lab.checkers.run import RecordedRun
from lab.checkers.world import SeriesKey
from lab.records.history import Sample

__all__ = ["CUT", "LEAKED", "MISSED", "NOTHING", "REACHED", "WRONG", "outcome", "outcomes"]

NOTHING, MISSED, REACHED, LEAKED, WRONG, CUT = range(6)
"""Outcome of a try: not made in time; failed; succeeded; succeeded across a cut; a name got a wrong answer; failed
across a cut, as it should."""


def outcome(sample: Sample, should: bool | None, answers: tuple[str, ...] | None = None) -> int:
    """The outcome of a try. `should`: whether it should have succeeded when it was due; `answers`: the addresses of
    its name then."""
    if sample.error == "late":
        return NOTHING
    if not sample.ok:
        return CUT if should is False else MISSED
    if answers is not None:  # a name: an outdated answer is wrong, even if it was right a moment ago
        return REACHED if sample.answers == answers else WRONG
    return LEAKED if should is False else REACHED


def outcomes(run: RecordedRun, key: SeriesKey) -> list[int]:
    """The outcome of each try of a series."""
    if run.long is not None:
        from lab.checkers.columnar import outcomes_of

        return cast("list[int]", outcomes_of(run, key, run.columns(key)).tolist())
    duties = [(epoch.start, epoch.should.get(key), epoch.answers.get(key)) for epoch in run.epochs]
    place, should, answers = 0, None, None
    found = []
    for sample in run.series[key]:
        while place < len(duties) and duties[place][0] <= sample.t:
            _, should, answers = duties[place]
            place += 1
        found.append(outcome(sample, should, answers))
    return found
