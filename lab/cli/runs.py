"""`lab runs`: every stored run, newest first, as a table and as the page `index.html` of the folder of reports."""

import json
from pathlib import Path

import click
import msgspec

from lab.cli import table
from lab.cli.command import lab_command
from lab.cli.ending import in_words
from lab.records.runs import stored_runs
from lab.report.runs import update_index
from lab.words import span

__all__ = ["list_runs", "refresh"]


def list_runs(root: Path, *, as_json: bool) -> None:
    """Print all runs below a folder and write their page."""
    found, _ = stored_runs(root)
    page = refresh(root) if found or root.is_dir() else None
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found)))
        return
    if not found:
        click.echo(f"no runs in {root}: `{lab_command()} run first --backend sim` plays one")
        return
    captured = ["pcap"] if any(run.captures for run in found) else []
    table.show(
        ("run", "backend", "began (UTC)", "verdict", "took", *captured),
        [
            [
                run.run,
                run.backend,
                run.when.replace("T", " ").removesuffix("Z"),
                run.verdict,
                "" if run.took is None else span(run.took),
                *([str(run.captures or "")] if captured else []),
            ]
            for run in found
        ],
        right=("took", *captured),
        styles=["" if run.verdict == "valid" else "bold" for run in found],
    )
    if page is not None:
        click.echo(f"page: {page}")


def refresh(root: Path) -> Path | None:
    """Write the page of all runs; None if that is not possible (the reason is printed) or if a foreign page has its
    name."""
    try:
        return update_index(root)
    except OSError as error:
        click.echo(f"the page of all runs could not be written: {in_words(error)}", err=True)
        return None
