"""The points of a sweep as one table: a row per run and event, in CSV, and in Parquet (`parquet.py`).

Owns the files and reading them back. Reading is exact except for the computing time of each run, which is not written:
it is not a result, and would make tables of equal sweeps differ. `columns.py` owns the columns.
"""

import csv
import io
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from lab.errors import LabError, Unreadable
from lab.records.store import replace_file
from lab.sweep import parquet
from lab.sweep.columns import AFTER, CENSORED, FIGURE, FLOOR, rows
from lab.sweep.ledger import LEDGER, read_points
from lab.sweep.measure import TIMES, EventResult, Point

__all__ = ["CSV", "PARQUET", "read_table", "write_tables"]

CSV, PARQUET = "sweep.csv", "sweep.parquet"


def write_tables(folder: Path, points: Iterable[Point]) -> list[Path]:
    """Write the table; returns the files."""
    header, body = rows(points)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in body)
    path = folder / CSV
    replace_file(path, out.getvalue().encode())
    return [path, folder / PARQUET] if parquet.write(folder / PARQUET, header, body) else [path]


def read_table(where: Path) -> list[Point]:
    """Read the points of a sweep from its directory, its CSV or its Parquet table. Raises `LabError`."""
    path = where
    if where.is_dir():
        path = next((where / name for name in (CSV, LEDGER) if (where / name).is_file()), where)
    if not path.is_file():
        raise LabError(f"no sweep at {where}: expected a directory that `lab sweep` wrote, or its {CSV}")
    if path.suffix == ".jsonl":
        return list({point.key: point for point in read_points(path)}.values())
    if path.suffix == ".parquet":
        return _points(path, parquet.read(path))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{path} is no table of a sweep: {error}") from None
    return _points(path, rows)


def _points(path: Path, body: Sequence[dict[str, str]]) -> list[Point]:
    points: dict[str, Point] = {}
    for number, row in enumerate(body, 2):
        try:
            key = row["key"]
            events = points[key].events if key in points else ()
            points[key] = _point(path.parent, row, (*events, *_event(row)))
        except (KeyError, ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            raise Unreadable(
                f"{path}:{number}: no row of a sweep's table of this version: {type(error).__name__} {error}"
            ) from None
    return list(points.values())


def _point(folder: Path, row: dict[str, str], events: tuple[EventResult, ...]) -> Point:
    text = row["parameters"]
    return Point(
        key=row["key"],
        parameters=msgspec.json.decode(text, type=dict[str, str]) if text else {},
        seed=int(row["seed"]),
        verdict=row["verdict"],
        reason=row["reason"],
        events=events,
        peers=int(row["peers"]),
        bytes_per_peer=_number(row["run_bytes_per_peer"]),
        messages_per_peer=_number(row["run_messages_per_peer"]),
        figures={
            name.removeprefix(FIGURE): float(cell) for name, cell in row.items() if name.startswith(FIGURE) and cell
        },
        duration=int(row["duration_ns"]),
        backend=row["backend"],
        scenario_file=row["scenario_file"],
        replay=replay_of(folder / row["scenario_file"], row["backend"], int(row["seed"])),
    )


def replay_of(file: Path, backend: str, seed: int) -> str:
    """The command that replays a point."""
    return f"lab run {shlex.quote(str(_shown(file)))} --backend {backend} --seed {seed}"


def _shown(path: Path) -> Path:
    """The path, relative to the current directory if it is below it."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path


def _event(row: dict[str, str]) -> tuple[EventResult, ...]:
    if not row["event"]:
        return ()
    there = [metric for metric in TIMES if row[f"{metric}{CENSORED}"] != ""]
    return (
        EventResult(
            name=row["event"],
            label=row["label"],
            window=int(row["window_ns"]),
            times={metric: None if int(row[f"{metric}{CENSORED}"]) else int(row[f"{metric}_ns"]) for metric in there},
            after={metric: int(row[metric + AFTER]) for metric in there if row[metric + AFTER]},
            floor={metric: int(row[metric + FLOOR]) for metric in there if row[metric + FLOOR]},
            waited=row["waited"] == "1",
            bytes_per_peer=_number(row["bytes_per_peer"]),
            messages_per_peer=_number(row["messages_per_peer"]),
        ),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
