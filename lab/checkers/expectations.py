"""Were the scenario's expectations met, and did its steps succeed? Pure.

Two checkers: `check_expectations` judges the `expect` steps; `check_steps` judges the others, and whether the run
reached its end. Findings: {step, label, t, took (ns or None), ok, error}.
"""

from typing import Any

from lab.checkers.run import PlayedStep, RecordedRun
from lab.checkers.verdict import CheckResult, merge
from lab.kinds.verbs import verb_of
from lab.words import count, were

__all__ = ["check_expectations", "check_steps"]


def _finding(step: PlayedStep) -> dict[str, Any]:
    took = step.detail.get("took")
    if not isinstance(took, int):
        took = None if step.end is None or step.end == step.start else step.end - step.start
    return {
        "step": step.number,
        "label": str(step.detail.get("expect") or step.label),
        "t": step.start,
        "took": took,
        "ok": step.ok,
        "error": str(step.detail.get("error") or ""),
    }


def check_expectations(run: RecordedRun) -> CheckResult:
    """Every `expect` step was met in time."""
    steps = [step for step in run.steps if verb_of(step.what).asks]
    if not steps:
        return CheckResult(checker="expectations", verdict="valid", summary="The scenario expects nothing.")
    failed = [step for step in steps if step.ok is False]
    open_steps = [step for step in steps if step.ok is None]
    verdict = merge("valid" if step.ok else "unknown" if step.ok is None else "invalid" for step in steps)
    if failed:
        summary = f"{len(failed)} of {count(len(steps), 'expectation')} failed."
    elif open_steps:
        summary = f"{len(open_steps)} of {count(len(steps), 'expectation')} {were(len(open_steps))} never judged."
    else:
        summary = f"All {len(steps)} expectations came true." if len(steps) > 1 else "The expectation came true."
    return CheckResult(
        checker="expectations", verdict=verdict, summary=summary, findings=tuple(_finding(step) for step in steps)
    )


def check_steps(run: RecordedRun) -> CheckResult:
    """Every step was carried out, and the run reached its end."""
    steps = [step for step in run.steps if not verb_of(step.what).asks]
    # A failed manual step is not a step of the scenario.
    failed = [step for step in steps if step.ok is False and not step.detail.get("by")]
    if failed:
        return CheckResult(
            checker="steps",
            verdict="invalid",
            summary=f"{len(failed)} of {count(len(steps), 'step')} failed.",
            findings=tuple(_finding(step) for step in failed),
        )
    if run.meta is None:
        return CheckResult(checker="steps", verdict="unknown", summary="The history does not say what was run.")
    if not run.complete:
        done = [step.label for step in steps if step.what != "down"]
        last = done[-1] if done else "nothing"
        return CheckResult(
            checker="steps",
            verdict="unknown",
            summary=f"The run was cut short after {run.end / 1e9:.1f} s; the last thing that it did was: {last}.",
        )
    carried = f"All {len(steps)} steps were carried out." if len(steps) > 1 else "The step was carried out."
    return CheckResult(
        checker="steps", verdict="valid", summary=carried if steps else "There was no step to carry out."
    )
