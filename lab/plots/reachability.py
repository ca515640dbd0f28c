"""Picture of which pairs reached each other, when: one row per pair over time, or one per source if there are many."""

import numpy as np
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from lab.checkers.run import RecordedRun
from lab.checkers.tries import LEAKED, MISSED, NOTHING, REACHED
from lab.checkers.world import SeriesKey
from lab.figures.reachability import WORDS, named_pairs, states
from lab.figures.told import seconds
from lab.plots import strips
from lab.plots.style import INK, canvas, points, shade

__all__ = ["timeline"]

_PAIRS = 60
"""Maximum number of pairs with a row each."""
_SOURCES = 128
"""Maximum number of rows of sources; above it neighbouring sources share a row."""
_CELL = np.zeros(8, dtype=np.int8)
_CELL[[NOTHING, REACHED, MISSED, LEAKED]] = strips.NO_TRY, strips.GOOD, strips.ALL, strips.LEAK
_SHARES = {
    strips.NO_TRY: "no try",
    strips.GOOD: "all reached",
    strips.LITTLE: "under 10 % not reached",
    strips.SOME: "under half not reached",
    strips.ALL: "half or more not reached",
    strips.LEAK: "reached across a cut",
}
_OUTCOMES = {
    strips.NO_TRY: WORDS[NOTHING],
    strips.GOOD: WORDS[REACHED],
    strips.ALL: WORDS[MISSED],
    strips.LEAK: WORDS[LEAKED],
}


def timeline(run: RecordedRun) -> Canvas | None:
    """Rows = pairs, or all pairs of a source; cells = tries, in order of time."""
    pairs = named_pairs(run)
    if not pairs:
        return None
    start = min(run.series[key][0].t for _, key in pairs)
    end = max(min(run.end, run.stop), start + 1)
    # One less than the number of tries: a cell narrower than their interval would sometimes be empty.
    each = max(1, max(len(run.series[key]) for _, key in pairs) - 1)
    if len(pairs) <= _PAIRS:
        names, rows, words = [name for name, _ in pairs], [[key] for _, key in pairs], _OUTCOMES
    else:
        names, rows = _by_source(run.pairs)
        words = _SHARES
        each *= max(1, min(map(len, rows)) // 16)  # their tries are spread over the interval
    grid = strips.cells([[_tries(run, key) for key in row] for row in rows], start, end, min(strips.MOST_CELLS, each))
    figure = canvas(min(14.0, 1.35 + (0.27 if len(rows) <= 24 else 0.12) * len(rows)))
    axes = figure.add_subplot()
    strips.strips(axes, grid, start, end)
    if words is _OUTCOMES:
        edges = range(1, len(rows))
        strips.rules(axes, [row - 0.5 for row in edges if rows[row][0][1] == rows[row - 1][0][1]], 2.2)
        strips.rules(axes, [row - 0.5 for row in edges if rows[row][0][1] != rows[row - 1][0][1]], 5)
    else:
        strips.rules(axes, [row - 0.5 for row in range(1, len(rows))], 2.2 if len(rows) <= 24 else 0.8)
        axes.set_ylabel(f"source (each row: its {'' if len(rows[0]) == 1 else f'{len(rows[0])} '}targets)")
    for band in run.bands:
        for t in (band.start, band.end) if band.healed else (band.start,):
            axes.axvline(seconds(t), color=INK, lw=points(1.1), ls=(0, (4, 2)), zorder=3)
    shade(axes, run.bands)
    strips.name_rows(axes, names)
    strips.legend(figure, grid, words)
    return figure


def _by_source(pairs: tuple[SeriesKey, ...]) -> tuple[list[str], list[list[SeriesKey]]]:
    """(name of each row, its pairs)."""
    found: dict[str, list[SeriesKey]] = {}
    for key in pairs:
        found.setdefault(key[1], []).append(key)
    sources = list(found)
    size = -(-len(sources) // _SOURCES)
    parts = [sources[place : place + size] for place in range(0, len(sources), size)]
    names = [part[0] if len(part) == 1 else f"{part[0]} … {part[-1]}" for part in parts]
    return names, [[key for source in part for key in found[source]] for part in parts]


def _tries(run: RecordedRun, key: SeriesKey) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """(due times, outcomes as in `strips`)."""
    samples = run.series[key]
    due = np.fromiter((sample.t for sample in samples), np.int64, len(samples))
    return due, _CELL[np.array(states(run, key), dtype=np.int8)]
