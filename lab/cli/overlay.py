"""`lab overlay list`, `lab overlay check`: the available overlays, and whether one meets the requirements on overlays.

Owns progress output.
"""

import json
from pathlib import Path

import click
import msgspec

from lab.cli import table
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.records.store import ROOT
from lab.scenario.load import ScenarioError
from lab.trials.conformance import TRIALS
from lab.trials.entries import entry_of, lacking
from lab.trials.page import write_page
from lab.trials.playing import all_outcomes, facts_of
from lab.trials.trial import TrialOutcome
from lab.words import count

__all__ = ["check", "list_overlays"]

USAGE = 2
_MARKS = {"passed": "✓", "failed": "✗", "unknown": "?", "n/a": "–"}


def list_overlays(*, as_json: bool) -> None:
    """Print every overlay, with its missing packages on this machine."""
    found = [(kind, lacking(kind)) for kind in OVERLAYS]
    if as_json:
        told = [{"name": kind.name, "about": kind.about, "lacks": lacks} for kind, lacks in found]
        click.echo(json.dumps(told))
        return
    table.show(
        ("overlay", "what it is", "here"),
        [[kind.name, kind.about, f"apt install {' '.join(lacks)}" if lacks else "yes"] for kind, lacks in found],
        styles=["dim" if lacks else "" for _, lacks in found],
    )
    for broken in OVERLAYS.broken():
        click.echo(broken, err=True)


def check(name: str, *, only: tuple[str, ...], out: Path | None, as_json: bool) -> int:
    """Play the trials of one overlay; returns the exit code: 0 all passed, 1 one failed, 3 one was inconclusive."""
    known = [trial.name for trial in TRIALS]
    for word in only:
        if word not in known:
            click.echo(f"no trial named {word!r}, expected one of: {', '.join(known)}", err=True)
            return USAGE
    try:
        entry = entry_of(name)
    except LabError as error:
        click.echo(str(error), err=True)
        return USAGE
    folder = out if out is not None else ROOT / "overlays" / entry.label
    runs = folder / "runs"
    try:
        facts = facts_of(entry, runs)
    except ScenarioError as error:
        click.echo(str(error), err=True)
        return USAGE
    except LabError as error:
        click.echo(f"{entry.label} cannot be launched on one host: {error}", err=True)
        return 1
    if not as_json:
        version = f" ({facts.version})" if facts.version else ""
        click.echo(click.style(entry.label, bold=True) + f"{version}  addresses: {facts.addresses}")
    chosen = [trial for trial in TRIALS if not only or trial.name in only]
    wide = max(len(trial.name) for trial in chosen)

    def done(outcome: TrialOutcome) -> None:
        if not as_json:
            took = f"  {outcome.took:.0f} s" if outcome.took else ""
            click.echo(f"  {_MARKS[outcome.verdict]} {outcome.trial:{wide}}  {outcome.asks}{took}")
            if outcome.reason:
                click.echo(f"    {'':{wide}}  {outcome.reason}")

    outcomes = all_outcomes(chosen, entry, facts, runs, done)
    page = write_page(folder, entry, facts, outcomes)
    failed = sum(outcome.verdict == "failed" for outcome in outcomes)
    unknown = sum(outcome.verdict == "unknown" for outcome in outcomes)
    if as_json:
        told = {"overlay": msgspec.to_builtins(facts), "trials": msgspec.to_builtins(outcomes), "page": str(page)}
        click.echo(json.dumps(told))
    else:
        passed = sum(outcome.verdict == "passed" for outcome in outcomes)
        asked = len(outcomes) - sum(outcome.verdict == "n/a" for outcome in outcomes)
        click.echo(f"{passed} of {count(asked, 'trial')} passed")
        click.echo(f"page: {page}")
    return 1 if failed else 3 if unknown else 0
