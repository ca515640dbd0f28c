"""Pictures of faults: small N×N matrices of pairs before, during and after each."""

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure as Canvas

from lab.checkers.run import RecordedRun
from lab.figures.matrices import shares
from lab.plots.style import INK, MUTED, canvas, hatched, nothing, points
from lab.words import natural

__all__ = ["matrices"]

_TICKS = 16
"""Maximum number of names along an axis; of more, every second name is written, or fewer."""


def matrices(run: RecordedRun) -> Canvas | None:
    """For each fault, the share of successful tries of every pair before, during and after."""
    found = shares(run)
    if not found:
        return None
    names = sorted({name for key in run.pairs for name in key[1:]}, key=natural)
    place = {name: index for index, name in enumerate(names)}
    size = min(2.7, max(1.6, 0.4 * len(names)))
    figure = canvas(len(found) * (size + 1.15) + 0.4, wide=True)
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
            hatched(axes)
            image = axes.imshow(np.ma.masked_invalid(share), cmap=_SHARE, vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(title, fontsize="medium")
            axes.spines[:].set_visible(False)
            first = axes is line[0]
            _names(axes, names)
            axes.tick_params(labelleft=first)
            if first:
                axes.set_ylabel(f"{fill(_short(band.label), 18)}\n\nfrom", color=MUTED)
            axes.set_xlabel("to")
    if image is not None:
        bar = figure.colorbar(image, ax=grids, shrink=0.6, aspect=24, pad=0.02)
        bar.set_label("tries that succeeded")
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
        figure.legend(handles=[nothing("no try")], loc="outside lower right", handlelength=1.8, handleheight=1.2)
    return figure


def _names(axes: Axes, names: list[str]) -> None:
    """Names along both axes, and lines between the cells."""
    step = -(-len(names) // _TICKS)
    shown = list(range(0, len(names), step))
    size = "small" if len(names) <= 8 else "x-small"
    labels = [names[place] for place in shown]
    many = len(names) > 8
    axes.set_xticks(
        shown, labels, color=INK, fontsize=size, rotation=90 if many else 40, ha="center" if many else "right"
    )
    axes.set_yticks(shown, labels, color=INK, fontsize=size)
    axes.tick_params(which="major", length=2 if step > 1 else 0)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="white", lw=points(2 if len(names) <= _TICKS else 0.3))


def _short(label: str) -> str:
    return label if len(label) <= 48 else f"{label[:47]}…"


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
