"""The common style of all figures: colours, fonts, widths, time axes, fault bands, and how a figure is written.

Colours are those of Okabe and Ito, which are safe for colour-blind readers; important ones also differ in lightness.
What was not tried is hatched, not coloured, so that it cannot be taken for a result. `STYLES` has one style for the
screen and two for papers; `context` puts one of them in force, and all sizes come from it. Knows nothing of histories
except the bands to shade.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from msgspec import Struct

from lab.checkers.run import FaultBand
from lab.figures.told import Told, seconds, table

__all__ = [
    "BAND",
    "COLUMN",
    "FAIL",
    "GRID",
    "GROUPS",
    "INK",
    "MUTED",
    "OK",
    "SERIES",
    "STYLES",
    "UNWANTED",
    "DrawnFigure",
    "Style",
    "canvas",
    "context",
    "hatched",
    "nothing",
    "points",
    "render",
    "renders",
    "seconds",
    "shade",
    "style",
    "table",
    "tidy",
]

INK, MUTED, GRID = "#1c2733", "#66727f", "#e3e7eb"
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
    "hatch.linewidth": 0.7,
    "svg.hashsalt": "overlay-lab",
}

_PAPER: dict[Any, Any] = RC | {
    "font.size": 7.5, "axes.labelsize": 7.5, "axes.titlesize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 6.5, "axes.linewidth": 0.6, "lines.linewidth": 1.1, "pdf.fonttype": 42, "ps.fonttype": 42,
    "svg.fonttype": "none", "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "figure.dpi": 300,
    "hatch.linewidth": 0.5,
}  # fmt: skip
"""TrueType fonts in PDF, as publishers require; text stays text in SVG."""
_MM = 1 / 25.4
COLUMN = 84 * _MM
"""Width of a column of a paper in inches: those of ACM and IEEE are 84 to 88 mm wide."""


class Style(Struct, frozen=True, kw_only=True):
    """Sizes and fonts of figures. Lengths in inches."""

    name: str
    about: str
    rc: dict[Any, Any]
    column: float
    """Width of a figure with one panel."""
    page: float
    """Width of a figure with panels next to each other."""
    scale: float = 1.0
    """Size of heights, lines and marks, relative to the screen."""


STYLES = {
    each.name: each
    for each in (
        Style(name="screen", about="11 inches wide", rc=RC, column=11, page=11),
        Style(
            name="paper", about="one or two columns wide (84 or 178 mm)", rc=_PAPER, column=COLUMN, page=178 * _MM,
            scale=0.64,
        ),
    )
}  # fmt: skip
_style: ContextVar[Style] = ContextVar("style", default=STYLES["screen"])

_BARE: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata that would differ from run to run for the same data, by format."""


class DrawnFigure(Told, frozen=True, kw_only=True):
    """One figure: its text, and its picture in each format."""

    pictures: dict[str, bytes]


@contextmanager
def context(name: str = "screen") -> Iterator[Style]:
    """Put a style in force, for a `with` around all drawing."""
    chosen = STYLES[name]
    token = _style.set(chosen)
    try:
        with mpl.rc_context(chosen.rc):
            yield chosen
    finally:
        _style.reset(token)


def style() -> Style:
    """The style in force."""
    return _style.get()


def points(size: float) -> float:
    """A width or length in points on the screen, in the style in force."""
    return size * _style.get().scale


def canvas(height: float, *, wide: bool = False) -> Canvas:
    """A figure of this height in inches on the screen; `wide`: across the page of a paper, not in one column.

    Use only inside `context`.
    """
    now = _style.get()
    figure = Canvas(figsize=(now.page if wide else now.column, height * now.scale), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def render(figure: Canvas, form: str = "png") -> bytes:
    """The picture, without metadata that differs from run to run for the same data."""
    out = io.BytesIO()
    figure.savefig(out, format=form, metadata=_BARE[form])
    return out.getvalue()


def renders(figure: Canvas, formats: Sequence[str]) -> dict[str, bytes]:
    """The picture in each of these formats."""
    return {form: render(figure, form) for form in formats}


def hatched(axes: Axes) -> None:
    """Mark an area as not tried, where nothing is drawn over it."""
    axes.patch.set_visible(False)
    axes.add_patch(nothing("", transform=axes.transAxes, zorder=-1))


def nothing(label: str, **more: Any) -> Patch:
    """What `hatched` draws, for legends."""
    kind = Rectangle if more else Patch
    place = ((0, 0), 1, 1) if more else ()
    return kind(*place, facecolor="white", edgecolor="#b9c2ca", hatch="////", lw=0, label=label, **more)


_LABEL = 44
"""Maximum length of a fault's name."""
_CHARACTER = 0.6
"""Width of a character of small text, by the font's size."""


def shade(axes: Axes, bands: Sequence[FaultBand], *, label: bool = True) -> None:
    """Shade the faults behind the data and write the name of each above the axes."""
    low, high = axes.get_xlim()
    last = float("-inf")
    most = _LABEL if style().column >= STYLES["screen"].column else _LABEL * 2 // 3
    for band in bands:
        start, end = seconds(band.start), seconds(band.end)
        if end < low or start > high:
            continue  # a name outside the axes would leave them no room
        axes.axvspan(start, end, color=band.colour or BAND, alpha=0.14, lw=0, zorder=0)
        for edge in (start, end) if band.healed else (start,):
            axes.axvline(edge, color=band.colour or BAND, lw=points(1.0), zorder=0.5)
        # Names of faults that follow each other closely would overlap.
        if label and start - last > (high - low) * 0.12:
            text = band.label if len(band.label) <= most else band.label[: most - 1] + "…"
            # To the right of the strike; to the left where it would leave the axes.
            room = len(text) * _CHARACTER * mpl.rcParams["font.size"] / (style().column * 72) * (high - low)
            right = max(start, low) + room > high
            axes.text(
                max(min(end, high), low + room) if right else max(start, low),
                1.012,
                text,
                transform=axes.get_xaxis_transform(),
                ha="right" if right else "left",
                va="bottom",
                fontsize="small",
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
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10 if style().column > COLUMN else 6, steps=[1, 2, 5, 10]))
