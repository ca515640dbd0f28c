"""The report of a run: one self-contained HTML page, tables, the summary, and pictures for paper, all made from its
stored history.

`write_report` is the way in. Nothing heavy is imported until it is called, so that the lab itself may import this.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["write_report"]


def write_report(
    run_dir: Path,
    *,
    drawn: bool = True,
    formats: Sequence[str] = (),
    doing: Callable[[str], None] = lambda what: None,
    judged: Callable[[dict[str, Any]], None] = lambda summary: None,
) -> dict[str, Any]:
    """Make everything in a run directory again from its `history.jsonl`; returns what is in `summary.json` then.

    First the checks are made and `summary.json` is updated (fields of other writers are kept), and `judged` gets it:
    it holds whatever becomes of the drawings. Then `index.html` and a CSV per figure are written, and a picture of each
    figure in every one of `formats` (`lab.figures.FORMATS`). `doing` hears what comes next. With `drawn` False only the
    checks are made. Raises `FileNotFoundError` without a history, `msgspec.DecodeError` when a line of it is no record,
    `OSError` when a file cannot be written; none is left half written.
    """
    from lab.report.write import write

    return write(run_dir, drawn=drawn, formats=formats, doing=doing, judged=judged)
