"""Picture of a mesh of many hosts: one disc per cell of hosts (`lab.figures.mesh_groups`), lines with their numbers."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from lab.checkers.run import RecordedRun
from lab.figures.mesh_groups import MeshCell, MeshMoment, mesh_cells, mesh_counts
from lab.plots.style import BAND, GROUPS, INK, MUTED, canvas, points
from lab.words import count

__all__ = ["by_groups"]

_DOWN = "#b5bdc5"
Place = tuple[float, float]


def by_groups(run: RecordedRun) -> Canvas:
    """One panel per moment; cells have the same place in all of them."""
    cells = mesh_cells(run)
    moments = mesh_counts(run, cells)
    places, radius = _layout(len(cells))
    low = len(cells) <= 2
    figure = canvas(2.7 if low else 4.2, wide=True)
    panels = figure.subplots(1, len(moments), squeeze=False)[0]
    for axes, moment in zip(panels, moments, strict=True):
        _draw(axes, cells, moment, places, radius)
        axes.set_title(moment.title, fontsize="medium", color=MUTED)
        axes.set_axis_off()
        axes.set_xlim(-1.75, 1.75)
        axes.set_ylim((-1.0, 0.8) if low else (-1.85, 1.75))
        axes.set_aspect("equal")
    shown = [
        Line2D([], [], color=INK, lw=points(1.8), label="connections, with their number"),
        Line2D([], [], color=BAND, lw=points(1.8), ls=(0, (3, 2)), label="of these known to one peer only"),
        Line2D([], [], color=MUTED, marker="o", ls="", ms=points(12), label="hosts that were together"),
    ]
    figure.legend(handles=shown, loc="outside lower right", ncols=3)
    return figure


def _layout(number: int) -> tuple[list[Place], float]:
    """(places of the cells, radius of the largest disc)."""
    if number == 1:
        return [(0.0, 0.0)], 0.62
    if number == 2:
        return [(-0.85, 0.0), (0.85, 0.0)], 0.52
    angles = [2 * math.pi * index / number for index in range(number)]
    return [(math.sin(angle), math.cos(angle)) for angle in angles], min(0.42, 0.72 * math.sin(math.pi / number))


def _draw(axes: Axes, cells: list[MeshCell], moment: MeshMoment, places: list[Place], radius: float) -> None:
    largest = max(len(cell.hosts) for cell in cells)
    most = max([1, *moment.between.values()])
    for ends in sorted({*moment.between, *(ends for ends in moment.onesided if ends[0] != ends[1])}):
        number, single = moment.between.get(ends, 0), moment.onesided.get(ends, 0)
        (x, y), (u, v) = places[ends[0]], places[ends[1]]
        if number:
            axes.plot((x, u), (y, v), color=INK, lw=points(1 + 3 * number / most), alpha=0.6, zorder=1)
        if single:
            axes.plot((x, u), (y, v), color=BAND, lw=points(1.8), ls=(0, (3, 2)), zorder=1.5)
        # Not in the middle, where lines of a ring cross.
        at = 0.5 if len(cells) <= 3 else 0.36
        axes.text(
            x + at * (u - x), y + at * (v - y), f"{number}" + (f" +{single}" if single else ""), ha="center",
            va="center", fontsize="small" if len(cells) <= 6 else "x-small", color=INK, zorder=2,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
        )  # fmt: skip
    for index, (cell, (x, y)) in enumerate(zip(cells, places, strict=True)):
        group = moment.group[index]
        size = radius * max(0.45, math.sqrt(len(cell.hosts) / largest))
        face = "white" if group is None else GROUPS[group % len(GROUPS)]
        axes.add_patch(
            Circle((x, y), size, fc=face, ec=_DOWN if group is None else face, lw=points(1.5), zorder=3,
                   ls="--" if group is None and not cell.mixed else "-")
        )  # fmt: skip
        axes.text(x, y, str(len(cell.hosts)), ha="center", va="center", fontsize="large", fontweight="bold",
                  color=INK if group is None else "white", zorder=4)  # fmt: skip
        outward = _outward(x, y, len(cells))
        axes.text(
            x + (size + 0.08) * outward[0], y + (size + 0.08) * outward[1], _words(cell, moment, index, len(cells)),
            ha="center" if abs(outward[0]) < 0.4 else "left" if outward[0] > 0 else "right",
            va="center" if abs(outward[1]) < 0.4 else "bottom" if outward[1] > 0 else "top",
            fontsize="small" if len(cells) <= 4 else "x-small", color=INK, zorder=5, linespacing=1.25,
        )  # fmt: skip


def _outward(x: float, y: float, number: int) -> Place:
    return (0.0, -1.0) if number <= 2 else (x, y)


def _words(cell: MeshCell, moment: MeshMoment, index: int, number: int) -> str:
    """The texts next to a disc; fewer if there are many discs."""
    single = moment.onesided.get((index, index), 0)
    inside = f"{moment.inside[index]} inside" + (f" +{single}" if single else "")
    if moment.group[index] is None and not cell.mixed:
        return f"{cell.name}\ndown"
    if number > 6:
        return f"{cell.name}\n{inside}"
    named = count(moment.containers[index], "container")
    return f"{cell.name}\n{inside}" + (f"\n{named}" if moment.containers[index] else "")
