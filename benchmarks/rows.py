"""The one form of a benchmark's result: rows with median, range and ratio, as a table and as JSON.

Owns the arithmetic and the output; knows nothing of what is measured. Candidates of one comparison are run in turn
within one run (A B A B ...), so that a ratio holds although the machine's speed drifts.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from msgspec import Struct, to_builtins

from lab.cli import table
from lab.errors import LabError

REPORTS = Path("reports/bench")


def asked(what: str, usual: float) -> float:
    """What the environment asks for (`OVERLAY_LAB_BENCH_RUNS=3`, `…_SECONDS=1`, `…_PEERS=500`), or what is usual.

    Raises `LabError` for what is no number above 0.
    """
    name = f"OVERLAY_LAB_BENCH_{what}"
    text = os.environ.get(name, str(usual))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise LabError(f"{name}: found {text!r}, expected a number above 0")
    return value


class Row(Struct, frozen=True, kw_only=True):
    """One figure. `ratio` is this median over the median of the row named `ratio_to` (same metric), if any."""

    name: str
    metric: str
    unit: str
    median: float
    min: float
    max: float
    runs: int
    ratio: float | None = None
    ratio_to: str = ""
    goal: str = ""
    """What the project wants of this figure, in words."""
    version: str = ""
    """Of what was measured, with its year, where that is somebody else's program."""


class Made(Struct, frozen=True, kw_only=True):
    """When, of what and on what machine a benchmark's file was made."""

    date: str
    commit: str
    """Of the code; with `+` where files had been changed since."""
    cores: int
    kernel: str
    python: str

    def __str__(self) -> str:
        return f"{self.date}, commit {self.commit}, {self.cores} cores, Linux {self.kernel}, Python {self.python}"


def made() -> Made:
    """Here and now."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return Made(
        date=datetime.now(UTC).date().isoformat(),
        commit=done.stdout.strip() or "unknown",
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def percentile(values: Sequence[float], part: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `part` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    rank = max(1, -(-int(part * 1000) * len(ordered) // 1000))
    return ordered[min(rank, len(ordered)) - 1]


def row(
    name: str,
    metric: str,
    unit: str,
    values: Sequence[float],
    *,
    goal: str = "",
    against: Row | None = None,
    version: str = "",
) -> Row:
    """The row of these measurements, at least one."""
    middle = median(values)
    return Row(
        name=name,
        metric=metric,
        unit=unit,
        median=middle,
        min=min(values),
        max=max(values),
        runs=len(values),
        ratio=middle / against.median if against and against.median else None,
        ratio_to=" ".join(filter(None, (against.name, against.version))) if against else "",
        goal=goal,
        version=version,
    )


def publish(bench: str, rows: Sequence[Row]) -> Path:
    """Print the rows as a table and write them to `reports/bench/<bench>.json`; returns that path."""
    cells = []
    for each in rows:
        ratio = f"{each.ratio:.3f} of {each.ratio_to}" if each.ratio is not None else ""
        figures = [f"{value:,.3g} {each.unit}" for value in (each.median, each.min, each.max)]
        name = " ".join(filter(None, (each.name, each.version)))
        cells.append([name, each.metric, *figures, str(each.runs), ratio, each.goal])
    numbers = ("median", "min", "max", "runs", "ratio")
    table.show(("name", "metric", *numbers, "goal"), cells, right=numbers, title=f"bench {bench}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{bench}.json"
    path.write_text(json.dumps([to_builtins(each) for each in rows], indent=1) + "\n", encoding="utf-8")
    about = REPORTS / "made" / path.name
    about.parent.mkdir(exist_ok=True)
    about.write_text(json.dumps(to_builtins(made()), indent=1) + "\n", encoding="utf-8")
    return path
