"""The report of a run: figures, one self-contained HTML page, and the summary, all made from its stored history.

`write_report` is the way in. Nothing heavy is imported until it is called, so that the lab itself may import this.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["write_report"]


def write_report(
    run_dir: Path,
    *,
    drawn: bool = True,
    doing: Callable[[str], None] = lambda what: None,
    judged: Callable[[dict[str, Any]], None] = lambda summary: None,
) -> dict[str, Any]:
    """Make everything in a run directory again from its `history.jsonl`; returns what is in `summary.json` then.

    First the checks are made and `summary.json` is updated (fields of other writers are kept), and `judged` gets it:
    it holds whatever becomes of the drawings. Then `index.html` and one PNG and one CSV per figure are drawn. `doing`
    hears what comes next. With `drawn` False only the checks are made. Raises `FileNotFoundError` without a history,
    `msgspec.DecodeError` when a line of it is no record, `OSError` when a file cannot be written; none is left half
    written.
    """
    from lab.report.write import write

    return write(run_dir, drawn=drawn, doing=doing, judged=judged)
