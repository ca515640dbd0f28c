"""The numbers of a run as plain data: the content of `summary.json` and of the page. Pure, except for the check whether
a scenario is a packaged one.

Times are nanoseconds, as in the history. `docs/results.md` explains every field.
"""

import shlex
from pathlib import Path
from typing import Any

import msgspec

from lab.checkers import RecordedRun, Verdict, check_run
from lab.checkers.dns import staleness
from lab.checkers.outages import Outage
from lab.checkers.reachability import BUSY
from lab.checkers.run import PlayedStep, nearest_rank
from lab.checkers.steady import results_of
from lab.checkers.world import name_of
from lab.kinds.overlays import DEFAULT
from lab.kinds.probes import is_open_loop, ordered_probes
from lab.kinds.verbs import verb_of
from lab.report.links import link_rows
from lab.scenario.packaged import called

__all__ = ["settled", "summarise"]

_PACKETS = ("sent", "lost", "duplicates", "reordered")
"""Measurements of tries that are summed."""


def summarise(run: RecordedRun, verdict: Verdict | None = None) -> dict[str, Any]:
    """The whole summary; the verdict is computed unless it is given."""
    verdict = verdict or check_run(run)
    meta = run.meta
    scenario = run.scenario
    return {
        "verdict": verdict.verdict,
        "complete": run.complete,
        "scenario": str(scenario.get("name") or ""),
        "question": str(scenario.get("question") or ""),
        "backend": meta.backend if meta else "",
        "overlay": _kind(scenario.get("overlay")),
        "seed": meta.seed if meta else 0,
        "version": meta.version if meta else "",
        "started": meta.started if meta else "",
        "duration": run.end - run.start,
        "replay": replay(run),
        "checks": [
            {"checker": result.checker, "verdict": result.verdict, "summary": result.summary}
            for result in verdict.results
        ],
        "expectations": [_expectation(step) for step in run.steps if verb_of(step.what).asks],
        "steady": [msgspec.to_builtins(result) for result in results_of(run)],
        "convergence": [
            {
                "t": change.t,
                "step": change.step,
                "what": change.what,
                "label": change.label,
                "until": change.until,
                "ended_by": change.ended_by,
                **{f"{metric}": took for metric, took in change.metrics.items()},
                "overall": change.overall,
                "half": change.half,
                "after": change.after,
                "floor": change.floor,
                "waited": change.waited,
                "lapses": sum(change.lapses.values()),
            }
            for change in run.convergence
        ],
        "samples": _samples(run),
        "longest_outage": _outage(run.longest_outage),
        "dns_staleness": max((found["lasted"] for found in staleness(run) if found["what"] == "stale"), default=None),
        "links": link_rows(run),
        "load": _load(run),
    }


def settled(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary for readers: an expectation that was never judged has failed."""
    return summary | {"expectations": [_judged(expectation) for expectation in summary["expectations"]]}


def replay(run: RecordedRun, file: str = "") -> str:
    """The command that replays the run; `file` is the scenario's path as typed, if known."""
    if run.meta is None:
        return ""
    scenario = run.scenario
    told = file or str(scenario.get("file") or f"scenarios/{scenario.get('name') or 'SCENARIO'}.yaml")
    file = shlex.quote(called(Path(told)))
    pace = f" --pace {scenario['pace']}" if scenario.get("pace", 1) != 1 else ""
    return f"lab run {file} --backend {run.meta.backend} --seed {run.meta.seed}{pace}"


def _kind(overlay: Any) -> str:
    return str(overlay.get("kind", DEFAULT) if isinstance(overlay, dict) else overlay or DEFAULT)


def _expectation(step: PlayedStep) -> dict[str, Any]:
    took = step.detail.get("took")
    if not isinstance(took, int):
        took = None if step.end is None else step.end - step.start
    return {
        "step": step.number,
        "t": step.start,
        "text": str(step.detail.get("expect") or step.label),
        "ok": step.ok,
        "took": took,
        "within": step.detail.get("within"),
        "error": str(step.detail.get("error") or ""),
        "samples": list(step.detail.get("samples") or ()),
    }


def _judged(expectation: dict[str, Any]) -> dict[str, Any]:
    judged = expectation["ok"] is not None
    return expectation | {
        "ok": bool(expectation["ok"]),
        "took": expectation["took"] or 0,
        "error": expectation["error"] if judged else "never judged: the run ended before",
    }


def _samples(run: RecordedRun) -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for kind in ordered_probes(key[0] for key in run.series):
        if run.long is not None:
            from lab.checkers.columnar import measured_of, sums_of

            kinds[kind] = sums_of(run, kind)
            if measured := _measured(measured_of(run, kind)):
                kinds[kind]["measured"] = measured
            continue
        samples = [sample for key, series in run.series.items() if key[0] == kind for sample in series]
        times = run.latencies(kind)
        kinds[kind] = {
            "series": sum(key[0] == kind for key in run.series),
            "tries": len(samples),
            "late": sum(sample.error == "late" for sample in samples),
            "ok": sum(sample.ok for sample in samples),
            "p50": nearest_rank(times, 50),
            "p95": nearest_rank(times, 95),
            "p99": nearest_rank(times, 99),
        }
        if is_open_loop(kind):
            kinds[kind]["late_p99"] = nearest_rank(sorted(sample.late for sample in samples), 99)
            kinds[kind]["unsent"] = sum(sample.error == "unsent" for sample in samples)
        if found := _measured([sample.measured for sample in samples if sample.measured]):
            kinds[kind]["measured"] = found
    return kinds


def _measured(tries: list[dict[str, int]]) -> dict[str, Any]:
    """Sums of packet counters and the total loss; of other measurements the median over tries."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(key for measured in tries for key in measured):
        values = sorted(measured[name] for measured in tries if name in measured)
        found[name] = sum(values) if name in _PACKETS else nearest_rank(values, 50)
    if found.get("sent"):
        found["loss"] = round(found.get("lost", 0) / found["sent"], 6)
    return found


def _outage(outage: Outage | None) -> dict[str, Any] | None:
    if outage is None:
        return None
    return {
        "series": name_of(outage.series),
        "start": outage.start,
        "lasted": outage.lasted,
        "tries": len(outage.tries),
        "ended": outage.ended,
    }


def _load(run: RecordedRun) -> dict[str, Any]:
    if not run.loads:
        return {"mean": None, "max": None, "busy": None}
    cpus = [load.cpu for load in run.loads]
    return {
        "mean": round(sum(cpus) / len(cpus), 3),
        "max": round(max(cpus), 3),
        "busy": round(sum(cpu >= BUSY for cpu in cpus) / len(cpus), 3),
    }
