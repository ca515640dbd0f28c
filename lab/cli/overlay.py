"""`lab overlay list`, `lab overlay check`: the available overlays, and whether one meets the requirements on overlays.

Owns progress output.
"""

import json
import re
from pathlib import Path
from textwrap import wrap

import click
import msgspec

from lab.cli import terminal
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.records.store import ROOT
from lab.scenario.base import show
from lab.scenario.load import ScenarioError
from lab.trials.conformance import TRIALS
from lab.trials.entries import entry_of, lacking
from lab.trials.page import write_page
from lab.trials.playing import all_outcomes, facts_of
from lab.trials.trial import TrialOutcome
from lab.words import count
from overlay.clean import clean

__all__ = ["check", "list_overlays", "list_trials", "plain"]

USAGE = 2
_WIDTH = 80
"""Columns where there is no terminal."""
_LINK = re.compile(r"\[([^\[\]]{0,200})\]\([^()]{0,200}\)")
_MARKS = {"passed": "✓", "failed": "✗", "unknown": "?", "n/a": "–"}


def list_overlays(*, as_json: bool) -> None:
    """Print every overlay, with its missing packages on this machine."""
    found = [(kind, lacking(kind)) for kind in OVERLAYS]
    if as_json:
        told = [
            {
                "name": kind.name,
                "about": plain(kind.about),
                "lacks": lacks,
                "options": list(kind.options()),
                "variants": {name: dict(options) for name, options in kind.variants.items()},
                "backends": list(kind.backends),
            }
            for kind, lacks in found
        ]
        click.echo(json.dumps(told))
        return
    wide = max(len(kind.name) for kind, _ in found) + 2
    width = max(min(terminal.width() or _WIDTH, 100) - wide, 20)
    for kind, lacks in found:
        lines = wrap(plain(kind.about), width, break_on_hyphens=False)
        for name, options in kind.variants.items():
            given = ", ".join(f"{key}: {show(value)}" for key, value in options.items())
            lines += wrap(f"{kind.name}:{name} has {given}", width, subsequent_indent="  ")
        if lacks:
            lines += wrap(f"not installed: apt install {' '.join(lacks)}", width)
        for index, line in enumerate(lines):
            head = "" if index else click.style(f"{kind.name:{wide}}", bold=not lacks, dim=bool(lacks))
            click.echo((head or " " * wide) + clean(line, most=400))
    for broken in OVERLAYS.broken():
        click.echo(broken, err=True)


def plain(markdown: str) -> str:
    """A text of the reference without links and marks of code."""
    return _LINK.sub(r"\1", markdown).replace("`", "")


def list_trials(*, as_json: bool) -> None:
    """Print the trials."""
    if as_json:
        click.echo(json.dumps([{"trial": trial.name, "asks": trial.asks, "hosts": trial.hosts} for trial in TRIALS]))
        return
    wide = max(len(trial.name) for trial in TRIALS) + 2
    for trial in TRIALS:
        for index, line in enumerate(wrap(trial.asks, (terminal.width() or _WIDTH) - wide)):
            click.echo(f"{'' if index else trial.name:{wide}}{line}")


def check(name: str, *, only: tuple[str, ...], seed: int | None, out: Path | None, as_json: bool) -> int:
    """Play the trials of one overlay; returns the exit code: 0 all passed, 1 one failed, 3 one was inconclusive."""
    known = [trial.name for trial in TRIALS]
    only = tuple(word.strip() for words in only for word in words.split(",") if word.strip())
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
            lines = wrap(f"{outcome.asks}{took}", (terminal.width() or _WIDTH) - wide - 6)
            lines += wrap(clean(outcome.reason), (terminal.width() or _WIDTH) - wide - 6)
            for index, line in enumerate(lines):
                head = "" if index else f"{_MARKS[outcome.verdict]} {outcome.trial}"
                click.echo(f"  {head:{wide + 2}}  {line}")

    outcomes = all_outcomes(chosen, entry, facts, runs, done, seed=seed)
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
