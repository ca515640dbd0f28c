"""The replay of an artifact: each command in a new folder, each claim compared with its result.

Owns where a command runs and when it is stopped. It starts only the lab and the project's benchmarks
(`claims.refused`), with this interpreter and this code.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from lab.artifact.claims import Artifact, ArtifactClaim, ClaimGroup, Verdict, judged, refused, rows_of
from lab.errors import LabError
from overlay.clean import clean

__all__ = ["Checked", "Replay", "check", "chosen", "code_folder"]

_GRACE = 600.0
"""A command is stopped after ten times the stated duration of its group plus these seconds."""
_LAST_WORDS = 300


class Checked(Struct, frozen=True, kw_only=True):
    """The result of one claim."""

    claim: ArtifactClaim
    verdict: Verdict
    found: str
    """The reproduced number, or why there is none."""


class Replay(Struct, frozen=True, kw_only=True):
    """The result of one group."""

    group: ClaimGroup
    checked: tuple[Checked, ...]
    seconds: float = 0.0
    memory_mb: float = 0.0
    """Memory of the largest process."""


def code_folder() -> Path:
    """The folder of this code: a checkout, or the folder of installed packages."""
    return Path(__file__).resolve().parents[2]


def chosen(artifact: Artifact, names: Sequence[str], everything: bool) -> list[ClaimGroup]:
    """The groups to run: named ones, or all, or those that are quick and need nothing. Raises `LabError`."""
    known = {group.id: group for group in artifact.groups}
    if wrong := [name for name in names if name not in known]:
        raise LabError(f"found no claims named {', '.join(wrong)}, expected one of {', '.join(known)}")
    return [group for group in artifact.groups if group.id in names or everything or (not names and group.quick)]


def check(
    artifact: Artifact, folder: Path, run: Sequence[ClaimGroup], *, smaller: dict[str, str] | None = None,
    doing: Callable[[ClaimGroup], None] = lambda group: None,
) -> Iterator[Replay]:  # fmt: skip
    """Replay these groups of an artifact whose data are in `folder`; the others are reported as not run."""
    for group in artifact.groups:
        if group not in run:
            needs = f", needs {' and '.join(group.needs)}" if group.needs else ""
            why = f"takes {group.minutes:g} minutes{needs}: name it by --claim {group.id}"
            yield Replay(group=group, checked=tuple(_all(group, "not run", why)))
            continue
        if why := refused(group):
            raise LabError(f"{group.id}: {why}")
        doing(group)
        with tempfile.TemporaryDirectory(prefix="overlay-artifact-") as name:
            yield _replay(group, folder, Path(name), smaller or {})


def _replay(group: ClaimGroup, folder: Path, place: Path, more: dict[str, str]) -> Replay:
    if (folder / "data").is_dir():
        shutil.copytree(folder / "data", place / "data")
    (place / "docs").mkdir()
    begun = time.monotonic()
    code, memory = _run(group, place, more)
    seconds = time.monotonic() - begun
    tables: dict[str, list[dict[str, str]] | str] = {}
    found = []
    for claim in group.claims:
        name = claim.produces or group.produces
        if name not in tables:
            try:
                tables[name] = rows_of(place / name)
            except LabError as error:
                tables[name] = f"{clean(str(error))}; {code}"
        rows = tables[name]
        verdict, text = ("not reproduced", rows) if isinstance(rows, str) else judged(claim, rows)
        found.append(Checked(claim=claim, verdict=verdict, found=text))  # type: ignore[arg-type]
    return Replay(group=group, checked=tuple(found), seconds=seconds, memory_mb=memory)


def _run(group: ClaimGroup, place: Path, more: dict[str, str]) -> tuple[str, float]:
    """(how the command ended, in words; megabytes of its largest process)."""
    words = [*_program(group.command)]
    path = os.pathsep.join(filter(None, (str(code_folder()), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, **more}
    with (place / "told").open("w+b") as told:
        process = subprocess.Popen(
            words, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told
        )
        deadline = time.monotonic() + 600 * group.minutes + _GRACE
        try:
            status, memory = _wait(process, deadline)
        except BaseException:
            _end(process)
            raise
        told.seek(0)
        last = told.read()[-_LAST_WORDS:].decode(errors="replace").strip().rpartition("\n")[2]
    if status is None:
        return f"it did not end within {10 * group.minutes:g} minutes", memory
    return (f"it ended with {status}: {clean(last)}" if status else "it ended well"), memory


def _wait(process: subprocess.Popen[bytes], deadline: float) -> tuple[int | None, float]:
    """(exit code, None if it took too long; megabytes of the largest process)."""
    while time.monotonic() < deadline:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss / 1000
        time.sleep(0.1)
    _end(process)
    return None, 0.0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it, so that its lab goes down; kill it if it does not end."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _program(words: Sequence[str]) -> list[str]:
    if words[0] == "lab":
        return [sys.executable, "-m", "lab.cli", *words[1:]]
    return [sys.executable, *words[1:]]


def _all(group: ClaimGroup, verdict: Verdict, why: str) -> Iterator[Checked]:
    for claim in group.claims:
        yield Checked(claim=claim, verdict=verdict, found=why)
