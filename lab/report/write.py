"""From a run directory to its report: reads the history, writes figures, tables, page and summary. Owns the files."""

import json
import os
from pathlib import Path
from typing import Any

from lab.checkers import Run
from lab.history import read
from lab.plots import figures
from lab.report.page import render
from lab.report.summary import summarise

__all__ = ["write"]


def write(run_dir: Path) -> dict[str, Any]:
    """See `lab.report.write_report`."""
    run = Run(read(run_dir / "history.jsonl"))
    drawn = figures(run)
    for old in (*run_dir.glob("*.png"), *run_dir.glob("*.csv")):
        # Figures of an earlier report of the same run, which this one may not have.
        if old.stem not in {figure.name for figure in drawn}:
            old.unlink()
    for figure in drawn:
        (run_dir / f"{figure.name}.png").write_bytes(figure.png)
        (run_dir / f"{figure.name}.csv").write_text(figure.csv)
    summary = summarise(run)
    page = render(run, summary, drawn)
    summary["expectations"] = [_settled(expectation) for expectation in summary["expectations"]]
    summary = _read_summary(run_dir / "summary.json") | summary
    summary["figures"] = [
        {"name": figure.name, "title": figure.title, "files": [f"{figure.name}.png", f"{figure.name}.csv"]}
        for figure in drawn
    ]
    _replace(run_dir / "index.html", page)
    _replace(run_dir / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        # A run that was killed while it wrote its summary: the history is what counts.
        return {}
    return found if isinstance(found, dict) else {}


def _settled(expectation: dict[str, Any]) -> dict[str, Any]:
    """As readers of a summary want it: an expectation that was never judged did not come true."""
    judged = expectation["ok"] is not None
    return expectation | {
        "ok": bool(expectation["ok"]),
        "took": expectation["took"] or 0,
        "error": expectation["error"] if judged else "never judged: the run ended before",
    }


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all: a page may be open in a browser meanwhile."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text)
    half.replace(path)
