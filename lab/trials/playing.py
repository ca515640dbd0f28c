"""Plays trials on real packets, each as a separate run, and judges them by the verdict of that run.

Owns how often an inconclusive run is retried, and the query of an overlay's facts before its first trial.
"""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lab.api.play import play
from lab.api.played import PlayedRun
from lab.checkers.verdict import CheckResult, Validity
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.trials.trial import Entry, OverlayFacts, OverlayTrial, TrialOutcome
from lab.trials.usage import LEFT, REMEMBER, left_in
from overlay import __version__
from overlay.clean import clean

__all__ = ["DEFAULT_BACKEND", "backend_of", "facts_of", "judged", "left_behind", "outcome_of"]

DEFAULT_BACKEND = "netns"
_ASKED = {"steps", "expectations", "settled"}
"""Checkers whose verdicts answer a trial's question."""
_HELLO_LIMIT = 240.0
"""Seconds for a launch on one host; drivers have shorter limits of their own."""
_NAMED = 5
"""Processes that are named at most."""
_TRIES = 2
"""Maximum number of runs of one trial, because the machine may be too busy for a conclusive first run."""


def facts_of(entry: Entry, out: Path) -> OverlayFacts:
    """Launch the overlay on one host and read the facts that trials need from it. Raises `LabError`."""
    kind = OVERLAYS.get(entry.kind)
    scenario = {
        "version": 1,
        "name": "hello",
        "overlay": {"kind": entry.kind, "options": dict(entry.options)},
        "underlay": {"hosts": {"host1": {}}},
        "timeline": [{"launch": "all"}],
    }
    run = play(scenario, backend=backend_of(entry), out=out, limit=_HELLO_LIMIT)
    if run.verdict == "invalid":
        raise LabError(_why(run))
    told: dict[str, Any] = next(
        (event.detail["overlay"] for event in run.events if event.phase == "end" and "overlay" in event.detail), {}
    )
    # Containers without addresses of the overlay's own have their engine's, which means nothing on other hosts.
    routed = bool(told) or kind.default_range is not None
    # What is no program of somebody else is ours, or the kernel's.
    version = f"overlay-lab {__version__}" if kind.has_daemons else f"Linux {platform.release()}"
    known = {
        "name": entry.label,
        "version": version,
        "daemon": kind.has_daemons,
        "routed": routed,
        "reports": kind.has_reports,
    }
    return msgspec.convert(known | told, OverlayFacts)


def left_behind(entry: Entry, facts: OverlayFacts, out: Path) -> str:
    """What of it runs on a host after `kill`, or although it says that nothing does; empty: nothing. Raises
    `LabError`."""
    kind = OVERLAYS.get(entry.kind)
    killed = kind.has_daemons and facts.daemon
    scenario = {
        "version": 1,
        "name": "left",
        "overlay": {"kind": entry.kind, "options": dict(entry.options)},
        "underlay": {"hosts": {"host1": {}}},
        "timeline": [
            {"exec": {"host": "host1", "command": ["sh", "-c", REMEMBER]}},
            {"launch": "all"},
            *([{"kill": {"daemon": "host1"}}] if killed else []),
            {"exec": {"host": "host1", "command": ["sh", "-c", LEFT]}},
        ],
    }
    run = play(scenario, backend=backend_of(entry), out=out, limit=_HELLO_LIMIT)
    bad = next((event for event in run.events if event.ok is False), None)
    if bad is not None:
        raise LabError(str(bad.detail.get("error") or f"{bad.what} failed"))
    found = [name for event in run.events for name in left_in(str(event.detail.get("stdout", "")))]
    if not found:
        return ""
    names = ", ".join(clean(name, most=40) for name in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    when = "run after `kill`" if killed else "run, and it says that none does"
    return f"processes of it {when}: {names}{more}"


def outcome_of(
    trial: OverlayTrial, entry: Entry, facts: OverlayFacts, out: Path, *, seed: int | None = None
) -> TrialOutcome:
    """Play one trial."""
    if why := trial.not_for(facts):
        return TrialOutcome(trial=trial.name, asks=trial.asks, verdict="n/a", reason=why)
    for _ in range(_TRIES):
        try:
            run = play(trial.scenario(entry, facts), backend=backend_of(entry), seed=seed, out=out)
        except LabError as error:
            return TrialOutcome(trial=trial.name, asks=trial.asks, verdict="failed", reason=str(error))
        verdict = judged(run.verdict, run.checks)
        if verdict != "unknown":
            break
    verdicts = {"valid": "passed", "invalid": "failed"}
    return TrialOutcome(
        trial=trial.name,
        asks=trial.asks,
        verdict=verdicts.get(verdict, "unknown"),  # type: ignore[arg-type]
        reason="" if verdict == "valid" else _why(run),
        run=str(run.folder),
        took=run.duration / 1e9,
    )


def judged(verdict: Validity, checks: Sequence[CheckResult]) -> Validity:
    """The verdict of a trial, from that of its run.

    With a slow overlay most probes fall into transitions, and the checker `reachability` does not judge those. This is
    no reason for doubt if the trial's own expectations are met.
    """
    sure = {check.checker for check in checks if check.verdict == "valid"}
    doubts = [
        check for check in checks if check.verdict == "unknown" and (check.checker != "reachability" or check.findings)
    ]
    if verdict == "unknown" and not doubts and sure >= _ASKED:
        return "valid"
    return verdict


def all_outcomes(
    trials: Sequence[OverlayTrial],
    entry: Entry,
    facts: OverlayFacts,
    out: Path,
    done: Callable[[TrialOutcome], None],
    *,
    seed: int | None = None,
) -> list[TrialOutcome]:
    """Play the trials one after the other; `done` is called with each outcome."""
    found = []
    for trial in trials:
        found.append(outcome_of(trial, entry, facts, out, seed=seed))
        done(found[-1])
    return found


def backend_of(entry: Entry) -> str:
    """Where its trials are played."""
    return entry.backend or next(iter(OVERLAYS.get(entry.kind).backends), DEFAULT_BACKEND)


def _why(run: PlayedRun) -> str:
    return run.reason.partition("\n")[0]
