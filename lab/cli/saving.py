"""`lab save`: a session in a running or ended lab, as a scenario that replays it.

Owns the scenario in a run directory that this needs (`scenario.yaml`: the file, made independent of its folder, with
the steps with which the run began), and the saved file. `lab.scenario.saved` decides what of a session is saved.
"""

import io
import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from lab.cli.command import lab_command
from lab.cli.ended import find_running
from lab.errors import LabError
from lab.kinds.backends import backend
from lab.records.history import Event, Meta, decode
from lab.records.store import HISTORY, find_run, replace_file
from lab.scenario.files import portable
from lab.scenario.load import ScenarioError, read
from lab.scenario.saved import SavedSession, own_steps, saved
from lab.scenario.yaml import editor, flow
from lab.words import count

__all__ = ["SCENARIO", "keep_scenario", "save", "scenario_text", "session"]

SCENARIO = "scenario.yaml"
_REPLAYED = ("netns", "sim")


def scenario_text(text: str, name: str, folder: Path, steps: Iterable[dict[str, Any]] | None = None) -> str:
    """A scenario's text, made independent of its folder; with other steps, unless `steps` is None."""
    tree = portable(text, name, folder)
    if steps is not None:
        tree["timeline"] = flow([])
        tree["timeline"].fa.set_block_style()
        tree["timeline"].extend(map(flow, steps))
    out = io.StringIO()
    editor(4096).dump(tree, out)
    return out.getvalue()


def keep_scenario(run_dir: Path, text: str) -> Path:
    """Store a scenario in a run directory."""
    file = run_dir / SCENARIO
    replace_file(file, text.encode())
    return file


def save(file: Path, name: str, run: str, *, as_json: bool) -> None:
    """Write the manual steps of a lab, or of a lab's run, as a scenario."""
    if file.exists() or file.is_symlink():
        raise LabError(f"{file} exists and stays as it is: give another name, or remove it first")
    if not file.parent.is_dir():
        raise LabError(f"{file.parent} is no folder: make it first, or give another")
    found = session(*((find_run(run), None) if run else _of_lab(name)))
    with file.open("x", encoding="utf-8") as out:
        out.write(found.text)
    refused = list(_refused(file))
    if as_json:
        told = {"file": str(file), "moves": found.moves, "left_out": found.left_out, "refused": dict(refused)}
        click.echo(json.dumps(told))
        return
    left = f"; {count(found.left_out, 'step')} that failed left out" if found.left_out else ""
    click.echo(f"{file}: {count(found.moves, 'step')} by hand{left}")
    for where, reason in refused:
        click.echo(f"note: {where} cannot replay it: {reason}")
    able = [where for where in _REPLAYED if where not in dict(refused)]
    for where in able:
        click.echo(f"replay: {lab_command()} run {shlex.quote(str(file))} --backend {where}")


def session(run_dir: Path, now: int | None) -> SavedSession:
    """The manual steps of a run, up to `now` or to its last event. Raises `LabError` if there are none."""
    base = run_dir / SCENARIO
    if not base.is_file():
        raise LabError(f"nothing was done by hand in {run_dir.parent.name}/{run_dir.name}: there is nothing to save")
    text = base.read_text(encoding="utf-8")
    meta, events, last = _events(run_dir)
    tree = editor(4096).load(io.StringIO(text))
    return saved(tree, own_steps(text), events, pace=int(meta.scenario.get("pace") or 1), now=now or last)


def _of_lab(name: str) -> tuple[Path, int]:
    """The run directory of a running lab, and its current time."""
    from lab.backends.netns import LabClient

    with LabClient(find_running(name)) as client:
        state = client.call("state")
    return Path(state["run_dir"]), int(state["now"])


def _events(run_dir: Path) -> tuple[Meta, list[Event], int]:
    """(the first line, all events, the time of the last) of a history; of other lines only the
    beginning is checked."""
    lines = _whole_lines(run_dir / HISTORY)
    try:
        meta = decode(next(lines))
        if not isinstance(meta, Meta):
            raise ValueError("no first line")
        events = [
            found for line in lines if b'"kind":"event"' in line[:40] and isinstance(found := decode(line), Event)
        ]
    except (msgspec.MsgspecError, StopIteration, ValueError, RecursionError) as error:
        raise LabError(f"{run_dir / HISTORY} cannot be read as a history: {error}") from None
    return meta, events, events[-1].t if events else 0


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _refused(file: Path) -> Iterator[tuple[str, str]]:
    """Backends that cannot replay a scenario, each with the first reason."""
    for where in _REPLAYED:
        try:
            found = read(file)
            reasons = [str(one) for one in found.problems]
            if found.resolved is not None:
                reasons += backend(where).refuse(found.resolved)
        except (ScenarioError, LabError) as error:
            reasons = [str(error)]
        if reasons:
            yield where, reasons[0]
