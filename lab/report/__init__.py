"""The report of a run: figures, one self-contained HTML page, and the summary, all made from its stored history.

`write_report` is the way in. Nothing heavy is imported until it is called, so that the lab itself may import this.
"""

from pathlib import Path
from typing import Any

__all__ = ["write_report"]


def write_report(run_dir: Path) -> dict[str, Any]:
    """Make everything in a run directory anew from its `history.jsonl`; returns what is in `summary.json` then.

    Writes `index.html`, one PNG and one CSV per figure, and updates `summary.json` (fields of other writers are kept).
    Raises `FileNotFoundError` without a history, `msgspec.DecodeError` when a line of it is no record.
    """
    from lab.report.write import write

    return write(run_dir)
