"""Answers to names over time: how many addresses each source got, compared with the expected number; with many sources
a row for each, with what became of its questions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from lab.checkers.run import RecordedRun
from lab.checkers.tries import LEAKED, MISSED, NOTHING, REACHED, WRONG, outcomes
from lab.checkers.world import SeriesKey
from lab.figures.dns import asked_names
from lab.figures.told import seconds
from lab.kinds.probes import asks_name
from lab.plots import strips
from lab.plots.style import COLUMN, FAIL, GRID, MUTED, SERIES, canvas, points, shade, style, tidy
from lab.records.history import Sample

__all__ = ["dns"]

_SOURCES = 6
"""Maximum number of sources with a colour each."""
_CELL = np.full(8, strips.ALL, dtype=np.int8)
_CELL[[NOTHING, REACHED, MISSED, LEAKED, WRONG]] = strips.NO_TRY, strips.GOOD, strips.ALL, strips.LEAK, strips.ALL
_WORDS = {
    strips.NO_TRY: "not asked",
    strips.GOOD: "right answer",
    strips.ALL: "wrong or no answer",
    strips.LEAK: "answer across a cut",
}


def dns(run: RecordedRun) -> Canvas | None:
    """One panel per name."""
    keys = [key for key in run.series if asks_name(key[0])]
    drawn = asked_names(run)
    if not drawn:
        return None
    start = min(run.series[key][0].t for key in keys)
    end = max(min(run.end, run.stop), start + 1)
    askers = [[key for key in keys if key[2] == name] for name in drawn]
    if max(map(len, askers)) > _SOURCES:
        return _rows(run, drawn, askers, start, end)
    narrow = style().column <= COLUMN
    figure = canvas(0.7 + 1.75 * len(drawn))
    panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, name, mine) in enumerate(zip(panels, drawn, askers, strict=True)):
        tidy(axes, start=start, end=end, label="")
        _dots(axes, run, mine, end)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -0.45), max(high, 1.45))
        axes.grid(axis="y", color=GRID)
        axes.set_ylabel(f"addresses of\n{name}", fontsize="small")
        if narrow:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=4, handletextpad=0.3, columnspacing=1.0)
        else:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)
        shade(axes, run.bands, label=number == 0)
        _mark_changes(axes, run, mine)
    panels[-1].set_xlabel("time since the start of the run (s)")
    return figure


def _rows(run: RecordedRun, drawn: list[str], askers: list[list[SeriesKey]], start: int, end: int) -> Canvas:
    """A row per source, because the dots of many sources would hide each other."""
    heights = [max(0.7, (0.2 if len(mine) <= 24 else 0.11) * len(mine)) for mine in askers]
    figure = canvas(min(14.0, 0.9 + sum(heights)))
    panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    each = max(1, max(len(run.series[key]) for mine in askers for key in mine) - 1)
    grids = []
    for number, (axes, name, mine) in enumerate(zip(panels, drawn, askers, strict=True)):
        rows = [
            [(np.array([sample.t for sample in run.series[key]], np.int64), _CELL[outcomes(run, key)])] for key in mine
        ]
        grids.append(strips.cells(rows, start, end, min(strips.MOST_CELLS, each)))
        strips.strips(axes, grids[-1], start, end)
        strips.rules(axes, [row - 0.5 for row in range(1, len(mine))], 0.8)
        strips.name_rows(axes, [key[1] for key in mine], most=33)
        axes.set_xlabel("")
        axes.set_ylabel(f"{name}\nasked by", fontsize="small")
        shade(axes, run.bands, label=number == 0)
        _mark_changes(axes, run, mine)
    panels[-1].set_xlabel("time since the start of the run (s)")
    strips.legend(figure, np.concatenate(grids), _WORDS)
    return figure


def _mark_changes(axes: Axes, run: RecordedRun, askers: list[SeriesKey]) -> None:
    """A line at each change of the right answer."""
    for t in [e.start for e in run.epochs if any(k in e.answers for k in askers)][1:]:
        axes.axvline(seconds(t), color=MUTED, lw=0.5, alpha=0.3, zorder=0.4)


def _dots(axes: Axes, run: RecordedRun, askers: list[SeriesKey], end: int) -> None:
    """Dots are answers, the grey step is the expected number."""
    for index, key in enumerate(askers):
        # Sources are shifted a little, so that equal answers do not hide each other.
        offset = (index - (len(askers) - 1) / 2) * min(0.12, 0.5 / len(askers))
        good: list[Sample] = []
        wrong: list[Sample] = []
        for sample in run.series[key]:
            judged = run.judge(sample)
            (wrong if judged is False else good).append(sample)
        steps = [(epoch.start, len(epoch.answers[key])) for epoch in run.epochs if key in epoch.answers]
        if steps:
            times = [seconds(t) for t, _ in steps] + [seconds(end)]
            counts = [count + offset for _, count in steps]
            axes.step(
                times,
                [*counts, counts[-1]],
                where="post",
                color="#c3cad1",
                lw=points(3.2),
                zorder=1,
                label="should be" if index == 0 else None,
            )
        colour = SERIES[index % len(SERIES)]
        axes.plot(
            [seconds(s.t) for s in good],
            [len(s.answers) + offset for s in good],
            ls="",
            marker="o",
            ms=points(3.2),
            mew=0,
            color=colour,
            label=key[1],
            zorder=3,
        )
        axes.plot(
            [seconds(s.t) for s in wrong],
            [len(s.answers) + offset for s in wrong],
            ls="",
            marker="x",
            ms=points(5),
            mew=points(1.4),
            color=FAIL,
            label="wrong answer" if index == len(askers) - 1 else None,
            zorder=4,
        )
