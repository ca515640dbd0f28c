"""How long each change took to settle: one group of bars per change, one bar per metric."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from lab.checkers.convergence import METRICS
from lab.checkers.floors import bounded
from lab.checkers.run import RecordedRun
from lab.figures.convergence import SHOWN, metric_rows
from lab.figures.told import seconds
from lab.plots.style import COLUMN, FAIL, GRID, INK, MUTED, SERIES, canvas, style

__all__ = ["convergence"]

_COLOURS = dict(zip(METRICS, SERIES, strict=False))
_LABEL = 44
"""Maximum length of a change's name."""
_DECADES = 100
"""Ratio of longest to shortest time from which the axis is logarithmic."""


def convergence(run: RecordedRun) -> Canvas | None:
    """Bars of the time from a change until a metric was settled."""
    changes = [change for change in run.convergence if change.metrics]
    if not changes:
        return None
    drawn = changes[-SHOWN:]
    rows = metric_rows(drawn)
    lines = sum(
        len({metric if took is not None else "" for metric, took in change.metrics.items()}) for change in drawn
    )
    narrow = style().column <= COLUMN
    figure = canvas(0.9 + 0.2 * lines + 0.22 * len(drawn))
    axes = figure.add_subplot()
    times = [took / 1e9 for _, _, took in rows if took]
    longest, shortest = max(times, default=1.0), min(times, default=1.0)
    logarithmic = longest / shortest >= _DECADES
    left = shortest / 2 if logarithmic else 0.0
    ticks: list[float] = []
    y = 0.0
    for change in drawn:
        top = y
        metrics = [metric for metric in METRICS if metric in change.metrics]
        for metric in metrics:
            took = change.metrics[metric]
            if took is None:
                continue
            value = took / 1e9
            after = change.after.get(metric, took)
            sure = max(after / 1e9, left)
            axes.barh(y, max(sure - left, 0), left=left, height=0.78, color=_COLOURS[metric], lw=0)
            axes.barh(y, max(value - sure, 0), left=sure, height=0.78, color=_COLOURS[metric], alpha=0.4, lw=0)
            said = bounded(took, after, change.floor.get(metric, 0))
            axes.text(max(value, left), y, f" {metric} {said}", va="center", fontsize="small", color=MUTED)
            y += 1
        open_ones = [metric for metric in metrics if change.metrics[metric] is None]
        if open_ones:
            # A time cut short by the next change is not a failure; one still open at the end is.
            why = f" when {change.ended_by} came" if change.ended_by else " at the end"
            axes.text(
                left,
                y,
                f" {', '.join(open_ones)}: not reached{'' if narrow else why}",
                va="center",
                fontsize="small",
                color=MUTED if change.ended_by else FAIL,
            )
            y += 1
        ticks.append((top + y - 1) / 2)
        y += 1.1
    if logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(y - 1.4, -0.8)
    gap = "\n" if narrow else "  ·  "
    names = [
        f"{_short(change.label, _LABEL // 2 if narrow else _LABEL)}{gap}{seconds(change.t):.1f} s" for change in drawn
    ]
    axes.set_yticks(ticks, names, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID)
    axes.set_xlabel(
        "time until it had settled (s)" if narrow
        else "time from the change until it had settled (s)" + (", logarithmic" if logarithmic else "")
    )  # fmt: skip
    axes.set_xlim(left, longest if times else 1)
    _make_room(axes, left, logarithmic=logarithmic)
    return figure


def _make_room(axes: Axes, left: float, *, logarithmic: bool) -> None:
    """Lengthen the axis until every text next to a bar ends inside."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    for text in axes.texts:
        text.set_in_layout(False)  # the layout would make the axes narrower instead
    for _ in range(3):  # a longer axis moves the ends of the bars, and with them the texts
        figure.draw_without_rendering()
        frame = axes.get_window_extent()
        share = max((text.get_window_extent().x1 - frame.x0) / frame.width for text in axes.texts)
        if share <= 1:
            return
        right = axes.get_xlim()[1]
        axes.set_xlim(left, left * (right / left) ** share if logarithmic else left + (right - left) * share * 1.02)


def _short(label: str, most: int) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"
