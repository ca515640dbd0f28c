"""From a run directory to its report: reads the history, writes tables, page, pictures and summary. Owns the files.

Checks come before drawings: the verdict is known, and on disk, before anything is drawn.
"""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.capture.file import mended
from lab.checkers import RecordedRun
from lab.records.captures import CAPTURES, StoredCapture, stored_captures
from lab.records.history import read
from lab.records.provenance import read_provenance
from lab.records.store import HISTORY, INDEX, SUMMARY, in_progress, replace_file, write_json
from lab.report.summary import replay, settled, summarise
from lab.sim.garbage import rarely_collected

__all__ = ["LONG", "recorded", "write"]

LONG = 8_000_000
"""Size of a history in bytes (some 70,000 tries) from which it is kept as columns: then importing numpy pays."""


def write(
    run_dir: Path,
    *,
    drawn: bool,
    formats: Sequence[str],
    style: str,
    doing: Callable[[str], None],
    judged: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """See `lab.report.write_report`."""
    with rarely_collected():  # a long history is millions of objects, none of which is garbage
        doing("reading the history")
        run = recorded(run_dir / HISTORY)
        doing("checking")
        raw = summarise(run)
        made = read_provenance(run_dir)
        raw["replay"] = replay(run, str(made.get("file") or ""))
        summary = _read_summary(run_dir / SUMMARY) | settled(raw) | {"figures": []}
        write_json(run_dir / SUMMARY, summary)
        judged(summary)
        captures = _whole_captures(run_dir)
        if not drawn:
            return summary
        from lab.figures import FORMATS, told

        found = told(run, lambda name: doing(f"writing the table of {name}"))
        files = {figure.name: [f"{figure.name}.csv"] for figure in found}
        for figure in found:
            replace_file(run_dir / f"{figure.name}.csv", (part.encode() for part in figure.table()))
        doing("writing the page")
        from lab.report.page import render

        replace_file(run_dir / INDEX, render(run, raw, list(files), made, captures).encode())
        if formats:
            from lab.plots import pictures  # matplotlib takes half a second to import

            for name, form, picture in pictures(run, formats, lambda name: doing(f"drawing {name}"), style):
                replace_file(run_dir / f"{name}.{form}", picture)
                files[name].append(f"{name}.{form}")
    written = {file for each in files.values() for file in each}
    for old in [path for form in ("csv", *FORMATS) for path in run_dir.glob(f"*.{form}")]:
        # Figures of an earlier report of the same run, which this report may not have.
        if old.name not in written:
            old.unlink()
    summary["figures"] = [{"name": figure.name, "title": figure.title, "files": files[figure.name]} for figure in found]
    write_json(run_dir / SUMMARY, summary)
    return summary


def recorded(path: Path, long: int = LONG) -> RecordedRun:
    """A stored history; as columns if it has more than `long` bytes, which gives the same results."""
    if path.stat().st_size <= long:
        return RecordedRun(read(path))
    from lab.records.tries import read_columns

    return RecordedRun(read_columns(path))


def _whole_captures(run_dir: Path) -> list[StoredCapture]:
    """The packet capture files; a kill may have left an incomplete block at their ends, which is cut off."""
    if not in_progress(run_dir):
        for one in stored_captures(run_dir):
            with contextlib.suppress(OSError):
                mended(run_dir / CAPTURES / one.name)
    return stored_captures(run_dir)


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        # The run was killed while it wrote its summary: use the history.
        return {}
    return found if isinstance(found, dict) else {}
