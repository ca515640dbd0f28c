"""`paper/` of an experiment: figures in column width, a LaTeX table, the data, and sentences for the text.

Owns the files and the number format of papers. Pure except for writing them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab.experiment.figures import FORMATS, unit_of_outcome, with_unit, words_of
from lab.experiment.results import Cell, Judged, Results
from lab.figures.told import table
from lab.plots.style import DrawnFigure
from lab.records.store import replace_file
from lab.sweep.columns import numeric
from lab.sweep.groups import short
from lab.sweep.table import CSV
from lab.words import count, latex

__all__ = ["PAPER", "estimates", "hypotheses_table", "latex_table", "sentences", "write"]

PAPER = "paper"
_VAGUE = 0.5
"""Half width of an interval of a Sobol index from which the index says nothing."""


def write(folder: Path, results: Results, drawn: Sequence[DrawnFigure]) -> Path:
    """Write all files; returns the folder."""
    place = folder / PAPER
    place.mkdir(exist_ok=True)
    for old in [path for form in (*FORMATS, "csv") for path in place.glob(f"*.{form}")]:
        old.unlink()
    for figure in drawn:
        for form in FORMATS:
            replace_file(place / f"{figure.name}.{form}", figure.pictures[form])
        replace_file(place / f"{figure.name}.csv", figure.csv.encode())
    replace_file(place / "estimates.csv", estimates(results).encode())
    replace_file(place / "hypotheses.csv", hypotheses_table(results).encode())
    replace_file(place / "table.tex", latex_table(results).encode())
    text = sentences(results)
    replace_file(place / "sentences.txt", ("\n\n".join(text) + "\n").encode())
    replace_file(place / "sentences.tex", ("\n\n".join(map(latex, text)) + "\n").encode())
    if (folder / CSV).is_file():
        shutil.copyfile(folder / CSV, place / "runs.csv")
    return place


def estimates(results: Results) -> str:
    """All estimates as CSV with numeric columns."""
    paths = list(dict.fromkeys(path for cell in results.cells for path, _ in cell.assignment))
    columns = {path: numeric([dict(cell.assignment).get(path) for cell in results.cells]) for path in paths}
    header = [path + (found[0] if (found := columns[path]) else "") for path in paths]
    rows = []
    for cell in results.cells:
        values = dict(cell.assignment)
        factors = [
            found[1].get(values[path], "") if (found := columns[path]) else values.get(path, "") for path in paths
        ]
        rows.append([*factors, cell.outcome, unit_of_outcome(cell.outcome), cell.runs, cell.censored,
                     *(_plain(v) for v in (cell.estimate.value, cell.estimate.low, cell.estimate.high))])  # fmt: skip
    return table((*header, "outcome", "unit", "runs", "censored", "median", "low", "high"), rows)


def hypotheses_table(results: Results) -> str:
    """All hypotheses and their results."""
    rows = [[one.hypothesis.id, one.hypothesis.claim, one.judgement, "" if one.p is None else f"{one.p:.3g}"]
            for one in results.judged]  # fmt: skip
    return table(("hypothesis", "claim", "judgement", "p"), rows)


def latex_table(results: Results) -> str:
    """A `tabular` with booktabs rules."""
    outcomes = [name for name in results.outcome.file.experiment.outcomes if results.of(name)]
    paths = list(dict.fromkeys(path for cell in results.cells for path, _ in cell.assignment))
    heads = [*(latex(short(path)) for path in paths), "$n$"]
    heads += [latex(with_unit(name)) for name in outcomes]
    lines = [
        r"% Medians with 95 % intervals; needs \usepackage{booktabs}. Made by `lab experiment report`.",
        rf"\begin{{tabular}}{{{'l' * len(paths)}r{'l' * len(outcomes)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for assignment in dict.fromkeys(cell.assignment for cell in results.cells):
        mine = {cell.outcome: cell for cell in results.cells if cell.assignment == assignment}
        values = dict(assignment)
        row = [latex(values.get(path, "")) for path in paths]
        row.append(str(max(cell.runs for cell in mine.values())))
        row += [_in_table(mine.get(name)) for name in outcomes]
        lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def sentences(results: Results) -> list[str]:
    """Sentences for a paper: estimates, hypotheses, and the number of runs."""
    experiment = results.outcome.file.experiment
    cells = results.of(experiment.primary)
    unit = unit_of_outcome(experiment.primary)
    text = []
    if cells and experiment.sobol is None:
        each = [f"{_with_unit(cell.estimate.value, unit)} ({_range(cell, unit)}){_with(cell)}" for cell in cells[:12]]
        more = f" ({len(cells)} settings in all, see the table)" if len(cells) > 12 else ""
        runs = sorted({cell.runs for cell in cells})
        seeds = count(runs[0], "seed") if len(runs) == 1 else f"{runs[0]} to {runs[-1]} seeds"
        text.append(
            f"With 95 % intervals from {seeds} for each setting, the median {words_of(experiment.primary)} was "
            f"{_listed(each)}{more}."
        )
    vague = any(max(one.first_half, one.total_half) > _VAGUE for one in results.sensitivities)
    if vague:
        text.append(
            f"What the {words_of(experiment.primary)} depends on cannot be said from so few samples: intervals of "
            f"Sobol's indices are wider than ± {_VAGUE:.0%}."
        )
    for one in () if vague else results.sensitivities:
        text.append(
            f"{short(one.factor).capitalize()} explains {one.first:.0%} (± {one.first_half:.0%}) of the variance "
            f"of the {words_of(experiment.primary)} alone, "
            f"and {one.total:.0%} (± {one.total_half:.0%}) with all others."
        )
    text += [_judged(one) for one in results.judged]
    version = results.outcome.registered.versions[0]
    if experiment.hypotheses:
        changed = "; they were changed after runs had been seen" if results.outcome.registered.amended else ""
        text.append(f"The hypotheses were written down before the first run (digest {version.digest}){changed}.")
    return text


def _judged(one: Judged) -> str:
    p = "" if one.p is None else f", p = {one.p:.2g} after Holm's correction" if one.p >= 0.001 else ", p < 0.001"
    ratios = [f"{item.ratio:.2f} ({item.low:.2f} to {item.high:.2f})" for item in one.differences[:6]
              if item.ratio is not None and item.low is not None and item.high is not None]  # fmt: skip
    ratio = f": ratio of medians {_listed(ratios)}" if ratios else ""
    paired = ", runs of equal seeds as pairs" if any(item.paired for item in one.differences) else ""
    margin = f", margin {one.hypothesis.margin:g}" if one.hypothesis.margin is not None else ""
    return f"{one.hypothesis.id} ({one.hypothesis.claim}) is {one.judgement}{ratio}{margin}{p}{paired}."


def _with(cell: Cell) -> str:
    return " with " + ", ".join(f"{short(path)} {value}" for path, value in cell.assignment) if cell.assignment else ""


def _range(cell: Cell, unit: str) -> str:
    low, high = cell.estimate.low, cell.estimate.high
    if not np.isfinite(low):
        return "no interval"
    return f"{_number(low)} to {_number(high)} {unit}" if np.isfinite(high) else f"{_number(low)} {unit} or more"


def _in_table(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    if not np.isfinite(cell.estimate.value):
        return "not reached"
    low, high = cell.estimate.low, cell.estimate.high
    bounds = f" [{_number(low)}, {_number(high)}]" if np.isfinite(low) else ""
    return f"{_number(cell.estimate.value)}{bounds}".replace("inf", r"$\infty$")


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}" if np.isfinite(value) else "not reached"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def _plain(value: float) -> str:
    return f"{float(value):.6g}" if np.isfinite(value) else ""
