"""From a run directory to its report: reads the history, writes figures, tables, page and summary. Owns the files.

Checks come before drawings: what a run came to is known, and on the disk, before the first figure is drawn.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.checkers import Run
from lab.records.history import read
from lab.records.store import HISTORY, INDEX, SUMMARY
from lab.report.summary import settled, summarise
from lab.sim.garbage import rarely_collected

__all__ = ["write"]


def write(
    run_dir: Path, *, drawn: bool, doing: Callable[[str], None], judged: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """See `lab.report.write_report`."""
    with rarely_collected():  # a long history is millions of objects, and none of them is garbage
        doing("reading the history")
        run = Run(read(run_dir / HISTORY))
        doing("checking")
        raw = summarise(run)
        summary = _read_summary(run_dir / SUMMARY) | settled(raw) | {"figures": []}
        _write_summary(run_dir, summary)
        judged(summary)
        if not drawn:
            return summary
        from lab.plots import figures  # matplotlib takes half a second to import

        found = figures(run, lambda name: doing(f"drawing {name}"))
    for figure in found:
        _replace(run_dir / f"{figure.name}.png", figure.png)
        _replace(run_dir / f"{figure.name}.csv", figure.csv.encode())
    for old in (*run_dir.glob("*.png"), *run_dir.glob("*.csv")):
        # Figures of an earlier report of the same run, which this one may not have.
        if old.stem not in {figure.name for figure in found}:
            old.unlink()
    from lab.report.page import render

    _replace(run_dir / INDEX, render(run, raw, found).encode())
    summary["figures"] = [
        {"name": figure.name, "title": figure.title, "files": [f"{figure.name}.png", f"{figure.name}.csv"]}
        for figure in found
    ]
    _write_summary(run_dir, summary)
    return summary


def _write_summary(run_dir: Path, summary: dict[str, Any]) -> None:
    _replace(run_dir / SUMMARY, (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        # A run that was killed while it wrote its summary: the history is what counts.
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: bytes) -> None:
    """Write whole or not at all: a page may be open in a browser meanwhile, and the disk may be full."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(content)
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
