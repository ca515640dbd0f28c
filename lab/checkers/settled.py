"""Had everything converged at the end? Pure. The last change must have converged, if it had enough time.

The scenario gives that time where it waits for convergence after the change; otherwise it is `PATIENCE`.

Finding: the last change, as {label, t, until, waiting}.
"""

from lab.checkers.convergence import EventConvergence
from lab.checkers.floors import limit
from lab.checkers.run import RecordedRun
from lab.checkers.verdict import CheckResult

__all__ = ["PATIENCE", "check_settled"]

PATIENCE = 10_000_000_000
"""Nanoseconds from the last change until its convergence is required."""


def check_settled(run: RecordedRun) -> CheckResult:
    """The last change has converged, if it had the time."""
    changes = run.convergence
    if not changes:
        return CheckResult(checker="settled", verdict="valid", summary="Nothing was changed.")
    last = changes[-1]
    patience = _patience(run, last.t)
    if last.overall is not None and last.overall > patience:
        return CheckResult(
            checker="settled",
            verdict="invalid",
            summary=f"After the last change ({last.label}) everything agreed only within {last.overall / 1e9:.2f} s, "
            f"expected {patience / 1e9:g} s.",
            findings=({"label": last.label, "t": last.t, "until": last.until, "waiting": []},),
        )
    if last.overall is not None:
        return CheckResult(
            checker="settled",
            verdict="valid",
            summary=f"After the last change ({last.label}) everything agreed within {_limit(last)}.",
        )
    window = last.until - last.t
    if window < patience:
        return CheckResult(
            checker="settled",
            verdict="valid",
            summary=f"The run ended {window / 1e9:.1f} s after its last change ({last.label}): too soon to judge.",
        )
    return CheckResult(
        checker="settled",
        verdict="invalid",
        summary=f"{window / 1e9:.1f} s after the last change ({last.label}) it had not converged.",
        findings=({"label": last.label, "t": last.t, "until": last.until, "waiting": list(run.final.waiting)},),
    )


def _limit(last: EventConvergence) -> str:
    """The upper bound of the settling time, at least the interval of its probes."""
    took = limit(last.overall or 0, last.after.get("overall"), last.floor.get("overall", 0))
    return f"{took / 1e9:.2f} s"


def _patience(run: RecordedRun, since: int) -> int:
    """Nanoseconds in which the change at `since` must have converged."""
    asked = [
        step.start - since + within
        for step in run.steps
        if step.start >= since
        and isinstance(within := step.detail.get("within"), int)
        and str(step.detail.get("expect", "")).startswith("converged")
    ]
    return max([PATIENCE * int(run.scenario.get("pace", 1)), *asked])
