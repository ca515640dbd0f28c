"""The common style of all figures: colours, fonts, time axes, fault bands, and how a figure is written.

Colours are those of Okabe and Ito, which are safe for colour-blind readers; important ones also differ in lightness.
Knows nothing of histories except the bands to shade.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from lab.checkers.run import FaultBand
from lab.figures.told import Told, seconds, table

__all__ = [
    "BAND",
    "FAIL",
    "GRID",
    "GROUPS",
    "INK",
    "MUTED",
    "NONE",
    "OK",
    "SERIES",
    "UNWANTED",
    "Figure",
    "canvas",
    "context",
    "render",
    "seconds",
    "shade",
    "table",
    "tidy",
]

INK, MUTED, GRID, NONE = "#1c2733", "#66727f", "#e3e7eb", "#eceff2"
OK, FAIL, UNWANTED = "#4db391", "#d55e00", "#7a1fa2"
"""Reachable as expected; not reached; reached across a cut."""
BAND = "#e69f00"
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#000000")
GROUPS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": "#aab3bc",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 150,
    "svg.hashsalt": "overlay-lab",
}


_BARE: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata that would differ from run to run for the same data, by format."""


class Figure(Told, frozen=True, kw_only=True):
    """One figure: its text, and its picture."""

    png: bytes


def canvas(width: float, height: float) -> Canvas:
    """A figure of this size in inches; use only inside `mpl.rc_context(RC)` (see `render`)."""
    figure = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def render(figure: Canvas, form: str = "png") -> bytes:
    """The picture, without metadata that differs from run to run for the same data."""
    out = io.BytesIO()
    figure.savefig(out, format=form, metadata=_BARE[form])
    return out.getvalue()


def shade(axes: Axes, bands: Sequence[FaultBand], *, label: bool = True) -> None:
    """Shade the faults behind the data and write the name of each above the axes."""
    low, high = axes.get_xlim()
    last = float("-inf")
    for band in bands:
        start, end = seconds(band.start), seconds(band.end)
        if end < low or start > high:
            continue  # a name outside the axes would leave them no room
        axes.axvspan(start, end, color=band.colour or BAND, alpha=0.14, lw=0, zorder=0)
        for edge in (start, end) if band.healed else (start,):
            axes.axvline(edge, color=band.colour or BAND, lw=1.0, zorder=0.5)
        # Names of faults that follow each other closely would overlap.
        if label and start - last > (high - low) * 0.12:
            text = band.label if len(band.label) <= 44 else band.label[:43] + "…"
            right = start > low + (high - low) * 0.7
            axes.text(
                min(end, high) if right else max(start, low),
                1.012,
                text,
                transform=axes.get_xaxis_transform(),
                ha="right" if right else "left",
                va="bottom",
                fontsize=8.5,
                color=_darker(band.colour or BAND),
                clip_on=False,
            )
            last = start


def _darker(colour: str) -> str:
    """A darker shade, readable as text on white."""
    return "#" + "".join(f"{int(int(colour[i : i + 2], 16) * 0.6):02x}" for i in (1, 3, 5))


def tidy(axes: Axes, *, start: int, end: int, label: str = "time since the start of the run (s)") -> None:
    """A time axis from start to end (ns)."""
    axes.set_xlim(seconds(start), max(seconds(end), seconds(start) + 0.1))
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))


def context() -> Any:
    """The style, for a `with` around all drawing."""
    return mpl.rc_context(RC)
