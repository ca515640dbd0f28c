"""The report of a run: one self-contained HTML page, tables, the summary, and pictures for papers, all made from its
stored history.

`write_report` is the entry point. Heavy modules are imported only when it is called, so that the lab itself may import
this.
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
    style: str = "screen",
    doing: Callable[[str], None] = lambda what: None,
    judged: Callable[[dict[str, Any]], None] = lambda summary: None,
) -> dict[str, Any]:
    """Rebuild everything in a run directory from its `history.jsonl`; returns the content of `summary.json`.

    First it runs the checks, updates `summary.json` (fields of other writers are kept) and passes it to `judged`; the
    verdict stands even if drawing fails. Then it writes `index.html`, a CSV per figure, and a picture of each figure in
    each of `formats` (`lab.figures.FORMATS`), in a `style` (`lab.figures.STYLES`). `doing` is called with the name of
    each step. With `drawn` False only the checks are made. Raises `FileNotFoundError` without a history,
    `msgspec.DecodeError` for a line that is not a record, `OSError` when a file cannot be written; a file is never left
    incomplete.
    """
    from lab.report.write import write

    return write(run_dir, drawn=drawn, formats=formats, style=style, doing=doing, judged=judged)
