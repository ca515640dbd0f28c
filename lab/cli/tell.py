"""What a person sees while a scenario is played: one line per step, and a table at the end. Owns the wording.

Plain text where nobody looks (no terminal); colours and a line that shows the step under way where somebody does.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import click

from lab.runner import Progress
from lab.topology import Resolved

_REASON_LINES = 20
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("…", "yellow")}


Words = ParamSpec("Words")


def to_whoever_reads(tell: Callable[Words, None]) -> Callable[Words, None]:
    """Whoever stops reading (`| head`) stops no run: from then on standard output goes nowhere."""

    @wraps(tell)
    def told(*args: Words.args, **kwargs: Words.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)

    return told


class Teller:
    """Prints progress to standard output."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._failed_steps = 0

    @to_whoever_reads
    def head(self, scenario: Resolved, backend: str) -> None:
        """What is about to be played."""
        question = f"  {scenario.question}" if scenario.question else ""
        click.echo(click.style(scenario.name, bold=True) + question)
        pace = f", pace {scenario.pace}" if scenario.pace != 1 else ""
        click.echo(f"  {len(scenario.hosts)} hosts on {backend}, seed {scenario.seed}{pace}")

    @to_whoever_reads
    def progress(self, progress: Progress) -> None:
        """One step began, ended, or a fault healed by itself."""
        mark, colour = _MARKS[progress.ok]
        line = f"{(progress.t + (progress.took or 0)) / 1e9:8.2f}s {click.style(mark, fg=colour)} {progress.label}"
        if progress.ok is None:
            if self._live:
                click.echo(f"\r\x1b[K{line}", nl=False)
            return
        if progress.took is not None and progress.took >= 1_000_000:
            line += click.style(f"  {seconds(progress.took)}", dim=True)
        click.echo(f"\r\x1b[K{line}" if self._live else line)
        if not progress.ok:
            for text in progress.note.splitlines():
                click.echo(f"            {text}")
            samples_table(progress.samples)

    @to_whoever_reads
    def end(self, summary: Mapping[str, Any], index: str) -> None:
        """Verdict, convergence times, where the report is, how to run it again."""
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
        click.echo(f"report: {index}")
        click.echo(f"again:  {summary['replay']}")


def seconds(ns: int) -> str:
    """A duration for a person."""
    return f"{ns / 1e9:.2f} s" if ns >= 1_000_000_000 else f"{ns / 1e6:.0f} ms"


def samples_table(samples: Sequence[Mapping[str, Any]]) -> None:
    """The last samples of a failed expectation."""
    for sample in samples:
        became = "ok" if sample["ok"] else f"failed ({sample.get('error') or 'no answer'})"
        answers = f" {', '.join(sample['answers'])}" if sample.get("answers") else ""
        asked = f"{sample['probe']} {sample['source']} → {sample['target']}"
        click.echo(f"            {sample['t'] / 1e9:8.2f}s {asked}: {became}{answers}")


def convergence_table(changes: Sequence[Mapping[str, Any]]) -> None:
    """How long after each change each view agreed again."""
    metrics = ("topology", "reachability", "dns", "ring")
    shown = [change for change in changes if any(_metric(change, name) is not None for name in metrics)]
    if not shown:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Converged after", title_justify="left", box=None, pad_edge=False)
    for title in ("at", "change"):
        table.add_column(title, overflow="fold")
    for name in metrics:
        table.add_column(name, justify="right", no_wrap=True)
    for change in shown:
        cells = ["" if (took := _metric(change, name)) is None else seconds(took) for name in metrics]
        table.add_row(f"{change['t'] / 1e9:.1f}s", str(change.get("label") or change.get("what")), *cells)
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print()


def _metric(change: Mapping[str, Any], name: str) -> int | None:
    took = change.get(name, (change.get("metrics") or {}).get(name))
    return took if isinstance(took, int) else None
