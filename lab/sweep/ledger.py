"""The finished points of a sweep: one JSONL file, appended to as they finish, so that a sweep can resume.

Owns the file, its lock (one sweep at a time in a directory) and the repair of a line that a kill truncated. A league
keeps its runs in the same way. A point's key is made of everything that determines its result: parameters, seed,
scenario, backend and code.
"""

import fcntl
import os
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

import msgspec

from lab.errors import LabError, Unreadable
from lab.sweep.grid import Assignment
from lab.sweep.measure import Point
from overlay import __version__

__all__ = ["LEDGER", "Ledger", "code_version", "key_of", "read_ledger"]

LEDGER = "points.jsonl"
_SILENT = (
    "artifact",
    "bench",
    "cli",
    "experiment",
    "figures",
    "images",
    "league",
    "plots",
    "report",
    "sweep",
    "trials",
)
"""Packages of the lab that cannot change the result of a run."""


class Kept(Protocol):
    """What a ledger holds."""

    @property
    def key(self) -> str:
        """Equal for what is the same run."""
        ...

    @property
    def failed(self) -> bool:
        """It says nothing, and is to be tried again."""
        ...


P = TypeVar("P", bound=Kept)


@cache
def code_version() -> str:
    """The version, and a hash of all code that can change the result of a run: `0.1.0+1a2b3c4d5e6f`."""
    top = Path(__file__).resolve().parents[2]
    files = [*(top / "overlay").rglob("*.py"), *(top / "lab").rglob("*.py")]
    names = {path.relative_to(top).as_posix(): path for path in files}
    digest = sha256()
    for name in sorted(names):
        if name.startswith("lab/") and name.split("/")[1].removesuffix(".py") in _SILENT:
            continue
        digest.update(f"{name}\0".encode() + names[name].read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:12]}"


def key_of(assignment: Assignment, seed: int, scenario: str, backend: str, code: str) -> str:
    """A point's key; `scenario` is the digest of its variant."""
    text = msgspec.json.encode([sorted(assignment), seed, scenario, backend, code])
    return sha256(text).hexdigest()[:24]


class Ledger(Generic[P]):
    """The file of one sweep, open and locked. Use in a `with`."""

    def __init__(self, folder: Path, of: type[P], *, name: str = LEDGER) -> None:
        """Raises `LabError` when another sweep holds the lock, or the file cannot be written."""
        self.path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("a+b")
        except OSError as error:
            raise LabError(f"cannot write a sweep to {folder}: {error.strerror}; choose another with --out") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise LabError(
                f"another sweep writes to {folder} right now; wait for it, or choose another --out"
            ) from None
        self._mend()
        self.points: dict[str, P] = {point.key: point for point in read_ledger(self.path, of) if not point.failed}
        """Key -> point, of all sweeps that ever wrote here."""

    def add(self, point: P) -> None:
        """Append a point; it is on disk when this returns, even if the process (but not the machine) crashes."""
        self._file.write(msgspec.json.encode(point) + b"\n")
        self._file.flush()
        if not point.failed:
            self.points[point.key] = point

    def close(self) -> None:
        """Sync and release the lock."""
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> "Ledger[P]":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _mend(self) -> None:
        """Truncate a partial last line left by a kill, so that the next one starts on a new line."""
        self._file.seek(0)
        whole = self._file.read()
        end = whole.rfind(b"\n") + 1
        if end != len(whole):
            self._file.truncate(end)


def read_points(path: Path) -> Iterator[Point]:
    """All points of a file in order; raises `LabError` for a line that is not a point. A truncated last line is
    skipped."""
    return read_ledger(path, Point)


def read_ledger(path: Path, of: type[P]) -> Iterator[P]:
    """The same of a ledger with other records."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield msgspec.json.decode(line, type=of)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise Unreadable(f"{path}:{number}: no point of a sweep or league: {error}") from None
