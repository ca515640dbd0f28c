"""Claims: numbers (or words) with the command that reproduces them, its cost, and the tolerance.

Owns `claims.json`, the programs that a claim may start (an artifact may come from a stranger), and when a number counts
as reproduced. Runs nothing.
"""

import csv
import io
import math
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
from msgspec import Struct

from lab.errors import LabError, Unreadable

__all__ = [
    "CLAIMS",
    "Artifact",
    "ArtifactClaim",
    "ClaimGroup",
    "Verdict",
    "judged",
    "read_claims",
    "rows_of",
    "written",
]

CLAIMS = "claims.json"
SCHEMA = 1
Verdict = Literal["reproduced", "not reproduced", "not run"]
_LARGEST = 64 << 20
_MOST_MINUTES = 7 * 24 * 60


class ArtifactClaim(Struct, frozen=True, kw_only=True):
    """One number in one row of the table that a command makes; or a word, if `equals` is not empty."""

    id: str
    text: str
    where: dict[str, str]
    """Columns and values that select the row."""
    column: str
    value: float | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    """Upper limit: a value from `low` to `high` is reproduced."""
    equals: str = ""
    produces: str = ""
    """The table with this row, if it is not the group's."""


class ClaimGroup(Struct, frozen=True, kw_only=True):
    """A command, and the claims about its output."""

    id: str
    title: str
    command: tuple[str, ...]
    produces: str
    """A table (CSV, or JSON: a list of objects), below the folder in which the command ran."""
    minutes: float
    memory_mb: float
    needs: tuple[str, ...] = ()
    """`packets`: a Linux machine whose user may create network namespaces; `docker`: root and the programs of an engine
    …"""
    claims: tuple[ArtifactClaim, ...]

    @property
    def quick(self) -> bool:
        """Whether it runs without being named: it has no needs and takes little time."""
        return not self.needs and self.minutes <= 15


class Artifact(Struct, frozen=True, kw_only=True):
    """The content of `claims.json`."""

    schema: int = SCHEMA
    name: str
    title: str
    made_by: dict[str, Any] = {}
    """Version, digest and commit of the code."""
    groups: tuple[ClaimGroup, ...]


def read_claims(path: Path) -> Artifact:
    """Read and check a file of claims; raises `LabError`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise Unreadable(f"{path} is larger than {_LARGEST >> 20} MiB: no claims")
        found = msgspec.json.decode(path.read_bytes(), type=Artifact)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}; expected a folder that `lab artifact` wrote") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{path} holds no claims of an artifact: {error}") from None
    for group in found.groups:
        if why := refused(group):
            raise LabError(f"{path}: {group.id}: {why}")
    return found


def refused(group: ClaimGroup) -> str:
    """Why a group is not run: an artifact may come from anywhere, so it may start only the lab."""
    words = group.command
    ours = words[:2] in (("lab", "experiment"), ("lab", "sweep"))
    if not ours and words[:3] != ("python", "-m", "benchmarks"):
        known = "`lab experiment run …`, `lab sweep …` or `python -m benchmarks …`"
        return f"found the command {' '.join(words)!r}, expected {known}"
    if group.produces and (PurePosixPath(group.produces).is_absolute() or ".." in PurePosixPath(group.produces).parts):
        return f"found the file {group.produces!r}, expected one below the folder in which the command runs"
    if not 0 <= group.minutes <= _MOST_MINUTES:
        return f"found {group.minutes:g} minutes, expected at most a week"
    return ""


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table as rows of text; raises `LabError` for a file that is not a table."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return [
                {key: _plain(value) for key, value in row.items()}
                for row in msgspec.json.decode(text, type=list[dict[str, Any]])
            ]
        return list(csv.DictReader(io.StringIO(text)))
    except OSError as error:
        raise LabError(f"{path.name}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error, msgspec.MsgspecError, RecursionError) as error:
        raise LabError(f"{path.name} is no table: {error}") from None


def judged(claim: ArtifactClaim, rows: list[dict[str, str]]) -> tuple[Verdict, str]:
    """(verdict of a claim, the value found)."""
    found = [row for row in rows if all(row.get(key, "") == value for key, value in claim.where.items())]
    if len(found) != 1:
        return "not reproduced", f"{len(found)} rows of that kind" if found else "no such row"
    text = found[0].get(claim.column) or ""
    if claim.equals:
        return ("reproduced" if text == claim.equals else "not reproduced"), text or "nothing"
    try:
        value = float(text)
    except ValueError:
        return "not reproduced", text or "nothing"
    low, high = claim.low if claim.low is not None else -math.inf, claim.high if claim.high is not None else math.inf
    return ("reproduced" if low <= value <= high else "not reproduced"), f"{value:.4g}"


def written(artifact: Artifact) -> bytes:
    """The content of the file."""
    return msgspec.json.format(msgspec.json.encode(artifact)) + b"\n"


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
