"""The points of a sweep as one table: a row per run and event, in CSV, and in Parquet (`parquet.py`).

Owns the columns and their order. Reading back is exact, so that `lab compare` needs a table only.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabError, Unreadable
from lab.records.store import replace_file
from lab.sweep import parquet
from lab.sweep.ledger import LEDGER, read_points
from lab.sweep.measure import TIMES, EventResult, Point
from lab.sweep.parquet import NOT_REACHED

__all__ = ["CSV", "PARQUET", "read_table", "rows", "write_tables"]

CSV, PARQUET = "sweep.csv", "sweep.parquet"
_PARAMETER = "set:"
"""Begins the name of a parameter's column, so that no parameter can be taken for something else."""
_RUN = (
    *("seed", "verdict", "reason", "peers", "run_bytes_per_peer", "run_messages_per_peer"),
    *("duration_ns", "wall_s", "backend", "replay", "key"),
)
_EVENT = ("event", "label", "window_ns", *(f"{metric}_ns" for metric in TIMES), "bytes_per_peer", "messages_per_peer")


def rows(points: Iterable[Point]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows. A time is a number, `not reached`, or empty where the metric does not apply."""
    points = list(points)
    parameters = list(dict.fromkeys(path for point in points for path in point.parameters))
    header = [*(_PARAMETER + path for path in parameters), *_RUN[:2], *_EVENT, *_RUN[2:]]
    found = []
    for point in points:
        run = {
            "seed": point.seed,
            "verdict": point.verdict,
            "reason": " ".join(point.reason.split()),
            "peers": point.peers,
            "run_bytes_per_peer": point.bytes_per_peer,
            "run_messages_per_peer": point.messages_per_peer,
            "duration_ns": point.duration,
            "wall_s": point.wall,
            "backend": point.backend,
            "replay": point.replay,
            "key": point.key,
        } | {_PARAMETER + path: value for path, value in point.parameters.items()}
        for event in point.events or (None,):
            cells = run | (_cells(event) if event is not None else {})
            found.append([cells.get(column) for column in header])
    return header, found


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
    """The points of a sweep: its directory, its CSV or its Parquet table. Raises `LabError`."""
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


def _cells(event: EventResult) -> dict[str, Any]:
    times = {
        f"{metric}_ns": NOT_REACHED if took is None else took for metric, took in event.times.items() if metric in TIMES
    }
    return times | {
        "event": event.name,
        "label": event.label,
        "window_ns": event.window,
        "bytes_per_peer": event.bytes_per_peer,
        "messages_per_peer": event.messages_per_peer,
    }


def _points(path: Path, body: Sequence[dict[str, str]]) -> list[Point]:
    points: dict[str, Point] = {}
    for number, row in enumerate(body, 2):
        try:
            key = row["key"]
            events = points[key].events if key in points else ()
            points[key] = _point(row, (*events, *_event(row)))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise Unreadable(f"{path}:{number}: no row of a sweep's table: {type(error).__name__} {error}") from None
    return list(points.values())


def _point(row: dict[str, str], events: tuple[EventResult, ...]) -> Point:
    return Point(
        key=row["key"],
        parameters={
            name.removeprefix(_PARAMETER): value for name, value in row.items() if name.startswith(_PARAMETER) and value
        },
        seed=int(row["seed"]),
        verdict=row["verdict"],
        reason=row["reason"],
        events=events,
        peers=int(row["peers"]),
        bytes_per_peer=_number(row["run_bytes_per_peer"]),
        messages_per_peer=_number(row["run_messages_per_peer"]),
        duration=int(row["duration_ns"]),
        wall=float(row["wall_s"]),
        backend=row["backend"],
        replay=row["replay"],
    )


def _event(row: dict[str, str]) -> tuple[EventResult, ...]:
    if not row["event"]:
        return ()
    cells = {metric: row[f"{metric}_ns"] for metric in TIMES if row[f"{metric}_ns"] != ""}
    return (
        EventResult(
            name=row["event"],
            label=row["label"],
            window=int(row["window_ns"]),
            times={metric: None if cell == NOT_REACHED else int(cell) for metric, cell in cells.items()},
            bytes_per_peer=_number(row["bytes_per_peer"]),
            messages_per_peer=_number(row["messages_per_peer"]),
        ),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
