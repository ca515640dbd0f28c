"""The table for a paper and the raw data: LaTeX, CSV and Parquet.

Owns the files' names and columns. Each column has one type; an empty cell means that there is no number.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.figures.told import table
from lab.league.columns import MEASURES
from lab.league.measures import NEVER
from lab.league.plan import LeagueRun
from lab.league.results import LeagueCell, LeagueRow
from lab.records.store import replace_file
from lab.sweep import parquet
from lab.sweep.columns import Kind
from lab.words import latex

__all__ = ["CELLS", "RUNS_CSV", "RUNS_PARQUET", "TEX", "write_papers"]

RUNS_CSV, RUNS_PARQUET, CELLS, TEX = "league-runs.csv", "league-runs.parquet", "league-cells.csv", "league.tex"
_RUN: dict[str, Kind] = {
    "entry": "text", "question": "text", "repeat": "whole", "verdict": "text", "reason": "text", "measure": "text",
    "unit": "text", "value": "number", "reached": "whole", "took_s": "number", "run": "text", "key": "text",
}  # fmt: skip
_CELL = (
    *("question", "measure", "unit", "entry", "state", "median", "low", "high", "runs", "unreached", "invalid"),
    *("rank", "reason"),
)


def write_papers(folder: Path, rows: Sequence[LeagueRow], runs: Sequence[LeagueRun]) -> list[Path]:
    """Write all of them; returns the files. Raises `OSError`."""
    body = [line for run in runs for line in _lines(run)]
    header = list(_RUN)
    replace_file(
        folder / RUNS_CSV, table(header, (["" if cell is None else cell for cell in line] for line in body)).encode()
    )
    replace_file(folder / CELLS, table(_CELL, [_cell(row, cell) for row in rows for cell in row.cells]).encode())
    replace_file(folder / TEX, _latex(rows).encode())
    written = [folder / RUNS_CSV, folder / CELLS, folder / TEX]
    if parquet.write(folder / RUNS_PARQUET, header, body, lambda name, cells: _RUN[name]):
        written.append(folder / RUNS_PARQUET)
    return written


def _lines(run: LeagueRun) -> list[list[Any]]:
    """A line for each measure; one for a run without."""
    own = [run.entry, run.question, run.repeat, run.verdict, run.reason]
    ends = [run.wall, run.run, run.key]
    if not run.readings:
        return [[*own, None, None, None, None, *ends]]
    return [
        [*own, name, MEASURES[name].unit, None if one.value >= NEVER else one.value, int(one.reached), *ends]
        for name, one in run.readings.items()
        if name in MEASURES
    ]


def _cell(row: LeagueRow, cell: LeagueCell) -> list[Any]:
    found = cell.estimate
    numbers = ["" if math.isnan(value) else value for value in (found.value, found.low, found.high)]
    return [
        *(row.question.name, row.measure.name, row.measure.unit, cell.entry, cell.state, *numbers),
        *(cell.runs, cell.unreached, cell.invalid, cell.rank or "", cell.reason),
    ]


def _latex(rows: Sequence[LeagueRow]) -> str:
    """A `tabular` with rules of booktabs: a row for each question and measure, a column for each entry."""
    entries = [cell.entry for cell in rows[0].cells] if rows else []
    lines = [
        r"% Medians with 95 % intervals; the rank in brackets where intervals allow one. Needs \usepackage{booktabs}.",
        "% Made by `lab league`.",
        rf"\begin{{tabular}}{{ll{'r' * len(entries)}}}",
        r"\toprule",
        " & ".join(["question", "measure", *map(latex, entries)]) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        unit = f" ({row.measure.unit})"
        head = [latex(row.question.name), latex(row.measure.title + unit)]
        lines.append(" & ".join([*head, *(_in_table(cell) for cell in row.cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _in_table(cell: LeagueCell) -> str:
    rank = f" ({cell.rank})" if cell.rank is not None else ""
    return latex(cell.words + rank).replace("–", "--").replace("∞", r"$\infty$")
