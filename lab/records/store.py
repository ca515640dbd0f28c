"""Run directories: `reports/<scenario>/<time>/` with the history, the summary and, later, the report.

Owns names, the `latest` link and the summary file. Knows nothing of how a run is carried out or drawn.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from lab.errors import LabError

HISTORY = "history.jsonl"
SUMMARY = "summary.json"
INDEX = "index.html"
ROOT = Path("reports")

Verdict = Literal["valid", "invalid", "unknown"]
EXIT_CODES: dict[str, int] = {"valid": 0, "invalid": 1, "unknown": 3}
"""Exit code of `lab run` for each verdict; 2 is reserved for bad usage and bad scenarios."""


class Expectation(Struct, frozen=True, kw_only=True):
    """The result of one expectation (or of another step that failed)."""

    step: int
    text: str
    ok: bool
    took: int
    """Nanoseconds from the step's start to the verdict."""
    error: str = ""
    samples: tuple[dict[str, Any], ...] = ()


class Summary(Struct, frozen=True, kw_only=True):
    """The result of a run, stored in `summary.json`."""

    verdict: Verdict
    reason: str = ""
    """Why the run is not valid, in one line."""
    scenario: str
    file: str
    backend: str
    seed: int
    run_dir: str
    replay: str
    """The command that replays it."""
    version: str
    convergence: list[dict[str, Any]] = []
    expectations: tuple[Expectation, ...] = ()
    took: int = 0
    """Nanoseconds from the start of the lab to its end."""


def new_run(scenario: str, root: Path = ROOT) -> Path:
    """Create and return a directory for a run that starts now; unique even if two start in the same second."""
    base = root / scenario
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        base.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = base / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            _link_latest(base, path.name)
            return path
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LabError(
            f"cannot write run directories below {base}: {error.strerror}; choose another with --out"
        ) from None
    raise LabError(f"10,000 runs of {scenario} in one second")


@contextlib.contextmanager
def open_history(run_dir: Path) -> Iterator[IO[bytes]]:
    """A run's new history, locked while it is written; the kernel releases the lock however the writer ends."""
    with (run_dir / HISTORY).open("wb") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def in_progress(run_dir: Path) -> bool:
    """Whether a process is writing this run's history now."""
    try:
        with (run_dir / HISTORY).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def write_summary(run_dir: Path, summary: Summary) -> None:
    """Write `summary.json` atomically."""
    write_json(run_dir / SUMMARY, msgspec.to_builtins(summary))


def write_json(path: Path, content: object) -> None:
    """Write a JSON file atomically."""
    replace_file(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def replace_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file atomically, because another process may be reading it, and the disk may be full. The content may
    come in parts, which are not kept."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with half.open("wb") as out:
            out.writelines((content,) if isinstance(content, bytes) else content)
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_summary(run_dir: Path) -> Summary:
    """The summary of a run; raises `LabError` when there is none."""
    try:
        return msgspec.json.decode((run_dir / SUMMARY).read_bytes(), type=Summary)
    except OSError:
        raise LabError(f"{run_dir} holds no {SUMMARY}: not a run, or one that was killed before it began") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LabError(f"{run_dir / SUMMARY}: {error}") from None


def find_run(where: str, root: Path = ROOT) -> Path:
    """The run directory for a path, a `SCENARIO` or a `SCENARIO/TIME`; raises `LabError`."""
    for path in (Path(where), root / where, _latest(root / where)):
        if (path / HISTORY).is_file():
            return path.resolve()
    raise LabError(f"no run at {where}: expected a directory with {HISTORY}, as reports/partition/latest")


def _link_latest(base: Path, name: str) -> None:
    """Point `latest` at a run, atomically. A directory of that name (from an archive without links) is
    not changed."""
    latest = base / "latest"
    if latest.is_dir() and not latest.is_symlink():
        return
    link = base / f".latest-{name}-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.replace(latest)


def _latest(base: Path) -> Path:
    """The latest run of a scenario: the target of the link, or otherwise the last run name, which begins
    with its time."""
    link = base / "latest"
    if link.is_symlink() or not base.is_dir():
        return link
    runs = [path for path in base.iterdir() if path != link and (path / HISTORY).is_file()]
    return max(runs, key=lambda path: (path.name.partition("-")[0], len(path.name), path.name), default=link)
