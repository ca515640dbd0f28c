"""Progress output while a scenario is played: one line per step, and a table at the end. Owns the wording.

Plain text without a terminal; colours and an updating line for the current step on a terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lab.checkers.floors import bounded
from lab.cli import table, terminal
from lab.runner.runner import Progress
from lab.scenario.resolve import Resolved
from lab.words import count, sample_line
from overlay.clean import clean, clean_tree

_REASON_LINES = 20
_LONG = 10_000_000
"""Bytes of a history from which the report prints progress, because it takes long."""
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("…", "yellow")}


class ProgressPrinter:
    """Prints progress to standard output."""

    def __init__(self) -> None:
        self._live = terminal.live()

    def head(self, scenario: Resolved, backend: str) -> None:
        """Print what is about to be played."""
        question = f"  {clean(scenario.question)}" if scenario.question else ""
        click.echo(click.style(scenario.name, bold=True) + question)
        pace = f", pace {scenario.pace}" if scenario.pace != 1 else ""
        click.echo(f"  {count(len(scenario.hosts), 'host')} on {backend}, seed {scenario.seed}{pace}")

    def progress(self, progress: Progress) -> None:
        """Print that a step began or ended, or that a fault healed by itself."""
        mark, colour = _MARKS[progress.ok]
        line = (
            f"{(progress.t + (progress.took or 0)) / 1e9:8.2f}s {click.style(mark, fg=colour)} {clean(progress.label)}"
        )
        if progress.ok is None:
            if self._live:
                click.echo(f"\r\x1b[K{line}", nl=False)
            return
        if progress.took is not None and progress.took >= 1_000_000:
            line += click.style(f"  {seconds(progress.took)}", dim=True)
        click.echo(f"\r\x1b[K{line}" if self._live else line)
        if not progress.ok:
            for text in progress.note.splitlines():
                click.echo(f"            {clean(text)}")
            samples_table(progress.samples)

    def report(self, history: Path) -> Callable[[str], None]:
        """A function that prints the progress of the report; an empty text ends it. Without a terminal only for a long
        history."""
        long = history.stat().st_size >= _LONG

        def doing(what: str) -> None:
            if self._live:
                click.echo(f"\r\x1b[K{f'  {what} …' if what else ''}", nl=False)
            elif long and what:
                click.echo(f"  {what}")

        return doing

    def end(self, summary: Mapping[str, Any], index: str) -> None:
        """Print verdict, convergence times, the report's path (empty: none), and the replay command."""
        if self._live:
            click.echo("\r\x1b[K", nl=False)
        summary = clean_tree(summary, keep="\n")
        convergence_table(summary.get("convergence") or [])
        verdict = str(summary["verdict"])
        colour = {"valid": "green", "invalid": "red"}.get(verdict, "yellow")
        first, *more = str(summary.get("reason") or "").splitlines()[:_REASON_LINES] or [""]
        click.echo(click.style(verdict, fg=colour, bold=True) + (f": {first}" if first else ""))
        for text in more:
            click.echo(f"  {text}")
        for check in summary.get("checks") or []:
            if check["verdict"] != "valid":
                click.echo(f"  {check['checker']}: {check['summary']}")
        if index:
            click.echo(f"report: {index}")
        click.echo(f"again:  {summary['replay']}")


def seconds(ns: int) -> str:
    """A duration in readable form."""
    return f"{ns / 1e9:.2f} s" if ns >= 1_000_000_000 else f"{ns / 1e6:.0f} ms"


def samples_table(samples: Sequence[Mapping[str, Any]]) -> None:
    """Print the last samples of a failed expectation."""
    for sample in clean_tree(samples):
        click.echo(f"            {sample_line(sample)}")


def convergence_table(changes: Sequence[Mapping[str, Any]]) -> None:
    """Print the time from each change until each view agreed again. A time that ends with a probe's try
    has bounds."""
    metrics = ("topology", "reachability", "dns", "ring")
    shown = [change for change in changes if any(_took(change, name) for name in metrics)]
    if not shown:
        return
    cells = [
        [
            f"{change['t'] / 1e9:.1f}s",
            str(change.get("label") or change.get("what")),
            *(_took(change, name) for name in metrics),
        ]
        for change in shown
    ]
    click.echo()
    table.show(("at", "change", *metrics), cells, right=metrics, title="Converged after")
    click.echo()


def _took(change: Mapping[str, Any], name: str) -> str:
    """A cell of the table. Empty: does not apply. A dash: the next change came before."""
    if name not in change and name not in (change.get("metrics") or {}):
        return ""
    took = _metric(change, name)
    if took is not None:
        after, floor = change.get("after") or {}, change.get("floor") or {}
        return bounded(took, after.get(name), floor.get(name, 0))
    return "–" if change.get("ended_by") else "not reached"


def _metric(change: Mapping[str, Any], name: str) -> int | None:
    took = change.get(name, (change.get("metrics") or {}).get(name))
    return took if isinstance(took, int) else None
