"""Rows of outcomes over time, drawn as an image with one cell per interval. Owns colours, cells and legend.

A cell with several tries shows the worst of them, so that no single failed try is hidden.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lab.figures.told import seconds
from lab.plots.style import COLUMN, FAIL, INK, OK, UNWANTED, hatched, nothing, points, style, tidy

__all__ = [
    "ALL",
    "GOOD",
    "LEAK",
    "LITTLE",
    "MOST_CELLS",
    "NO_TRY",
    "SOME",
    "Rows",
    "cells",
    "legend",
    "name_rows",
    "strips",
]

NO_TRY, GOOD, LITTLE, SOME, ALL, LEAK = range(6)
"""Worst last. `LITTLE` and `SOME` are shares of several tries."""
_COLOURS = {GOOD: OK, LITTLE: "#f0d74c", SOME: "#ee9f4a", ALL: FAIL, LEAK: UNWANTED}
MOST_CELLS = 900
"""Maximum number of cells in a row: about the width of a screen."""
_NAMED = 60
"""Maximum number of names next to rows."""
Rows = NDArray[np.int8]


def cells(
    rows: Sequence[Iterable[tuple[NDArray[np.int64], NDArray[np.int8]]]], start: int, end: int, columns: int
) -> Rows:
    """One row of cells for each row of (due times, outcomes). With several series in a row a cell is the share of tries
    with outcome `ALL`; with one series it is the worst outcome."""
    grid = np.zeros((len(rows), columns), dtype=np.int8)
    for row, series in enumerate(rows):
        tries, failed = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
        leaked = np.zeros(columns, bool)
        several = -1
        for due, outcomes in series:
            several += 1
            there = (start <= due) & (due < end) & (outcomes != NO_TRY)
            places = np.minimum(columns - 1, (due[there] - start) * columns // (end - start))
            mine = outcomes[there]
            tries += np.bincount(places, minlength=columns)
            failed += np.bincount(places[mine == ALL], minlength=columns)
            leaked[places[mine == LEAK]] = True
        share = failed / np.maximum(tries, 1)
        grid[row] = np.where(tries == 0, NO_TRY, GOOD)
        if several > 0:
            grid[row][share > 0] = LITTLE
            grid[row][share >= 0.1] = SOME
            grid[row][share >= 0.5] = ALL
        else:
            grid[row][failed > 0] = ALL
        grid[row][leaked] = LEAK
    return grid


def strips(axes: Axes, grid: Rows, start: int, end: int) -> None:
    """Draw the cells over time; cells without tries stay hatched."""
    hatched(axes)
    axes.imshow(
        np.ma.masked_equal(grid, NO_TRY),
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(list(_COLOURS.values())),
        norm=BoundaryNorm([each - 0.5 for each in (*_COLOURS, LEAK + 1)], len(_COLOURS)),
        extent=(seconds(start), seconds(end), len(grid) - 0.5, -0.5),
        zorder=1,
    )
    tidy(axes, start=start, end=end)
    axes.tick_params(left=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def name_rows(axes: Axes, names: Sequence[str], most: int = _NAMED) -> None:
    """Names next to the rows; with more than `most` rows of every second one, or of fewer."""
    step = -(-len(names) // most)
    size = "medium" if len(names) <= 8 else "small" if len(names) <= 24 else "x-small"
    shown = range(0, len(names), step)
    axes.set_yticks(list(shown), [names[row] for row in shown], color=INK, fontsize=size)


def legend(figure: Canvas, grid: Rows, words: dict[int, str]) -> None:
    """Below the axes: the outcomes that are there, in words."""
    present = set(np.unique(grid).tolist())
    handles = [
        nothing(words[NO_TRY]) if each == NO_TRY else Patch(color=_COLOURS[each], label=words[each])
        for each in (GOOD, LITTLE, SOME, ALL, LEAK, NO_TRY)
        if each in present
    ]
    narrow = style().column <= COLUMN
    figure.legend(
        handles=handles, loc="outside lower center" if narrow else "outside lower right", ncols=2 if narrow else 6,
        handlelength=1.6, handleheight=1.1,
    )  # fmt: skip


def rules(axes: Axes, edges: Iterable[float], width: float) -> None:
    """White lines between rows."""
    for edge in edges:
        axes.axhline(edge, color="white", lw=points(width), zorder=2)
