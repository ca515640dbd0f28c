"""`lab replay`: repeats a stored virtual-time run from its history alone, and compares it byte for byte."""

import io
import json
from itertools import zip_longest
from pathlib import Path

import click

from lab.contracts.lab import Virtual
from lab.errors import LabError, Unreadable
from lab.kinds.backends import backend as find_backend
from lab.records.history import Meta, Writer, read
from lab.records.provenance import code_identity, read_provenance
from lab.records.store import HISTORY, find_run
from lab.records.unreadable import understood
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.from_json import from_json
from lab.scenario.resolve import Resolved
from overlay.clean import LINES, clean

_SHOWN, _BEFORE = 200, 60
"""Characters shown of a differing line, and how many of them precede the difference."""
DIFFERENT = 1


def replay_run(where: str, *, as_json: bool) -> int:
    """Repeat the run of a directory (or the latest of a scenario); returns 0 if every byte is the same,
    otherwise 1."""
    path = find_run(where) / HISTORY
    stored = path.read_bytes()
    with understood(path):
        meta = next(iter(list(read(path))), None)  # all of it: an unreadable line is not a difference
    if not isinstance(meta, Meta):
        raise LabError(f"{path} does not begin with what was run: nothing to make again")
    with understood(path):
        backend = find_backend(meta.backend)
    if not isinstance(backend, Virtual):
        raise LabError(
            f"{path.parent} ran on {meta.backend}, where no two runs are the same to the byte: only sim runs can be "
            f"replayed. `lab run {meta.scenario.get('file')} --backend {meta.backend} --seed {meta.seed}` does it again"
        )
    with understood(path):
        scenario = _scenario(path, meta)
    if reasons := backend.refuse(scenario):
        raise LabError("\n".join(reasons))
    made = io.BytesIO()
    runner = Runner(scenario, backend, Writer(made), version=meta.version)
    outcome: RunOutcome = backend.run(runner.run())
    same = made.getvalue() == stored
    now, then = code_identity(), _made_by(path.parent)
    differs = [f"{key} is {now[key]}, was {then[key]}" for key in now if then[key] != now[key]]
    place = None if same else first_difference(stored, made.getvalue())
    if as_json:
        found = {"same": same, "verdict": outcome.verdict, "run_dir": str(path.parent), "code": differs}
        click.echo(json.dumps(found | ({"line": place[0]} if place else {})))
        return 0 if same else DIFFERENT
    click.echo(clean(f"{outcome.verdict}{f': {outcome.reason}' if outcome.reason else ''}", keep=LINES))
    if place is None:
        lines = stored.count(b"\n")
        click.echo(f"the same to the byte: {len(stored):,} bytes, {lines:,} lines")
        return 0
    _tell(place, differs)
    return DIFFERENT


def _scenario(path: Path, meta: Meta) -> Resolved:
    try:
        return from_json(meta.scenario)
    except LabError as error:
        raise Unreadable(f"{path}:1: {error}") from None


def _made_by(run_dir: Path) -> dict[str, object]:
    """Python's version and the code's digest of a stored run, None if its provenance has none."""
    told = read_provenance(run_dir)
    code = told.get("code")
    return {"python": told.get("python"), "code": code.get("digest") if isinstance(code, dict) else None}


def first_difference(stored: bytes, made: bytes) -> tuple[int, bytes, bytes]:
    """(number from 1, stored line, new line) of the first line that differs; a missing line is empty."""
    pairs = zip_longest(stored.split(b"\n"), made.split(b"\n"), fillvalue=b"")
    return next((number, left, right) for number, (left, right) in enumerate(pairs, 1) if left != right)


def _tell(place: tuple[int, bytes, bytes], differs: list[str]) -> None:
    number, left, right = place
    click.echo(f"line {number} differs:")
    click.echo(f"  stored: {_short(left, right)}")
    click.echo(f"  now:    {_short(right, left)}")
    if differs:
        click.echo("it was made by other code (" + "; ".join(differs) + "): a difference is no surprise")
    else:
        click.echo("the code is the same: unless the file was changed, a run depended on something else than scenario,")
        click.echo("seed and code. This is a bug")


def _short(line: bytes, other: bytes) -> str:
    """The part of the line around its first difference from the other."""
    if not line:
        return "(nothing)"
    text, rest = line.decode(errors="replace"), other.decode(errors="replace")
    alike = next((at for at, (ours, theirs) in enumerate(zip(text, rest, strict=False)) if ours != theirs), len(rest))
    begin = max(0, alike - _BEFORE)
    return ("…" if begin else "") + text[begin : begin + _SHOWN] + ("…" if begin + _SHOWN < len(text) else "")
