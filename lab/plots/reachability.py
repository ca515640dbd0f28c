"""Pictures of which pairs reached each other, when: one row per pair over time, and small N×N matrices before, during
and after each fault."""

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from lab.checkers.run import RecordedRun
from lab.checkers.tries import LEAKED, MISSED, NOTHING, REACHED
from lab.figures.matrices import shares
from lab.figures.reachability import WORDS, named_pairs, states
from lab.figures.told import seconds
from lab.plots.style import FAIL, INK, MUTED, NONE, OK, UNWANTED, canvas, shade, tidy
from lab.words import natural

__all__ = ["matrices", "timeline"]

_COLUMNS = 900
"""Maximum number of cells in a row: about the width of a screen."""
_LABELLED = 60
"""Maximum number of rows with names."""
_MAP = ListedColormap([NONE, FAIL, OK, UNWANTED])
_NORM = BoundaryNorm([-0.5, 0.5, 1.5, 2.5, 3.5], 4)
_RANK = np.array([0, 2, 1, 3], dtype=np.int8)
"""Worst last: a cell with several tries shows a leak before a miss before a success. Its own inverse."""


def timeline(run: RecordedRun) -> Canvas | None:
    """Rows = pairs, cells = tries, in order of time."""
    rows = named_pairs(run)
    if not rows:
        return None
    start = min(run.series[key][0].t for _, key in rows)
    end = max(min(run.end, run.stop), start + 1)
    # One less than the number of tries: a cell narrower than their interval would sometimes be empty.
    columns = min(_COLUMNS, max(1, max(len(run.series[key]) for _, key in rows) - 1))
    grid = np.zeros((len(rows), columns), dtype=np.int8)
    for row, (_, key) in enumerate(rows):
        samples = run.series[key]
        due = np.fromiter((sample.t for sample in samples), np.int64, len(samples))
        places = np.minimum(columns - 1, (due - start) * columns // (end - start))
        shown = (start <= due) & (due < end)
        np.maximum.at(grid[row], places[shown], _RANK[np.array(states(run, key), dtype=np.int8)[shown]])
    grid = _RANK[grid]
    figure = canvas(11, min(14.0, 1.35 + 0.27 * len(rows)) if len(rows) <= _LABELLED else min(9.0, 0.06 * len(rows)))
    axes = figure.add_subplot()
    axes.imshow(
        grid,
        aspect="auto",
        interpolation="nearest",
        cmap=_MAP,
        norm=_NORM,
        extent=(seconds(start), seconds(end), len(rows) - 0.5, -0.5),
        zorder=1,
    )
    tidy(axes, start=start, end=end)
    for edge in range(1, len(rows)):
        if len(rows) <= _LABELLED:
            axes.axhline(edge - 0.5, color="white", lw=2.2 if rows[edge][1][1] == rows[edge - 1][1][1] else 5, zorder=2)
    for band in run.bands:
        for t in (band.start, band.end) if band.healed else (band.start,):
            axes.axvline(seconds(t), color=INK, lw=1.1, ls=(0, (4, 2)), zorder=3)
    shade(axes, run.bands)
    axes.tick_params(left=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    if len(rows) <= _LABELLED:
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=INK)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(rows)} pairs, by source")
    present = sorted({int(state) for state in np.unique(grid)})
    colours = {NOTHING: NONE, MISSED: FAIL, REACHED: OK, LEAKED: UNWANTED}
    figure.legend(
        handles=[Patch(color=colours[state], label=WORDS[state]) for state in reversed(present)],
        loc="outside lower right",
        ncols=4,
        handlelength=1.1,
        handleheight=1.0,
    )
    return figure


def matrices(run: RecordedRun) -> Canvas | None:
    """For each fault, the share of successful tries of every pair before, during and after."""
    found = shares(run)
    if not found:
        return None
    names = sorted({name for key in run.pairs for name in key[1:]}, key=natural)
    place = {name: index for index, name in enumerate(names)}
    size = min(2.7, max(1.6, 0.4 * len(names)))
    figure = canvas(11, len(found) * (size + 0.75) + 0.3)
    grids = figure.subplots(len(found), 3, squeeze=False)
    image = None
    for line, (band, moments) in zip(grids, found, strict=True):
        for axes, moment in zip(line, [*moments, *[None] * (3 - len(moments))], strict=True):
            if moment is None:
                axes.set_axis_off()
                continue
            title, shown = moment
            share = np.full((len(names), len(names)), np.nan)
            for key, (_, good) in shown.items():
                share[place[key[1]], place[key[2]]] = good
            axes.set_facecolor(NONE)
            image = axes.imshow(share, cmap=_SHARE, vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(title, fontsize=9.5)
            axes.spines[:].set_visible(False)
            few = len(names) <= 16
            axes.set_xticks(range(len(names)) if few else [], names if few else [], rotation=40, ha="right", color=INK)
            first = axes is line[0]
            axes.set_yticks(range(len(names)) if few else [], names if few else [], color=INK)
            axes.tick_params(labelleft=first)
            axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
            axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
            axes.tick_params(which="both", length=0)
            axes.grid(which="minor", color="white", lw=2 if few else 0.3)
            if first:
                axes.set_ylabel(f"{band.label}\n\nfrom", color=MUTED, fontsize=9)
            axes.set_xlabel("to")
    if image is not None:
        bar = figure.colorbar(image, ax=grids, shrink=0.6, aspect=24, pad=0.02)
        bar.set_label("share of tries that succeeded")
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    return figure


_SHARE = ListedColormap(
    [
        tuple((1 - x) * a + x * b for a, b in zip(low, high, strict=True))
        for low, high, count in (
            ((0.835, 0.369, 0.0), (0.96, 0.90, 0.76), 32),
            ((0.96, 0.90, 0.76), (0.302, 0.702, 0.569), 32),
        )
        for x in np.linspace(0, 1, count)
    ]
)
