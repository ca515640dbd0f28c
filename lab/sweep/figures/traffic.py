"""Figure of a sweep: the traffic that each peer sent after each event."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from lab.figures.told import Told, table
from lab.plots.style import GRID, INK, canvas, points
from lab.sweep.figures.shared import WORDS, cell, coloured, legend, value_of, values_axis
from lab.sweep.groups import TRAFFIC, Group, sample_of
from lab.sweep.statistics import median

__all__ = ["traffic"]


def traffic(groups: Sequence[Group], events: Sequence[str]) -> tuple[Told, Canvas] | None:
    """Traffic sent by each peer after each event, one group of dots per event."""
    named = [event for event in events if any(len(sample_of(group.points, event, TRAFFIC[0])) for group in groups)]
    if not named:
        return None
    shown = coloured(groups)
    figure = canvas(1.5 + (0.34 + 0.16 * len(shown)) * len(named), wide=True)
    rows: list[tuple[Any, ...]] = []
    for place, metric in enumerate(TRAFFIC, 1):
        axes = figure.add_subplot(1, 2, place)
        for row, event in enumerate(named):
            for index, (group, colour) in enumerate(shown):
                sample = sample_of(group.points, event, metric)
                if not len(sample):
                    continue
                band = median(sample)
                y = row + (index - (len(shown) - 1) / 2) * 0.7 / len(shown)
                low, high = np.quantile(sample.values, (0.05, 0.95))
                axes.plot([low, high], [y, y], color=colour, lw=points(3), alpha=0.35, solid_capstyle="round")
                axes.plot(
                    [band.value], [y], "o", color=colour, ms=points(5), label=value_of(group.label) if not row else None
                )
                rows.append((group.label, event, metric, *map(cell, (band.value, band.low, band.high, low, high))))
        axes.set_yticks(range(len(named)), named if place == 1 else [""] * len(named), color=INK)
        axes.set_ylim(len(named) - 0.4, -0.6)
        values_axis(axes.xaxis, [float(row[3]) for row in rows if row[2] == metric])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID)
        axes.set_title(WORDS[metric])
        if place == 1 and len(shown) > 1:
            legend(figure, axes, groups)
    text = Told(
        name="traffic",
        title=_most_talk(groups, named),
        caption="Dots: the median over the runs of what a peer sent from the event to the next change; bars: from the "
        "5th to the 95th percentile.",
        csv=table(("assignment", "event", "metric", "median", "low", "high", "p5", "p95"), rows),
    )
    return text, figure


def _most_talk(groups: Sequence[Group], events: Sequence[str]) -> str:
    sums = {
        event: max(
            median(sample).value
            for group, _ in coloured(groups)
            if len(sample := sample_of(group.points, event, TRAFFIC[0]))
        )
        for event in events
    }
    worst = max(sums, key=lambda event: sums[event])
    return f"Peers send most after {worst}: {_bytes(sums[worst])} each"


def _bytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB" if value >= 1e3 else f"{value:.0f} B"
