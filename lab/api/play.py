"""Plays a scenario by `lab run`, as a separate process, and returns its run.

Owns the accepted forms of a scenario, and the exception for each exit code of that command. The process ends when this
one does, in every case, and takes its lab down (`lab.child`).
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import child
from lab.api.played import PlayedRun, load
from lab.errors import BackendRefused, LabError
from lab.foreign_code import allow
from lab.kinds.backends import DEFAULT
from lab.kinds.backends import backend as find_backend
from lab.records.store import HISTORY, ROOT
from lab.scenario.load import Reading, ScenarioError, read
from lab.scenario.packaged import named
from lab.sweep.grid import variant_text

__all__ = ["Given", "accepted", "play"]

Given = str | os.PathLike[str] | Mapping[str, Any]
"""A scenario: the path of its file, its text (of several lines, or in braces), or the equivalent mapping."""


def play(
    scenario: Given,
    *,
    backend: str = DEFAULT,
    seed: int | None = None,
    pace: int | None = None,
    out: str | os.PathLike[str] = ROOT,
    figures: bool = False,
    trace: bool = False,
    protocols: Sequence[str] = (),
    limit: float | None = None,
) -> PlayedRun:
    """Play a scenario as `lab run` does, and return its run, whatever its verdict is.

    `scenario` is a path, a text or a mapping; paths in a text or a mapping are relative to the working directory.
    `seed` and `pace` are as in `lab run`; the run's folder is OUT/<scenario>/<time>. `figures` draws its report.
    `trace` writes traces too (`PlayedRun.trace`). `protocols` are classes, such as `ring.py:Ring`, that the scenario
    may name as its overlay, in this call and in everything that this program starts later. A run that takes longer
    than `limit` seconds is ended.

    Raises `ScenarioError` for a scenario with faults (all of them, with their places), `BackendRefused` for one that
    the backend cannot honour, `LabError` with the command's own message when there is no run to return. ^C ends the lab
    before it is raised.
    """
    for one in protocols:
        allow(one)
    out = Path(out).absolute()
    file = accepted(scenario, backend, seed, out)
    words = ["run", str(file), "--backend", backend, "--out", str(out), "--json"]
    words += ["--seed", str(seed)] if seed is not None else []
    words += ["--pace", str(pace)] if pace is not None else []
    words += [] if figures else ["--no-figures"]
    words += ["--trace"] if trace else []
    process = child.start(words)
    try:
        told, complaint = child.finish(process, limit)
    except subprocess.TimeoutExpired:
        raise LabError(f"the run did not end within {limit:g} s, and was ended") from None
    summary = child.summary_in(told)
    if summary is None:
        text = (complaint or told).strip().removeprefix("lab: ")
        raise LabError(text or f"`lab run` ended with {process.returncode} and said nothing")
    folder = Path(summary["run_dir"])
    history = folder / HISTORY
    if not history.is_file() or not history.stat().st_size:
        raise LabError(str(summary.get("reason") or complaint.strip()))
    return load(folder)


def accepted(scenario: Given, backend: str, seed: int | None, out: Path) -> Path:
    """The file of a scenario that this backend can play; a text or a mapping is written to a file below `out`. Raises
    as `play` does."""
    text = _text(scenario)
    path = Path("scenario") if text is not None else named(os.fspath(scenario))  # type: ignore[arg-type]
    found = read(path, seed, text=text)
    _refuse(found, backend)
    if text is None:
        return path
    assert found.resolved is not None
    text = variant_text(text, (), found.resolved.name, Path.cwd())
    folder = out / "given" / hashlib.sha256(text.encode()).hexdigest()[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"cannot keep the scenario in {folder}: {error.strerror}; choose another `out`") from None
    return folder / "scenario.yaml"


def _text(scenario: Given) -> str | None:
    """The text of a scenario that is not given as a file; None for a file."""
    if isinstance(scenario, Mapping):
        try:
            return json.dumps(scenario, indent=2, default=os.fspath)
        except (TypeError, ValueError, RecursionError) as error:
            raise LabError(f"the mapping is no scenario: {error}; expected what a YAML file can hold") from None
    if isinstance(scenario, str) and ("\n" in scenario or scenario.lstrip().startswith("{")):
        return scenario
    return None


def _refuse(found: Reading, backend: str) -> None:
    if found.problems or found.resolved is None:
        raise ScenarioError(found.file, list(found.problems))
    reasons = find_backend(backend).refuse(found.resolved)
    if reasons:
        told = (found.told(found.refused(reason), f"{backend} refuses: ") for reason in reasons)
        raise BackendRefused("\n".join(told))
