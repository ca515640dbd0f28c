"""What the figures of a sweep share: which settings are drawn in which colour, words, axes, numbers. Owns no figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, NullFormatter

from lab.plots.style import INK, SERIES, points
from lab.sweep.groups import Group, number, short, varying
from lab.sweep.statistics import FEWEST_FOR_AN_INTERVAL

__all__ = [
    "HALF",
    "WORDS",
    "cell",
    "coloured",
    "draw_floor",
    "floor_words",
    "legend",
    "seconds",
    "value_of",
    "values_axis",
    "with_interval",
]  # fmt: skip

_DECADES = 30
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
_MOST_CURVES = 12
"""More curves in one plot cannot be told apart: then only the first and last assignments are drawn."""
WORDS = {
    "half": "half of the pairs",
    "overall": "all together",
    "bytes_per_peer": "bytes sent per peer",
    "messages_per_peer": "messages per peer",
}
HALF = " Half of the pairs: until the middle one of those that the event disturbed was as it should be."


def coloured(groups: Sequence[Group]) -> list[tuple[Group, str]]:
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


def with_interval(groups: Sequence[Group]) -> str:
    several = any(len(group.points) >= FEWEST_FOR_AN_INTERVAL for group in groups)
    return ", with 95 % bootstrap intervals" if several else " (one run a setting: no interval)"


def value_of(label: str) -> str:
    """The value alone, for a legend whose title is the parameter's name."""
    return label if "," in label else label.rpartition(" ")[2]


def legend(figure: Canvas, axes: Axes, groups: Sequence[Group]) -> None:
    """The settings, below the axes, where they hide no curve."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(handles), 60 // max(map(len, labels), default=1), 12))
    figure.legend(handles, labels, title=_legend_title(groups), loc="outside lower center", ncols=columns,
                  labelcolor=INK, columnspacing=1.4)  # fmt: skip


def _legend_title(groups: Sequence[Group]) -> str | None:
    paths = {path for group in groups for path, _ in group.assignment}
    return short(next(iter(paths))) if len(paths) == 1 else None


def values_axis(axis: Any, values: Sequence[float]) -> None:
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


def _thousands(value: float, _: Any) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:g}"


def draw_floor(line: Any, floor: float) -> None:
    """Mark the floor, below which times cannot be told apart."""
    if floor:
        line(floor, color=INK, lw=points(1), ls=":", label="probe interval")


def floor_words(floor: float) -> str:
    if not floor:
        return ""
    return (
        f" Dotted: the interval of the probes, {seconds(floor)}; a shorter time is only known to be shorter "
        "(triangles). "
        "Times that probes end are within bounds, and estimated as such (Turnbull)."
    )


def cell(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
