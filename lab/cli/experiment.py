"""`lab experiment`: run, status, report. Owns progress output and exit codes.

0: every hypothesis is supported and every interval as narrow as asked; 1: a hypothesis is refuted; 3: undecided, too
wide, interrupted, or runs are missing.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from lab.cli import table
from lab.cli.command import lab_command
from lab.experiment.description import ExperimentFile, read_experiment
from lab.experiment.run import Outcome
from lab.experiment.stopping import Width
from lab.records.store import EXIT_CODES
from lab.words import count
from overlay.clean import clean

__all__ = ["folder_of", "report", "run", "status"]

_SHOWN = 20


def folder_of(file: ExperimentFile, out: Path | None) -> Path:
    """The folder of an experiment's files."""
    return out if out is not None else Path("reports") / "experiments" / file.experiment.name


def run(path: Path, *, out: Path | None, jobs: int | None, scheduler: str, amend: bool, as_json: bool) -> int:
    """Play the missing runs and write all files."""
    from lab.cli.sweep import pool_for, with_bar
    from lab.experiment.run import run as play

    file = read_experiment(path)
    folder = folder_of(file, out)
    pool = pool_for(file.experiment.backend, jobs, scheduler)
    click.echo(click.style(file.experiment.name, bold=True) + (f"  {clean(file.question)}" if file.question else ""))
    outcome = play(file, folder, pool, with_bar, amend=amend, told=_round(file))
    return _finish(outcome, folder, as_json, again=_again(path, out, jobs, scheduler))


def report(path: Path, *, out: Path | None, as_json: bool) -> int:
    """Write all files again from the runs on disk."""
    from lab.experiment.run import state_of

    file = read_experiment(path)
    folder = folder_of(file, out)
    return _finish(state_of(file, folder), folder, as_json, again="")


def status(path: Path, *, out: Path | None, as_json: bool) -> int:
    """Print the progress of an experiment."""
    from lab.experiment.run import state_of

    file = read_experiment(path)
    folder = folder_of(file, out)
    found = state_of(file, folder)
    if as_json:
        click.echo(json.dumps(_state(found, folder)))
        return 0
    seeds = file.experiment.seeds
    click.echo(click.style(file.experiment.name, bold=True) + (f"  {clean(file.question)}" if file.question else ""))
    click.echo(
        f"  {count(len(found.points), 'run')}: {count(len(found.design.rows), 'setting')}, "
        f"{count(found.seeds, 'seed')} complete of {seeds.at_least} to {seeds.at_most}"
    )
    _widths(found.widths, file)
    if not found.precise and found.seeds < seeds.at_most:
        click.echo(f"go on with\n  {lab_command()} experiment run {shlex.quote(str(path))}")
    return 0


def _round(file: ExperimentFile) -> Callable[[int, Sequence[Width]], None]:
    def told(seeds: int, found: Sequence[Width]) -> None:
        wide = sum(not one.narrow for one in found)
        asked = file.experiment.asked.words
        going = ", going on" if seeds < file.experiment.seeds.at_most else ""
        click.echo(f"  {count(seeds, 'seed')}: {wide} of {count(len(found), 'interval')} wider than {asked}{going}")

    return told


def _finish(outcome: Outcome, folder: Path, as_json: bool, again: str) -> int:
    from lab.experiment.page import verdict_of, verdict_words, write
    from lab.experiment.paper import sentences
    from lab.experiment.results import results_of

    results = results_of(outcome)
    page, place = write(folder, results)
    verdict = verdict_of(results)
    _widths(outcome.widths, outcome.file)
    for text in sentences(results):
        click.echo(f"\n{clean(text)}")
    click.echo()
    colour = {"valid": "green", "invalid": "red"}.get(verdict, "yellow")
    click.echo(click.style({"valid": "done", "invalid": "refuted"}.get(verdict, verdict), fg=colour, bold=True)
               + f": {verdict_words(results)}")  # fmt: skip
    for point in [point for point in outcome.points if point.failed][:3]:
        click.echo(clean(f"  seed {point.seed} could not be carried out: {point.reason.partition(chr(10))[0]}"))
    if outcome.other_code:
        click.echo("the runs were made by another version of the code than this")
    click.echo(f"page:   {page}\npaper:  {place}")
    if outcome.interrupted:
        click.echo(f"interrupted: what is done is kept; go on with\n  {again}")
    if as_json:
        judged = {one.hypothesis.id: one.judgement for one in results.judged}
        click.echo(json.dumps(_state(outcome, folder) | {"verdict": verdict, "hypotheses": judged, "page": str(page),
                                                         "paper": str(place)}))  # fmt: skip
    return 3 if outcome.interrupted else EXIT_CODES[verdict]


def _state(found: Outcome, folder: Path) -> dict[str, Any]:
    return {
        "runs": len(found.points), "failed": found.failed, "seeds": found.seeds, "settings": len(found.design.rows),
        "precise": found.precise, "interrupted": found.interrupted, "amended": found.registered.amended,
        "plan": found.registered.plan, "out": str(folder),
        "widths": [
            {"setting": one.setting, "runs": one.runs, "median": _finite(one.estimate.value),
             "low": _finite(one.estimate.low), "high": _finite(one.estimate.high), "narrow": one.narrow}
            for one in found.widths
        ],
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _widths(found: Sequence[Width], file: ExperimentFile) -> None:
    from lab.experiment.figures import with_unit

    if not found:
        return
    rows = []
    for one in found[:_SHOWN]:
        low, high = (f"{value:,.3g}" if np.isfinite(value) else "–" for value in (one.estimate.low, one.estimate.high))
        median = f"{one.estimate.value:,.3g}" if np.isfinite(one.estimate.value) else "not reached"
        rows.append(
            [one.setting or "(all)", str(one.runs), median, f"{low} to {high}", "" if one.narrow else "too wide"]
        )
    click.echo(f"\n{with_unit(file.experiment.primary)}")
    table.show(("setting", "runs", "median", "95 % interval", ""), rows, right=("runs", "median"))
    if len(found) > _SHOWN:
        click.echo(f"  and {len(found) - _SHOWN} more, in the table")


def _again(path: Path, out: Path | None, jobs: int | None, scheduler: str) -> str:
    words = [str(path), *(["--out", str(out)] if out else []), *(["--jobs", str(jobs)] if jobs else [])]
    words += ["--scheduler", scheduler] if scheduler else []
    return f"{lab_command()} experiment run {shlex.join(words)}"
