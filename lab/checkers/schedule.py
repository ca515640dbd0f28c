"""Did the probes keep their schedule? Pure. A measurement with holes cannot say what happened during the holes.

Findings: {series, kind, t, tries}, `kind` being `hole` (tries are missing from `t` on) or `drift` (a try is off the
grid of its series, first at `t`). Holes at changes that start or stop containers do not count, and neither do tries
that were in flight then. A single missing try cannot hide an outage (see `reachability`) and is only reported.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from lab.checkers.run import RecordedRun
from lab.checkers.verdict import CheckResult
from lab.checkers.world import SeriesKey, is_change, name_of
from lab.kinds.probes import is_open_loop
from lab.kinds.verbs import verb_of
from lab.records.history import Sample
from lab.words import are, count, were

if TYPE_CHECKING:
    from lab.records.tries import SeriesTries

__all__ = ["check_schedule", "interval"]

_TOLERANCE = 1_000_000
"""Nanoseconds that a try may be off its grid, because backends translate clocks."""
_SHOWN = 20


def interval(samples: Sequence[Sample]) -> int:
    """The interval of a series: the most frequent distance of due times; 0 for fewer than two tries."""
    if not isinstance(samples, list):
        from lab.checkers.columnar import interval_of

        return interval_of(cast("SeriesTries", samples))
    distances = Counter(later.t - earlier.t for earlier, later in pairwise(samples))
    return min(distances, key=lambda distance: (-distances[distance], distance)) if distances else 0


def _moves(what: str) -> bool:
    """Whether such a step starts or stops containers; taking the lab down does."""
    return what == "down" or verb_of(what).moves


def check_schedule(run: RecordedRun) -> CheckResult:
    """No series of samples has holes or drifts."""
    restarts = [event.t for event in run.events if is_change(event) and verb_of(event.what).moves]
    # A step that moves containers takes time, and so do its probes: from its start to its end.
    spans = [(step.start, step.end or run.end) for step in run.steps if _moves(step.what)]
    findings: list[dict[str, Any]] = []
    late: list[int] | array[int] = []
    tries = 0
    for key, samples in run.series.items():
        if is_open_loop(key[0]):
            continue  # it begins and ends with its step, and each try records its own lateness
        every = interval(samples)
        tries += len(samples)
        if run.long is None:
            late.extend(sample.late for sample in samples)
        if every > 0:
            findings += _series(key, samples, every, run.timeout(key[0]), restarts, spans)
    if not tries:
        return CheckResult(checker="schedule", verdict="valid", summary="No probe ran.")
    if run.long is not None:
        from lab.checkers.columnar import sorted_lateness

        late = sorted_lateness(run.columns(key) for key in run.series if not is_open_loop(key[0]))
    else:
        late = sorted(late)
    behind = late[min(len(late) - 1, len(late) * 99 // 100)] / 1e6
    gaps = [finding for finding in findings if finding["kind"] == "drift" or finding["tries"] > 1]
    if gaps:
        return CheckResult(
            checker="schedule",
            verdict="unknown",
            summary=f"There are holes or drift in {len({finding['series'] for finding in gaps})} of {len(run.series)} "
            "probe series: the measurements have gaps.",
            findings=tuple(findings[:_SHOWN]),
        )
    missing = f", {len(findings)} single {are(len(findings))} missing" if findings else ""
    return CheckResult(
        checker="schedule",
        verdict="valid",
        summary=f"{count(tries, 'try', 'tries')} {were(tries)} made on schedule, "
        f"99 % of them at most {behind:.1f} ms late{missing}.",
        findings=tuple(findings[:_SHOWN]),
    )


def _series(
    key: SeriesKey,
    samples: Sequence[Sample],
    every: int,
    timeout: int,
    restarts: list[int],
    spans: list[tuple[int, int]],
) -> list[dict[str, Any]]:
    name = name_of(key)
    findings: list[dict[str, Any]] = []
    for earlier, later in _pairs(samples, every):
        distance = later.t - earlier.t
        missing = round(distance / every) - 1
        drifts = abs(distance - (missing + 1) * every) > _TOLERANCE
        if missing <= 0 and not drifts:
            continue
        excused = any(earlier.t <= t <= later.t + timeout for t in restarts) or any(
            start <= later.t + timeout and earlier.t <= end for start, end in spans
        )
        if excused:
            continue
        if missing > 0:
            findings.append({"series": name, "kind": "hole", "t": earlier.t, "tries": missing})
        if drifts:
            findings.append({"series": name, "kind": "drift", "t": later.t, "tries": 1})
            break
    return findings


def _pairs(samples: Sequence[Sample], every: int) -> Iterable[tuple[Sample, Sample]]:
    """Neighbouring tries; of a long history only those that are not one interval apart."""
    if isinstance(samples, list):
        return pairwise(samples)
    from lab.checkers.columnar import suspicious_pairs

    return suspicious_pairs(cast("SeriesTries", samples), every, _TOLERANCE)
