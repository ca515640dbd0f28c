"""Could every pair reach each other exactly when it should, outside of transitions? Pure.

A *wrong negative* is a try that failed although source and target run on hosts that can reach each other. A *wrong
positive* is a try that succeeded although the hosts cannot. The time from a change until reachability has settled (or
until the next change, if it never settles) is a transition and not judged here: `convergence` measures its length, and
an expectation judges whether it was too long. Single wrong tries are counted. Two in a row of one series, or more than
lossy links would cause by themselves, are an outage and make the run invalid; if the machine was busy, unknown. A
transition that never ends also makes the run unknown if it leaves more tries unjudged than were judged.

Findings: {series, should, start, end (ns, first and last wrong try), tries, busy}.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from lab.checkers.outages import failed, in_rows
from lab.checkers.run import RecordedRun
from lab.checkers.settled import PATIENCE
from lab.checkers.verdict import CheckResult, merge
from lab.checkers.world import SeriesKey, name_of
from lab.kinds.probes import asks_name
from lab.kinds.verbs import verb_of
from lab.records.history import Sample
from lab.words import count

__all__ = ["BUSY", "busy", "check_reachability", "transitions"]

BUSY = 0.95
"""Fraction of all cores; when more are busy, measurements on the machine are doubtful."""
_SHOWN = 50


def transitions(run: RecordedRun) -> list[tuple[int, int]]:
    """(start, end) of the times in which reachability was changing, in order."""
    spans: list[tuple[int, int]] = []
    for change in run.convergence:
        took = change.metrics.get("reachability")
        spans.append((change.t, change.until if took is None else change.t + took))
    # A step in progress has done part of its work already, but reports it only at its end.
    spans += [
        (step.start, run.end if step.end is None else step.end)
        for step in run.steps
        if verb_of(step.what).changes == "end"
    ]
    # So does the end of a fault: some containers of a host answer while others still start.
    spans += [
        (event.t - took, event.t)
        for event in run.events
        if verb_of(event.what).changes == "both"
        and event.phase == "end"
        and isinstance(took := event.detail.get("took"), int)
    ]
    return sorted(spans)


def _unended(run: RecordedRun) -> list[tuple[int, int]]:
    """(start, end) of the rest of transitions that did not end, after the time that they should have taken."""
    return [
        (change.t + PATIENCE, change.until)
        for change in run.convergence
        if change.metrics.get("reachability", 0) is None and change.until - change.t > PATIENCE
    ]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same times without overlaps; `spans` are sorted."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def busy(run: RecordedRun, start: int, end: int) -> bool:
    """Whether the machine had no idle time at some moment in the interval."""
    previous = run.start
    for load in run.loads:
        if load.cpu >= BUSY and previous <= end and load.t >= start:
            return True
        previous = load.t
    return False


def check_reachability(run: RecordedRun) -> CheckResult:
    """No outages and no leaks outside of transitions."""
    under_way = _merged(transitions(run))
    starts = [start for start, _ in under_way]
    edges = sorted([change.t for change in run.convergence] + [run.end])
    lasting = _unended(run)
    findings: list[dict[str, Any]] = []
    judged = wrong = unjudged = 0
    lossy = False

    def grade(key: SeriesKey, row: Sequence[Sample]) -> None:
        """Whether a row of wrong tries is an outage."""
        nonlocal lossy
        least = 1 if row[0].ok else run.row(row[0])
        lossy = lossy or least != 1
        if least is not None and len(row) >= max(2, least):
            findings.append(_finding(run, name_of(key), row))

    for key, samples in run.series.items():
        if asks_name(key[0]):
            continue
        if run.long is not None:
            from lab.checkers.columnar import wrong_tries

            mine = wrong_tries(run, key, run.columns(key), under_way, edges, lasting)
            judged, unjudged, wrong = judged + mine[0], unjudged + mine[1], wrong + mine[3]
            for row in mine[2]:
                grade(key, row)
            continue
        timeout = run.timeout(key[0])

        def is_wrong(sample: Sample, timeout: int = timeout) -> bool | None:
            nonlocal judged, wrong, unjudged
            if failed(sample) is None:
                return None
            good = run.judge(sample)
            place = bisect_right(starts, sample.t) - 1
            settled = good is not None and (place < 0 or sample.t > under_way[place][1])
            if settled and not good:
                # A row that the next change interrupts is not wrong: a cut may end the answer, a heal the wait for it.
                end = sample.t + (timeout if sample.latency is None else sample.late + sample.latency)
                settled = not any(sample.t <= edge < end for edge in edges)
            judged += settled
            unjudged += good is not None and not settled and any(start < sample.t < end for start, end in lasting)
            wrong += settled and not good
            return settled and not good

        for row, _ in in_rows(samples, is_wrong):
            grade(key, row)
    if not findings and unjudged > judged:
        return CheckResult(
            checker="reachability",
            verdict="unknown",
            summary="Reachability did not settle for long: "
            f"only {judged} of {count(judged + unjudged, 'try', 'tries')} could be judged.",
        )
    if not judged:
        return CheckResult(checker="reachability", verdict="valid", summary="No try could be judged.")
    if not findings:
        tries = count(judged, "try", "tries")
        rows = "fewer in a row than the links' own losses explain" if lossy else "none after another"
        single = f"; {wrong} of {tries} went wrong, {rows}" if wrong else f": {tries}, none wrong"
        return CheckResult(
            checker="reachability", verdict="valid", summary=f"No outage outside of transitions{single}."
        )
    findings.sort(key=lambda finding: (finding["start"], finding["series"]))
    leaks = sum(finding["should"] is False for finding in findings)
    return CheckResult(
        checker="reachability",
        verdict=merge("unknown" if finding["busy"] else "invalid" for finding in findings),
        summary=f"{count(len(findings) - leaks, 'outage')} and {count(leaks, 'leak')} across cuts "
        "outside of transitions"
        + (", while the machine was busy." if all(finding["busy"] for finding in findings) else "."),
        findings=tuple(findings[:_SHOWN]),
    )


def _finding(run: RecordedRun, name: str, row: Sequence[Sample]) -> dict[str, Any]:
    return {
        "series": name,
        "should": not row[0].ok,
        "start": row[0].t,
        "end": row[-1].t,
        "tries": len(row),
        "busy": busy(run, row[0].t, row[-1].t),
    }
