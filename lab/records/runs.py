"""All runs below a folder of reports, newest first, in short form. Owns what counts as a run, and how a broken run is
shown: it is listed like the others, with its error, and does not prevent listing the others.

Reads only the `summary.json` of a run, and counts its captures; starts and writes nothing.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lab.records.captures import stored_captures
from lab.records.store import HISTORY, INDEX, SUMMARY, in_progress

__all__ = ["BROKEN", "RUNNING", "StoredRun", "stored_runs"]

BROKEN = "unreadable"
RUNNING = "running"
"""The run is in progress: its summary is written in advance for the case that it is killed."""
_VERDICTS = ("valid", "invalid", "unknown")
_NAME = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d{1,6}))?")
_LARGEST = 64 << 20
"""Maximum bytes of a summary; that of a large run has a few hundred kilobytes."""


class StoredRun(Struct, frozen=True, kw_only=True):
    """One run directory, as far as its summary can be read."""

    run: str
    """The argument of `lab check` and similar commands: SCENARIO/TIME."""
    scenario: str
    question: str = ""
    backend: str = ""
    seed: int | None = None
    when: str
    """When it began, in UTC, as 2026-11-30T01:02:03Z."""
    verdict: str
    """`valid`, `invalid`, `unknown`, `running`, or `unreadable`."""
    reason: str = ""
    took: int | None = None
    """Nanoseconds from the start of the lab to its end; None if unknown."""
    captures: int = 0
    """Number of packet capture files."""
    page: str = ""
    """Path of its report; empty if there is none."""
    run_dir: str


class _Seen(Struct):
    """The displayed part of a summary. Each field is checked separately, so a bad field affects only itself."""

    verdict: Any = None
    reason: Any = None
    scenario: Any = None
    question: Any = None
    backend: Any = None
    seed: Any = None
    took: Any = None


def stored_runs(root: Path, most: int | None = None) -> tuple[list[StoredRun], int]:
    """(the newest runs below a folder, total number of runs). Raises `OSError` if the folder cannot be read."""
    try:
        found = sorted(_directories(root), reverse=True)
    except FileNotFoundError:
        return [], 0
    return [_read(path, when) for when, _, _, path in found[:most]], len(found)


def _directories(root: Path) -> Iterator[tuple[str, int, str, Path]]:
    """Run directories, each preceded by its sort key: start time, number, name."""
    for base in root.iterdir():
        try:
            below = [path for path in base.iterdir() if not path.is_symlink()]
            runs = [path for path in below if (path / HISTORY).is_file() or (path / SUMMARY).is_file()]
        except OSError:
            continue  # a file, or another user's folder
        for path in runs:
            match = _NAME.fullmatch(path.name)
            when = _of_name(match[1]) if match else ""
            yield when or _of_file(path), int(match[2] or 1) if match else 0, str(path), path


def _of_name(stamp: str) -> str:
    try:
        return _written(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
    except ValueError:
        return ""


def _of_file(path: Path) -> str:
    return _written(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: Path, when: str) -> StoredRun:
    row = StoredRun(
        run=f"{path.parent.name}/{path.name}",
        scenario=path.parent.name,
        when=when,
        verdict=BROKEN,
        captures=len(stored_captures(path)),
        page=str(path / INDEX) if (path / INDEX).is_file() else "",
        run_dir=str(path),
    )
    file = path / SUMMARY
    try:
        if not file.is_file():
            return _because(row, f"it has no {SUMMARY}: `lab report` makes it from the history")
        if file.stat().st_size > _LARGEST:
            return _because(row, f"its {SUMMARY} is larger than {_LARGEST >> 20} MiB")
        seen = msgspec.json.decode(file.read_bytes(), type=_Seen)
    except OSError as error:
        return _because(row, f"its {SUMMARY} cannot be read: {error.strerror}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _because(row, f"its {SUMMARY} is no summary: {error}")
    if seen.verdict not in _VERDICTS:
        return _because(row, f"its {SUMMARY} has no verdict: expected one of {', '.join(_VERDICTS)}")
    running = seen.verdict == "unknown" and in_progress(path)
    return msgspec.structs.replace(
        row,
        scenario=_text(seen.scenario) or row.scenario,
        question=_text(seen.question),
        backend=_text(seen.backend),
        seed=seen.seed if isinstance(seen.seed, int) else None,
        verdict=RUNNING if running else seen.verdict,
        reason="" if running else _text(seen.reason),
        took=seen.took if isinstance(seen.took, int) and seen.took > 0 else None,
    )


def _because(row: StoredRun, reason: str) -> StoredRun:
    return msgspec.structs.replace(row, reason=reason)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
