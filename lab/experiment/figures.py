"""The figures of an experiment: the primary outcome by its factors, distributions, and sensitivities of a Sobol design.

Each is a pure function of the results, drawn for one column of a paper (ACM's and IEEE's are 84 to 88 mm), so that page
and paper show the same. Sizes, fonts and colours are those of the style `paper` of `lab.plots.style`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from lab.experiment.description import split_outcome
from lab.experiment.results import Cell, Results
from lab.figures.told import table
from lab.plots.style import GRID, INK, SERIES, DrawnFigure, canvas, context, renders, style
from lab.sweep.columns import numeric
from lab.sweep.grid import Assignment
from lab.sweep.groups import FIGURE_OF, floor_of, grouped, sample_of, short
from lab.sweep.statistics import curve

__all__ = ["FORMATS", "drawn", "unit_of_outcome", "with_unit", "words_of"]

_HEIGHT = 2.2
"""Inches."""
FORMATS = ("pdf", "svg")
_MOST = 8
"""Maximum number of lines or curves that can be told apart."""


def drawn(results: Results) -> list[DrawnFigure]:
    """All figures for which these results have data."""
    found = []
    with context("paper"):
        for name, draw in _DRAW.items():
            figure = draw(results)
            if figure is not None:
                picture, title, caption, data = figure
                pictures = renders(picture, (*FORMATS, "png"))
                found.append(DrawnFigure(name=name, title=title, caption=caption, csv=data, pictures=pictures))
    return found


def unit_of_outcome(outcome: str) -> str:
    """The unit of an outcome's numbers."""
    event, metric = split_outcome(outcome)
    if event == FIGURE_OF:
        return ""
    return {"bytes_per_peer": "bytes", "messages_per_peer": "messages"}.get(metric, "s")


def words_of(outcome: str) -> str:
    """An outcome in words: `time until all has settled after heal`."""
    event, metric = split_outcome(outcome)
    if event == FIGURE_OF:
        return metric.replace("_", " ")
    known = {
        "overall": "time until all has settled",
        "half": "time until half of the pairs are right",
        "bytes_per_peer": "bytes sent per peer",
        "messages_per_peer": "messages per peer",
    }
    what = known.get(metric, f"time until {metric} has settled")
    return f"{what} after {event}" if event else what


def with_unit(outcome: str) -> str:
    """The words with the unit, if they do not contain it."""
    unit = unit_of_outcome(outcome)
    return words_of(outcome) if words_of(outcome).startswith(unit) else f"{words_of(outcome)} ({unit})"


_Picture = tuple[Canvas, str, str, str]


def _effects(results: Results) -> _Picture | None:
    """Medians with intervals against the first varying factor."""
    primary = results.outcome.file.experiment.primary
    cells = results.of(primary)
    ranked = _varying([cell.assignment for cell in cells])
    if not cells or not ranked or results.outcome.file.experiment.sobol is not None:
        return None
    axis = max(ranked, key=lambda path: (numeric(ranked[path]) is not None, len(ranked[path])))
    numbers = numeric(ranked[axis])
    lines: dict[Assignment, list[Cell]] = {}
    for cell in cells:
        rest = tuple((path, value) for path, value in cell.assignment if path != axis and path in ranked)
        lines.setdefault(rest, []).append(cell)
    figure = _column(_HEIGHT)
    axes = figure.subplots()
    shown = list(lines.items())[:_MOST]
    for index, (rest, mine) in enumerate(shown):
        order = list(ranked[axis])
        nudge = 0.0 if numbers is not None else (index - (len(shown) - 1) / 2) * 0.12
        x = [numbers[1][dict(c.assignment)[axis]] if numbers else order.index(dict(c.assignment)[axis]) + nudge
             for c in mine]  # fmt: skip
        y = [cell.estimate.value for cell in mine]
        low = [
            max(cell.estimate.value - cell.estimate.low, 0) if np.isfinite(cell.estimate.low) else 0 for cell in mine
        ]
        high = [max(cell.estimate.high - cell.estimate.value, 0) if np.isfinite(cell.estimate.high) else 0
                for cell in mine]  # fmt: skip
        axes.errorbar(x, y, yerr=[low, high], marker="o", markersize=3, capsize=2, color=SERIES[index % len(SERIES)],
                      linestyle="-" if numbers else "none", label=_label(rest))  # fmt: skip
    if numbers is None:
        axes.set_xticks(range(len(ranked[axis])), ranked[axis])
    elif _decades(list(numbers[1].values())):
        places = sorted(set(numbers[1].values()))
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    _named(axes, axis, numbers[0] if numbers else "", primary)
    axes.set_ylim(bottom=0)
    _legend(figure, axes, ", ".join(short(path) for path in ranked if path != axis), len(shown))
    rows = [[*(dict(cell.assignment).get(path, "") for path in ranked), cell.runs, cell.censored,
             *(_plain(v) for v in (cell.estimate.value, cell.estimate.low, cell.estimate.high))]
            for cell in cells]  # fmt: skip
    left = f"; {_MOST} of {len(lines)} settings of the other factors are drawn" if len(lines) > _MOST else ""
    unit = unit_of_outcome(primary)
    return (
        figure,
        f"{words_of(primary)[0].upper()}{words_of(primary)[1:]}, by {short(axis)}",
        f"Medians over the runs with 95 % intervals{left}.",
        table((*ranked, "runs", "censored", f"median_{unit}", f"low_{unit}", f"high_{unit}"), rows),
    )


