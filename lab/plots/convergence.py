"""How long each change took to settle: one group of bars per change, one bar per metric."""

from matplotlib.figure import Figure as Canvas

from lab.checkers.convergence import METRICS
from lab.checkers.floors import bounded
from lab.checkers.run import RecordedRun
from lab.figures.convergence import SHOWN, metric_rows
from lab.figures.told import seconds
from lab.plots.style import FAIL, GRID, INK, MUTED, SERIES, canvas

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
    figure = canvas(11, 0.9 + 0.2 * lines + 0.22 * len(drawn))
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
            axes.text(max(value, left), y, f" {metric} {said}", va="center", fontsize=8.5, color=MUTED)
            y += 1
        open_ones = [metric for metric in metrics if change.metrics[metric] is None]
        if open_ones:
            # A time cut short by the next change is not a failure; one still open at the end is.
            why = f"when {change.ended_by} came" if change.ended_by else "at the end"
            axes.text(
                left,
                y,
                f" {', '.join(open_ones)}: not reached {why}",
                va="center",
                fontsize=8.5,
                color=MUTED if change.ended_by else FAIL,
            )
            y += 1
        ticks.append((top + y - 1) / 2)
        y += 1.1
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(left, longest * (2.6 if logarithmic else 1.16) if times else 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(y - 1.4, -0.8)
    axes.set_yticks(ticks, [f"{_short(change.label)}  ·  {seconds(change.t):.1f} s" for change in drawn], color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID)
    axes.set_xlabel("time from the change until it had settled (s)" + (", logarithmic" if logarithmic else ""))
    return figure


def _short(label: str) -> str:
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
