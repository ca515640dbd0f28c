"""Finds the lab of a command, and explains the end of a lab that is gone: what died, what that means, what to do.

Owns a note for each standing lab, in this user's cache: the path of its run. A note is written when the lab comes up
and removed when a user takes it down, so a remaining note belongs to a lab that ended in another way.
"""

import contextlib
import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.cli.command import lab_command
from lab.errors import LabError
from lab.records.store import SUMMARY
from lab.this_machine import cache

if TYPE_CHECKING:
    from lab.backends.netns import LabName

__all__ = ["find_running", "forget", "remember"]

_NOTES = 64
"""Maximum number of notes."""


def find_running(name: str = "") -> "LabName":
    """The lab of this name, or the only running one. Raises `LabError`, with an explanation if the lab died."""
    from lab.backends.netns import find, labs

    try:
        return find(name)
    except LabError as error:
        told = _became(name) if name or not labs() else ""
        raise LabError(f"{error}\n{told}" if told else str(error)) from None


def remember(name: str, run_dir: Path, file: Path) -> None:
    """Write a note for a lab that comes up."""
    with contextlib.suppress(OSError, LabError):  # without the note an error message is only less detailed
        note = _note(name)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_bytes(json.dumps({"name": name, "run_dir": str(run_dir), "file": str(file.absolute())}).encode())
        for old in sorted(note.parent.glob("*.json"), key=lambda one: one.stat().st_mtime, reverse=True)[_NOTES:]:
            old.unlink()


def forget(name: str) -> None:
    """Remove the note of a lab that a user took down."""
    with contextlib.suppress(OSError, LabError):
        _note(name).unlink()


def _note(name: str) -> Path:
    return cache() / "standing" / f"{sha256(name.encode()).hexdigest()[:32]}.json"


def _became(name: str) -> str:
    """How a lab ended that was not taken down; without a name, the last one. Empty: unknown."""
    try:
        notes = [_note(name)] if name else list(_note("").parent.glob("*.json"))
        note = json.loads(max(notes, key=lambda one: one.stat().st_mtime).read_bytes())
        summary = Path(note["run_dir"]) / SUMMARY
        return _told(
            note, json.loads(summary.read_bytes()), datetime.fromtimestamp(summary.stat().st_mtime, UTC).astimezone()
        )
    except (OSError, ValueError, LabError, KeyError, TypeError):
        return ""


def _told(note: Mapping[str, Any], summary: Mapping[str, Any], at: datetime) -> str:
    reason, lab = str(summary["reason"]), lab_command()
    if summary["verdict"] == "unknown" and reason == "the run was killed":
        what = "its runner or its supervisor was killed"
    elif reason:
        what = f"it ended at {at:%H:%M:%S} on {at:%d %B}: {reason}"
    else:
        return ""
    run, file, name = (shlex.quote(str(note[key])) for key in ("run_dir", "file", "name"))
    return (
        f"what became of {note['name']}: {what}. Its hosts, containers and faults ended with it; its run is kept\n"
        f"look:  {lab} report {run}\n"
        f"keep:  {lab} save FILE --run {run}\n"
        f"again: {lab} up {file} --name {name}"
    )
