"""Figure of a sweep: medians of times and traffic against a numeric parameter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from lab.figures.told import Told, table
from lab.plots.style import GRID, INK, SERIES, canvas
from lab.plots.style import points as sized
from lab.sweep.figures.shared import HALF, WORDS, cell, draw_floor, floor_words, seconds, values_axis, with_interval
from lab.sweep.groups import TRAFFIC, Group, floor_of, number, principal, sample_of, short, varying
from lab.sweep.statistics import Estimate, median

__all__ = ["scaling"]

_LIKE = 1.1
"""Two medians within this factor are called alike."""
Line = list[tuple[float, str, Estimate]]
"""(position on the axis, value as typed, median)."""


def scaling(groups: Sequence[Group], path: str, events: Sequence[str]) -> tuple[Told, Canvas] | None:
    """Medians against a parameter: times after events, bytes and messages per peer."""
    others = list(varying(groups).keys() - {path})
    time = "half" if any(principal(groups, event) == "half" for event in events) else "overall"
    series = _lines(groups, path, events, split=bool(others))
    title = "time for half of the pairs (s)" if time == "half" else "time to settle (s)"
    views = [("topology", "time until views agree (s)")] if time == "half" else []
    panels = [(time, title), *views, *((metric, WORDS[metric]) for metric in TRAFFIC)]
    panels = [(metric, title) for metric, title in panels if any(series[metric].values())]
    if not panels:
        return None
    figure = canvas(4.4, wide=True)
    rows: list[tuple[Any, ...]] = []
    names = dict.fromkeys(name for metric, _ in panels for name, points in series[metric].items() if points)
    colours = dict(zip(names, SERIES, strict=False))
    floor = max((floor_of(groups, event, time) for event in events), default=0.0)
    for place, (metric, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        lines = {name: points for name, points in series[metric].items() if points}
        limit = floor if metric == time else 0.0
        for name, points in lines.items():
            if name not in colours:
                continue
            known = [(at, band) for at, _, band in points if np.isfinite(band.value)]
            # A value below the floor is drawn at the floor, with the mark of an upper limit.
            drawn = [(at, Estimate(limit, 0.0, limit) if band.value < limit else band) for at, band in known]
            bars = [[_below(band) for _, band in drawn], [_above(band) for _, band in drawn]]
            axes.errorbar(
                [at for at, _ in drawn], [band.value for _, band in drawn], yerr=bars, color=colours[name],
                marker="o", ms=sized(4.5), lw=sized(1.6), capsize=sized(3), elinewidth=sized(1),
            )  # fmt: skip
            below = [at for at, band in known if band.value < limit]
            axes.plot(below, [limit] * len(below), "v", color=colours[name], ms=sized(9))
            rows += [
                (metric, name, value, *map(cell, (band.value, band.low, band.high, limit))) for _, value, band in points
            ]
        _scale_axes(axes, {at: value for points in lines.values() for at, value, _ in points})
        axes.set_title(title)
        axes.set_xlabel(short(path))
        bounds = [bound for points in lines.values() for _, _, band in points for bound in (band.value, band.high)]
        values_axis(axes.yaxis, [*bounds, limit] if limit else bounds)
        axes.grid(color=GRID)
        if metric == time:
            draw_floor(axes.axhline, floor)
    if len(colours) > 1:
        marks = [
            Line2D([], [], color=colour, marker="o", ms=sized(4.5), lw=sized(1.6), label=name)
            for name, colour in colours.items()
        ]
        figure.legend(
            handles=marks, loc="outside lower center", ncols=min(len(marks), 4), labelcolor=INK, frameon=False
        )
    text = Told(
        name=f"scaling-{short(path).replace(' ', '-')}",
        title=f"What changes with {short(path)}" if others else _growth(path, series, time, floor),
        caption=f"Medians over the runs{with_interval(groups)}. Traffic is what a peer sent from the event to "
        f"the next change.{HALF if time == 'half' else ''}{floor_words(floor)}",
        csv=table(("metric", "line", path, "median", "low", "high", "floor_s"), rows),
    )
    return text, figure


def _lines(groups: Sequence[Group], path: str, events: Sequence[str], *, split: bool) -> dict[str, dict[str, Line]]:
    """Metric -> name of a line -> its points: one line per event, or (`split`) one line per combination of the other
    parameters after the first event."""
    found: dict[str, dict[str, Line]] = {metric: {} for metric in ("half", "overall", "topology", *TRAFFIC)}
    for group in groups:
        value = dict(group.assignment).get(path)
        if value is None:
            continue
        rest = ", ".join(f"{short(key)} {other}" for key, other in group.assignment if key != path)
        for event in events[:1] if split else events[:4]:
            for metric, lines in found.items():
                sample = sample_of(group.points, event, metric)
                if len(sample):
                    lines.setdefault(rest if split else f"after {event}", []).append(
                        (number(value) or 0.0, value, median(sample))
                    )
    for lines in found.values():
        for points in lines.values():
            points.sort(key=lambda point: point[0])
    return found


def _growth(path: str, series: dict[str, dict[str, Line]], time: str, floor: float) -> str:
    """A sentence on the panels of times: the line that changes most from the first value to the last, and the others.
    Times below the floor say nothing; then it uses the time of the views."""
    lines, verb = series[time], "settling"
    if lines and all(band.value <= floor for points in lines.values() for _, _, band in points):
        if not series["topology"]:
            return f"With every {short(path)} it takes at most {seconds(floor)}, the interval of the probes"
        lines, verb, floor = series["topology"], "agreement of views", 0.0
    factors: dict[str, tuple[float, str, str]] = {}
    for name, points in lines.items():
        known = [(value, max(band.value, floor)) for _, value, band in points if np.isfinite(band.value)]
        if len(known) > 1 and known[0][1] > 0 and known[-1][1] > 0:
            factors[name] = known[-1][1] / known[0][1], known[0][0], known[-1][0]
    if not factors:
        return f"What changes with {short(path)}"
    name = max(factors, key=lambda each: abs(np.log(factors[each][0])))
    factor, first, last = factors[name]
    head = f"From {short(path)} {first} to {last}, {verb}"
    if 1 / _LIKE < factor < _LIKE:
        return f"{head} takes as long {name}" if len(factors) == 1 else f"{head} takes as long after each event"
    text = f"{head} {name} takes {factor:.1f} times as long"
    alike = [other for other, (change, *_) in factors.items() if other != name and 1 / _LIKE < change < _LIKE]
    unchanged = ", ".join(other.removeprefix("after ") for other in alike)
    return f"{text}; unchanged after {unchanged}" if alike else text


def _scale_axes(axes: Axes, values: dict[float, str]) -> None:
    """A logarithmic axis if the values grow by factors, with a tick at each value, labelled as typed in the sweep."""
    places = sorted(values)
    if len(places) > 2 and places[0] > 0 and places[-1] / places[0] >= 8:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(places, [values[place] for place in places])


def _below(band: Estimate) -> float:
    return max(band.value - band.low, 0) if np.isfinite(band.low) else 0.0


def _above(band: Estimate) -> float:
    return band.high - band.value if np.isfinite(band.high) else 0.0
