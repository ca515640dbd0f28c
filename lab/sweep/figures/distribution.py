"""Figure of a sweep: the distribution of every time after an event, one curve per setting."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from lab.figures.told import Told, table
from lab.plots.style import GRID, canvas, points
from lab.sweep.figures.shared import (
    HALF,
    WORDS,
    cell,
    coloured,
    draw_floor,
    floor_words,
    legend,
    seconds,
    value_of,
    with_interval,
)
from lab.sweep.groups import Group, floor_of, metrics_of, principal, sample_of, waited
from lab.sweep.statistics import FEWEST_FOR_AN_INTERVAL, CensoredSample, Curve, curve, median
from lab.words import count

__all__ = ["distribution"]

_ALPHA = 0.18
_WAITED = (
    " A step waits here until all has settled, so when a run is cut short depends on what is measured: those that had "
    "not settled may not be like the others."
)


def distribution(groups: Sequence[Group], event: str) -> tuple[Told, Canvas]:
    """Distribution functions of every time after an event, one curve per assignment, with bands."""
    metrics = metrics_of(groups, event)
    shown = coloured(groups)
    figure = canvas(4.9, wide=True)
    columns = max(2, len(metrics) // 2)
    layout = figure.add_gridspec(2, 2 + columns, width_ratios=(1, 1, *(1.64 / columns for _ in range(columns))))
    places = [layout[:, :2], *(layout[row, 2 + column] for row in range(2) for column in range(columns))]
    rows: list[tuple[Any, ...]] = []
    for place, metric in zip(places if len(metrics) > 1 else [layout[:, :]], metrics, strict=False):
        axes = figure.add_subplot(place)
        samples = [sample_of(group.points, event, metric) for group, _ in shown]
        floor = floor_of([group for group, _ in shown], event, metric)
        end = max(_right_end(samples), 1.12 * floor)
        for (group, colour), sample in zip(shown, samples, strict=True):
            limit = cell(floor_of([group], event, metric))
            rows += [(*row, limit) for row in _one_curve(axes, sample, end, colour, group.label, metric)]
        axes.set_ylim(-0.02, 1.04)
        axes.set_xlim(0, end)
        draw_floor(axes.axvline, floor)
        axes.grid(color=GRID)
        axes.set_title(WORDS.get(metric, metric))
        if metric == metrics[0]:
            axes.set_xlabel(f"time after {event} (s)")
            axes.set_ylabel("share of runs that had settled")
        else:
            axes.set_xlabel("s")
        if metric == metrics[0] and any(group.label for group, _ in shown):
            legend(figure, axes, groups)
    text = Told(
        name=f"after-{event}",
        title=_finding(groups, event),
        caption=f"How many of the runs had settled by when{with_interval(groups)}{_of_how_many(groups)}. "
        "Where a curve ends below 1, the next change came, or the run ended, before the rest had settled."
        + (HALF if metrics[0] == "half" else "")
        + floor_words(floor_of(groups, event, metrics[0]))
        + (_WAITED if waited(groups, event) else ""),
        csv=table(("assignment", "metric", "time_s", "share", "low", "high", "floor_s"), rows),
    )
    return text, figure


def _one_curve(
    axes: Axes, sample: CensoredSample, end: float, colour: str, label: str, metric: str
) -> list[tuple[Any, ...]]:
    if len(sample) == 0:
        return []
    found = curve(sample)
    at, share = [0.0, *found.at, end], [0.0, *found.share, found.share[-1] if len(found.share) else 0.0]
    axes.plot(at, share, drawstyle=_style(found), color=colour, lw=points(1.8), label=value_of(label))
    if len(found.at) and len(sample) >= FEWEST_FOR_AN_INTERVAL:
        low = [0.0, *found.low, found.low[-1]]
        high = [0.0, *found.high, found.high[-1]]
        axes.fill_between(at, low, high, step=None if found.sloped else "post", color=colour, alpha=_ALPHA, lw=0)
    every = zip(found.at, found.share, found.low, found.high, strict=True)
    return [(label, metric, *(cell(each) for each in cells)) for cells in every]


def _style(found: Curve) -> str:
    """The drawing style: interval-censored times are joined by lines."""
    return "default" if found.sloped else "steps-post"


def _finding(groups: Sequence[Group], event: str) -> str:
    """A sentence on the drawn settings: the time by which half of the runs had settled."""
    metric = principal(groups, event)
    middles = [median(sample) for group, _ in coloured(groups) if len(sample := sample_of(group.points, event, metric))]
    known = [band.value for band in middles if np.isfinite(band.value)]
    if not known:
        return f"After {event} fewer than half of the runs settled"
    floor = floor_of(groups, event, metric)
    low, high = (seconds(max(value, floor)) for value in (min(known), max(known)))
    what = "half of the pairs were right" if metric == "half" else "half of the runs had settled"
    text = f"After {event} {what} within {low if low == high else f'{low} to {high}'}"
    text += " in half of the runs" if metric == "half" else ""
    never = len(middles) - len(known)
    return f"{text}; with {never} of {count(len(middles), 'setting')} fewer than half settled" if never else text


def _of_how_many(groups: Sequence[Group]) -> str:
    shown = len(coloured(groups))
    return f"; {shown} of {len(groups)} settings are drawn" if shown < len(groups) else ""


def _right_end(samples: Sequence[CensoredSample]) -> float:
    """End of the axis: slightly after the last reached time (a window may be far longer)."""
    reached = [float(sample.values[sample.reached].max()) for sample in samples if sample.reached.any()]
    return max(reached, default=1.0) * 1.12 or 1.0