def _distributions(results: Results) -> _Picture | None:
    """The distribution of the primary outcome for each assignment."""
    primary = results.outcome.file.experiment.primary
    groups = [group for group in grouped(results.outcome.points)
              if len(sample_of(group.points, *split_outcome(primary)))]  # fmt: skip
    if not groups or results.outcome.file.experiment.sobol is not None:
        return None
    ranked = _varying([group.assignment for group in groups])
    figure = _column(_HEIGHT)
    axes = figure.subplots()
    rows: list[list[Any]] = []
    for index, group in enumerate(groups[:_MOST]):
        found = curve(sample_of(group.points, *split_outcome(primary)))
        if not len(found.at):
            continue
        colour = SERIES[index % len(SERIES)]
        label = _label(tuple(item for item in group.assignment if item[0] in ranked))
        style = "default" if found.sloped else "steps-post"
        axes.plot(found.at, found.share, drawstyle=style, color=colour, label=label or "all runs")
        if np.isfinite(found.low).all():
            axes.fill_between(
                found.at, found.low, found.high, step=None if found.sloped else "post", color=colour, alpha=0.15, lw=0
            )
        rows += [[group.label, *map(_plain, row)]
                 for row in zip(found.at, found.share, found.low, found.high, strict=True)]  # fmt: skip
    if not rows:
        return None
    unit = unit_of_outcome(primary)
    axes.set_xlabel(with_unit(primary))
    axes.set_ylabel("share of runs")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.grid(color=GRID)
    _legend(figure, axes, ", ".join(map(short, ranked)), min(len(groups), _MOST))
    floor = floor_of(groups, *split_outcome(primary))
    if floor:
        axes.axvline(floor, color=INK, lw=0.6, ls=":", label="probe interval")
    below = f"; a time below the dotted line ({floor:g} s, the interval of the probes) is only known to be below it"
    left = f"; {_MOST} of {len(groups)} settings are drawn" if len(groups) > _MOST else ""
    return (
        figure,
        f"Distribution of the {words_of(primary)}",
        f"Share of the runs that were done by then, with 95 % bands{left}{below if floor else ''}.",
        table(("setting", f"at_{unit}", "share", "low", "high"), rows),
    )


def _sensitivity(results: Results) -> _Picture | None:
    """Sobol's indices as bars."""
    found = results.sensitivities
    if not found:
        return None
    figure = _column(0.5 + 0.35 * len(found))
    axes = figure.subplots()
    places = np.arange(len(found))
    for shift, name, value, half, colour in (
        (-0.17, "alone", "first", "first_half", SERIES[0]),
        (0.17, "with all others", "total", "total_half", SERIES[1]),
    ):
        axes.barh(places + shift, [getattr(one, value) for one in found], 0.3, color=colour, label=name,
                  xerr=[getattr(one, half) for one in found], error_kw={"lw": 0.8, "capsize": 2})  # fmt: skip
    axes.set_yticks(places, [short(one.factor) for one in found])
    axes.invert_yaxis()
    axes.set_xlabel(f"part of the variance of the {words_of(results.outcome.file.experiment.primary)}")
    axes.legend()
    rows = [[one.factor, *map(_plain, (one.first, one.first_half, one.total, one.total_half))] for one in found]
    return (
        figure,
        "What the outcome depends on",
        "Sobol's indices of first and total order, with 95 % intervals.",
        table(("factor", "first", "first_half", "total", "total_half"), rows),
    )


_DRAW: dict[str, Callable[[Results], _Picture | None]] = {
    "effects": _effects,
    "distributions": _distributions,
    "sensitivity": _sensitivity,
}


def _column(height: float) -> Canvas:
    """A figure of one column and of this height in inches."""
    return canvas(height / style().scale)


def _varying(assignments: Sequence[Assignment]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for path, value in (item for assignment in assignments for item in assignment):
        found.setdefault(path, {})[value] = None
    return {path: list(values) for path, values in found.items() if len(values) > 1}


def _legend(figure: Canvas, axes: Axes, title: str, entries: int) -> None:
    """Above the axes, where it hides no curve."""
    if entries < 2:
        return
    columns = 4 if entries > 3 else entries
    figure.set_figheight(_HEIGHT + 0.16 * -(-entries // columns) + 0.1)
    figure.legend(*axes.get_legend_handles_labels(), title=title, title_fontsize=6.5, loc="outside upper center",
                  ncols=columns, handlelength=1.4, columnspacing=1.0)  # fmt: skip


def _label(rest: Assignment) -> str:
    return ", ".join(value for _, value in rest)


def _named(axes: Axes, path: str, end: str, outcome: str) -> None:
    unit = {"_s": " (s)", "_bit_per_s": " (bit/s)", "_fraction": " (share)"}.get(end, "")
    axes.set_xlabel(short(path) + unit)
    axes.set_ylabel("\n".join(_wrapped(with_unit(outcome), 30)))
    axes.grid(axis="y", color=GRID)


def _wrapped(text: str, width: int) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, width)


def _decades(values: list[float]) -> bool:
    return len(values) > 2 and min(values) > 0 and max(values) / min(values) >= 8


def _plain(value: float) -> str:
    return f"{float(value):.6g}" if np.isfinite(value) else ""
