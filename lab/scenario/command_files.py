"""Programs that a scenario's overlay names by a path: looked for in the scenario's folder.

Owns where they are looked for and what is wrong with them. The overlay's kind says which options are command lines.
"""

import shlex
from pathlib import Path
from typing import Any

from lab.kinds.overlays import DEFAULT, OVERLAYS
from lab.scenario.base import Problem


def make_commands_portable(plain: dict[str, Any], folder: Path) -> None:
    """Make the paths of such programs in a valid scenario of `folder` absolute."""
    for options, key in _commands(plain):
        options[key] = _absolute(options[key], folder)


def _commands(plain: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """The options of the overlay that are command lines, each in its mapping."""
    overlay = plain.get("overlay")
    options = overlay.get("options") if isinstance(overlay, dict) else None
    if not isinstance(overlay, dict) or not isinstance(options, dict):
        return []
    kind = OVERLAYS.find(str(overlay.get("kind", DEFAULT)))
    return [(options, key) for key in (kind.commands if kind is not None else ()) if isinstance(options.get(key), str)]


def _words(command: str) -> list[str]:
    """The words of a command line whose program has a path; empty for others, and for what is no command line.

    A host looks for a program without a path; the overlay's kind says what is wrong with the words."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    return words if words and "/" in words[0] else []


def _absolute(command: str, folder: Path) -> str:
    """A command line with its program's path from the root."""
    words = _words(command)
    return shlex.join([str((folder / words[0]).absolute()), *words[1:]]) if words else command


def with_commands(plain: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The scenario with the paths of such programs, and what is wrong with those that are no programs."""
    found = _commands(plain)
    if not found:
        return plain, []
    changed, problems = {}, []
    for options, key in found:
        changed[key] = _absolute(options[key], folder)
        words = _words(changed[key])
        program = Path(words[0]) if words else None
        if program is not None and not (program.is_file() and program.stat().st_mode & 0o111):
            what = "which may not be executed (chmod +x)" if program.is_file() else "which is no file"
            problems.append(Problem(("overlay", "options", key), f"{words[0]!r}, {what}", "a program's path"))
    overlay = {**plain["overlay"], "options": {**plain["overlay"]["options"], **changed}}
    return {**plain, "overlay": overlay}, problems
