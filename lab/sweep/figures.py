"""The figures of a sweep: distributions of convergence times, their growth with a parameter, traffic per peer.

Each is a pure function from the groups of a sweep to a `Figure`, in the style of `lab.plots.style`. The same points
give the same bytes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from lab.plots.style import GRID, INK, SERIES, Figure, canvas, context, render, table
from lab.sweep.groups import (
    TRAFFIC,
    Group,
    floor_of,
    headline,
    metrics_of,
    number,
    principal,
    sample_of,
    settling,
    short,
    varying,
    waited,
)
from lab.sweep.statistics import FEWEST_FOR_AN_INTERVAL, CensoredSample, Curve, Estimate, curve, median
from lab.words import count

__all__ = ["figures"]

_MOST_EVENTS = 6
_MOST_CURVES = 12
"""More curves in one plot cannot be told apart: then only the first and last assignments are drawn."""
_ALPHA = 0.18
_DECADES = 30
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
_WORDS = {
    "half": "half of the pairs",
    "overall": "all together",
    "bytes_per_peer": "bytes sent per peer",
    "messages_per_peer": "messages per peer",
}

_HALF = " Half of the pairs: until the middle one of those that the event disturbed was as it should be."
_WAITED = (
    " A step waits here until all has settled, so when a run is cut short depends on what is measured: those that had "
    "not settled may not be like the others."
)


def figures(groups: Sequence[Group]) -> list[Figure]:
    """All figures for which these points have data, the most informative first."""
    events = settling(groups)
    first = headline(events)
    ordered = [first, *(event for event in events if event != first)][:_MOST_EVENTS] if events else []
    with context():
        drawn = [_distribution(groups, event) for event in ordered[:1]]
        drawn += [
            figure
            for path, values in varying(groups).items()
            if all(number(value) is not None for value in values)
            and (figure := _scaling(groups, path, ordered)) is not None
        ]
        drawn += [figure] if (figure := _traffic(groups, events)) is not None else []
        drawn += [_distribution(groups, event) for event in ordered[1:]]
    return drawn


def _shown(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    """The groups that are drawn, with their colours: a colour scale for a numeric parameter, otherwise distinct
    colours."""
    picked = list(groups)
    if len(picked) > _MOST_CURVES:
        places = np.linspace(0, len(picked) - 1, _MOST_CURVES).round().astype(int)
        picked = [picked[place] for place in places]
    ranked = varying(groups)
    ordinal = len(ranked) == 1 and all(number(value) is not None for value in next(iter(ranked.values())))
    if len(picked) > 2 and (ordinal or len(picked) > len(SERIES)):
        scale = colormaps["viridis"]
        return [(group, to_hex(scale(0.9 * place / (len(picked) - 1)))) for place, group in enumerate(picked)]
    return list(zip(picked, SERIES, strict=False))


def _distribution(groups: Sequence[Group], event: str) -> Figure:
    """Distribution functions of every time after an event, one curve per assignment, with bands."""
    metrics = metrics_of(groups, event)
    shown = _shown(groups)
    figure = canvas(11, 4.9)
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
            limit = _cell(floor_of([group], event, metric))
            rows += [(*row, limit) for row in _one_curve(axes, sample, end, colour, group.label, metric)]
        axes.set_ylim(-0.02, 1.04)
        axes.set_xlim(0, end)
        _draw_floor(axes.axvline, floor)
        axes.grid(color=GRID)
        axes.set_title(_WORDS.get(metric, metric))
        if metric == metrics[0]:
            axes.set_xlabel(f"time after {event} (s)")
            axes.set_ylabel("share of runs that had settled")
            if any(group.label for group, _ in shown):
                axes.legend(
                    loc="best",
                    title=_legend_title(groups),
                    labelcolor=INK,
                    frameon=True,
                    framealpha=0.85,
                    edgecolor="none",
                )
    return Figure(
        name=f"after-{event}",
        title=_finding(groups, event),
        caption=f"How many of the runs had settled by when{_with_interval(groups)}{_of_how_many(groups)}. "
        "Where a curve ends below 1, the next change came, or the run ended, before the rest had settled."
        + (_HALF if metrics[0] == "half" else "")
        + _floor_words(floor_of(groups, event, metrics[0]))
        + (_WAITED if waited(groups, event) else ""),
        png=render(figure),
        csv=table(("assignment", "metric", "time_s", "share", "low", "high", "floor_s"), rows),
    )


def _one_curve(
    axes: Axes, sample: CensoredSample, end: float, colour: str, label: str, metric: str
) -> list[tuple[Any, ...]]:
    if len(sample) == 0:
        return []
    found = curve(sample)
    at, share = [0.0, *found.at, end], [0.0, *found.share, found.share[-1] if len(found.share) else 0.0]
    axes.plot(at, share, drawstyle=_style(found), color=colour, lw=1.8, label=_value(label))
    if len(found.at) and len(sample) >= FEWEST_FOR_AN_INTERVAL:
        low = [0.0, *found.low, found.low[-1]]
        high = [0.0, *found.high, found.high[-1]]
        axes.fill_between(at, low, high, step=None if found.sloped else "post", color=colour, alpha=_ALPHA, lw=0)
    every = zip(found.at, found.share, found.low, found.high, strict=True)
    return [(label, metric, *(_cell(cell) for cell in cells)) for cells in every]


def _style(found: Curve) -> str:
    """The drawing style: interval-censored times are joined by lines."""
    return "default" if found.sloped else "steps-post"


def _draw_floor(line: Any, floor: float) -> None:
    """Mark the floor, below which times cannot be told apart."""
    if floor:
        line(floor, color=INK, lw=1, ls=":", label="probe interval")


def _floor_words(floor: float) -> str:
    if not floor:
        return ""
    return (
        f" Dotted: the interval of the probes, {_seconds(floor)}; a shorter time is only known to be shorter "
        "(triangles). "
        "Times that probes end are within bounds, and estimated as such (Turnbull)."
    )


def _scaling(groups: Sequence[Group], path: str, events: Sequence[str]) -> Figure | None:
    """Medians against a parameter: times after events, bytes and messages per peer."""
    others = list(varying(groups).keys() - {path})
    time = "half" if any(principal(groups, event) == "half" for event in events) else "overall"
    series = _lines(groups, path, events, split=bool(others))
    title = "time for half of the pairs (s)" if time == "half" else "time to settle (s)"
    views = [("topology", "time until views agree (s)")] if time == "half" else []
    panels = [(time, title), *views, *((metric, _WORDS[metric]) for metric in TRAFFIC)]
    panels = [(metric, title) for metric, title in panels if any(series[metric].values())]
    if not panels:
        return None
    figure = canvas(11 if len(panels) < 4 else 14, 4.4)
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
                marker="o", ms=4.5, lw=1.6, capsize=3, elinewidth=1,
            )  # fmt: skip
            below = [at for at, band in known if band.value < limit]
            axes.plot(below, [limit] * len(below), "v", color=colours[name], ms=9)
            rows += [
                (metric, name, value, *map(_cell, (band.value, band.low, band.high, limit)))
                for _, value, band in points
            ]
        _scale_axes(axes, {at: value for points in lines.values() for at, value, _ in points})
        axes.set_title(title)
        axes.set_xlabel(short(path))
        bounds = [bound for points in lines.values() for _, _, band in points for bound in (band.value, band.high)]
        _values_axis(axes.yaxis, [*bounds, limit] if limit else bounds)
        axes.grid(color=GRID)
        if metric == time:
            _draw_floor(axes.axhline, floor)
    if len(colours) > 1:
        marks = [
            Line2D([], [], color=colour, marker="o", ms=4.5, lw=1.6, label=name) for name, colour in colours.items()
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), labelcolor=INK, frameon=False)
    return Figure(
        name=f"scaling-{short(path).replace(' ', '-')}",
        title=f"What changes with {short(path)}" if others else _growth(path, series, time, floor),
        caption=f"Medians over the runs{_with_interval(groups)}. Traffic is what a peer sent from the event to "
        f"the next change.{_HALF if time == 'half' else ''}{_floor_words(floor)}",
        png=render(figure),
        csv=table(("metric", "line", path, "median", "low", "high", "floor_s"), rows),
    )


Line = list[tuple[float, str, Estimate]]
"""(position on the axis, value as typed, median)."""


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


def _traffic(groups: Sequence[Group], events: Sequence[str]) -> Figure | None:
    """Traffic sent by each peer after each event, one group of dots per event."""
    named = [event for event in events if any(len(sample_of(group.points, event, TRAFFIC[0])) for group in groups)]
    if not named:
        return None
    shown = _shown(groups)
    figure = canvas(11, 1.5 + (0.34 + 0.16 * len(shown)) * len(named))
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
                axes.plot([low, high], [y, y], color=colour, lw=3, alpha=0.35, solid_capstyle="round")
                axes.plot([band.value], [y], "o", color=colour, ms=5, label=_value(group.label) if not row else None)
                rows.append((group.label, event, metric, *map(_cell, (band.value, band.low, band.high, low, high))))
        axes.set_yticks(range(len(named)), named if place == 1 else [""] * len(named), color=INK)
        axes.set_ylim(len(named) - 0.4, -0.6)
        _values_axis(axes.xaxis, [float(row[3]) for row in rows if row[2] == metric])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID)
        axes.set_title(_WORDS[metric])
        if place == 2 and len(shown) > 1:
            axes.legend(title=_legend_title(groups), labelcolor=INK, frameon=True, framealpha=0.85, edgecolor="none")
    return Figure(
        name="traffic",
        title=_most_talk(groups, named),
        caption="Dots: the median over the runs of what a peer sent from the event to the next change; bars: from the "
        "5th to the 95th percentile.",
        png=render(figure),
        csv=table(("assignment", "event", "metric", "median", "low", "high", "p5", "p95"), rows),
    )


def _finding(groups: Sequence[Group], event: str) -> str:
    """A sentence on the drawn settings: the time by which half of the runs had settled."""
    metric = principal(groups, event)
    middles = [median(sample) for group, _ in _shown(groups) if len(sample := sample_of(group.points, event, metric))]
    known = [band.value for band in middles if np.isfinite(band.value)]
    if not known:
        return f"After {event} fewer than half of the runs settled"
    floor = floor_of(groups, event, metric)
    low, high = (_seconds(max(value, floor)) for value in (min(known), max(known)))
    what = "half of the pairs were right" if metric == "half" else "half of the runs had settled"
    text = f"After {event} {what} within {low if low == high else f'{low} to {high}'}"
    text += " in half of the runs" if metric == "half" else ""
    never = len(middles) - len(known)
    return f"{text}; with {never} of {count(len(middles), 'setting')} fewer than half settled" if never else text


_LIKE = 1.1
"""Two medians within this factor are called alike."""


def _growth(path: str, series: dict[str, dict[str, Line]], time: str, floor: float) -> str:
    """A sentence on the panels of times: the line that changes most from the first value to the last, and the others.
    Times below the floor say nothing; then it uses the time of the views."""
    lines, verb = series[time], "settling"
    if lines and all(band.value <= floor for points in lines.values() for _, _, band in points):
        if not series["topology"]:
            return f"With every {short(path)} it takes at most {_seconds(floor)}, the interval of the probes"
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


def _most_talk(groups: Sequence[Group], events: Sequence[str]) -> str:
    sums = {
        event: max(
            median(sample).value
            for group, _ in _shown(groups)
            if len(sample := sample_of(group.points, event, TRAFFIC[0]))
        )
        for event in events
    }
    worst = max(sums, key=lambda event: sums[event])
    return f"Peers send most after {worst}: {_bytes(sums[worst])} each"


def _with_interval(groups: Sequence[Group]) -> str:
    several = any(len(group.points) >= FEWEST_FOR_AN_INTERVAL for group in groups)
    return ", with 95 % bootstrap intervals" if several else " (one run a setting: no interval)"


def _of_how_many(groups: Sequence[Group]) -> str:
    shown = len(_shown(groups))
    return f"; {shown} of {len(groups)} settings are drawn" if shown < len(groups) else ""


def _right_end(samples: Sequence[CensoredSample]) -> float:
    """End of the axis: slightly after the last reached time (a window may be far longer)."""
    reached = [float(sample.values[sample.reached].max()) for sample in samples if sample.reached.any()]
    return max(reached, default=1.0) * 1.12 or 1.0


def _scale_axes(axes: Axes, values: dict[float, str]) -> None:
    """A logarithmic axis if the values grow by factors, with a tick at each value, labelled as typed in the sweep."""
    places = sorted(values)
    if len(places) > 2 and places[0] > 0 and places[-1] / places[0] >= 8:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(places, [values[place] for place in places])


def _values_axis(axis: Any, values: Sequence[float]) -> None:
    """An axis from zero, or a logarithmic one if small values would all lie on the zero line."""
    known = [value for value in values if np.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    vertical = axis.axis_name == "y"
    if low > 0 and high / low >= _DECADES:
        (axis.axes.set_yscale if vertical else axis.axes.set_xscale)("log")
        limits = (low / 1.6, high * 1.6)
    else:
        limits = (0.0, high * 1.08 or 1.0)
    (axis.axes.set_ylim if vertical else axis.axes.set_xlim)(*limits)
    axis.set_major_formatter(FuncFormatter(_thousands))
    axis.set_minor_formatter(NullFormatter())


def _below(band: Estimate) -> float:
    return max(band.value - band.low, 0) if np.isfinite(band.low) else 0.0


def _above(band: Estimate) -> float:
    return band.high - band.value if np.isfinite(band.high) else 0.0


def _value(label: str) -> str:
    """The value alone, for a legend whose title is the parameter's name."""
    return label if "," in label else label.rpartition(" ")[2]


def _legend_title(groups: Sequence[Group]) -> str | None:
    paths = {path for group in groups for path, _ in group.assignment}
    return short(next(iter(paths))) if len(paths) == 1 else None


def _thousands(value: float, _: Any) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:g}"


def _cell(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _bytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB" if value >= 1e3 else f"{value:.0f} B"
