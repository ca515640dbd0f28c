"""The columns of a sweep's table: their names, units, types and order; a point -> its rows. Pure.

Each column has one type: integer, number, or text; an empty cell means that the value does not apply or is unknown. A
name ends in its unit. Whether a time was reached has its own column (`overall_censored`), so the column of times
contains only times. A parameter appears twice: in `set:PATH` as a number in the base unit if all its values are numbers
of one unit, and in `parameters` as typed, so that reading back is exact.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from lab.sweep.measure import TIMES, EventResult, Point

__all__ = [
    "AFTER",
    "CENSORED",
    "FIGURE",
    "FLOOR",
    "PARAMETER",
    "Kind",
    "kind_of",
    "numeric",
    "rows",
    "time_columns",
    "unit_of",
]

PARAMETER = "set:"
"""Prefix of a parameter's column, so that it cannot collide with another column."""
FIGURE = "figure:"
"""Prefix of the column of a protocol's figure."""
CENSORED, AFTER, FLOOR = "_censored", "_after_ns", "_floor_ns"
Kind = Literal["whole", "number", "text"]

_RUN: dict[str, Kind] = {
    "reason": "text", "peers": "whole", "run_bytes_per_peer": "number", "run_messages_per_peer": "number",
    "duration_ns": "whole", "backend": "text", "scenario_file": "text", "parameters": "text", "key": "text",
}  # fmt: skip
_HEAD: dict[str, Kind] = {"seed": "whole", "verdict": "text", "event": "text", "label": "text", "window_ns": "whole"}
_COUNTED: dict[str, Kind] = {"bytes_per_peer": "number", "messages_per_peer": "number"}

_UNITS: dict[str, tuple[str, float]] = {
    "": ("", 1.0), "ns": ("_s", 1e-9), "us": ("_s", 1e-6), "µs": ("_s", 1e-6), "ms": ("_s", 1e-3), "s": ("_s", 1.0),
    "m": ("_s", 60.0), "h": ("_s", 3600.0), "%": ("_fraction", 0.01), "bit": ("_bit_per_s", 1.0),
    "kbit": ("_bit_per_s", 1e3), "mbit": ("_bit_per_s", 1e6), "gbit": ("_bit_per_s", 1e9),
}  # fmt: skip
"""Unit as typed -> suffix of the column's name, and factor to the base unit."""
_QUANTITY = re.compile(r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([a-zµ%]*)")


def time_columns(metric: str) -> dict[str, Kind]:
    """The columns of one time after an event: its upper bound, whether it is censored, and its lower bound."""
    return {f"{metric}_ns": "whole", f"{metric}{CENSORED}": "whole", f"{metric}{AFTER}": "whole"}


_EVENT: dict[str, Kind] = {name: kind for metric in TIMES for name, kind in time_columns(metric).items()} | {
    **{f"{metric}{FLOOR}": "whole" for metric in TIMES}, "waited": "whole", **_COUNTED,
}  # fmt: skip


def kind_of(column: str, cells: Sequence[Any]) -> Kind:
    """The type of a column; for a parameter, derived from its cells."""
    if column.startswith(PARAMETER):
        return "text" if any(isinstance(cell, str) for cell in cells) else "number"
    if column.startswith(FIGURE):
        return "number"
    return (_HEAD | _EVENT | _RUN).get(column, "text")


def rows(points: Iterable[Point]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: one row per run and event, one for a run without events. An empty cell is None."""
    points = list(points)
    paths = list(dict.fromkeys(path for point in points for path in point.parameters))
    columns = {path: _column(path, [point.parameters.get(path) for point in points]) for path in paths}
    figures = dict.fromkeys(f"{FIGURE}{name}" for point in points for name in point.figures)
    header = [*(name for name, _ in columns.values()), *_HEAD, *_EVENT, *figures, *_RUN]
    found = []
    for point in points:
        run = _run(point)
        for path, (name, values) in columns.items():
            run[name] = values.get(point.parameters.get(path))
        for event in point.events or (None,):
            cells = run | (_event(event) if event is not None else {})
            found.append([cells.get(column) for column in header])
    return header, found


def numeric(values: Iterable[str | None]) -> tuple[str, dict[str, float]] | None:
    """(suffix of a column's name, value as typed -> number in the base unit); None if a value is not a number, or if
    units of different kinds are mixed."""
    found: dict[str, float] = {}
    ends: set[str] = set()
    for value in values:
        if value is None:
            continue
        match = _QUANTITY.fullmatch(value)
        if match is None or match[2] not in _UNITS:
            return None
        end, scale = _UNITS[match[2]]
        number = float(match[1]) * scale
        found[value] = float(f"{number:.15g}")
        if number:
            ends.add(end)  # 0 has the unit of the others
    return (ends.pop() if ends else "", found) if len(ends) < 2 else None


def unit_of(value: str) -> tuple[str, float]:
    """The unit of a number as typed, and the factor to the base unit. Raises `ValueError`."""
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{value} is no number with a unit")
    return match[2], _UNITS[match[2]][1]


def _column(path: str, values: list[str | None]) -> tuple[str, dict[str | None, Any]]:
    """A parameter's column: its name, and its cell for each value as typed."""
    found = numeric(values)
    if found is None:
        return PARAMETER + path, {value: value for value in values}
    end, numbers = found
    cells: dict[str | None, Any] = {None: None}
    return PARAMETER + path + end, cells | numbers


def _run(point: Point) -> dict[str, Any]:
    return {
        "seed": point.seed,
        "verdict": point.verdict,
        "reason": " ".join(point.reason.split()),
        "peers": point.peers,
        "run_bytes_per_peer": point.bytes_per_peer,
        "run_messages_per_peer": point.messages_per_peer,
        **{f"{FIGURE}{name}": value for name, value in point.figures.items()},
        "duration_ns": point.duration,
        "backend": point.backend,
        "scenario_file": point.scenario_file,
        "parameters": msgspec.json.encode(point.parameters).decode() if point.parameters else "",
        "key": point.key,
    }


def _event(event: EventResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "event": event.name,
        "label": event.label,
        "waited": int(event.waited),
        "window_ns": event.window,
        "bytes_per_peer": event.bytes_per_peer,
        "messages_per_peer": event.messages_per_peer,
    }
    for metric, took in event.times.items():
        found[f"{metric}_ns"], found[f"{metric}{CENSORED}"] = took, int(took is None)
        found[f"{metric}{AFTER}"], found[f"{metric}{FLOOR}"] = event.after.get(metric), event.floor.get(metric)
    return found
