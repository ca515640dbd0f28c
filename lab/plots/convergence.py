"""How long each change took to settle: one group of bars per change, one bar per metric."""

from lab.checkers.convergence import METRICS, EventConvergence
from lab.checkers.run import RecordedRun
from lab.checkers.world import HEAL
from lab.plots.style import FAIL, GRID, INK, MUTED, SERIES, Figure, canvas, render, seconds, table
from lab.words import span

__all__ = ["convergence"]

_SHOWN = 14
"""Most changes drawn (the last ones)."""
_COLOURS = dict(zip(METRICS, SERIES, strict=False))
_LABEL = 44
"""Most characters of a change's name."""
_DECADES = 100
"""Ratio of longest to shortest time from which the axis is logarithmic."""


def _rows(changes: list[EventConvergence]) -> list[tuple[EventConvergence, str, int | None]]:
    return [
        (change, metric, change.metrics[metric]) for change in changes for metric in METRICS if metric in change.metrics
    ]


def convergence(run: RecordedRun) -> Figure | None:
    """Bars of the time from a change until a metric was settled."""
    changes = [change for change in run.convergence if change.metrics]
    if not changes:
        return None
    drawn = changes[-_SHOWN:]
    rows = _rows(drawn)
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
            axes.barh(y, max(value - left, 0), left=left, height=0.78, color=_COLOURS[metric], lw=0)
            axes.text(max(value, left), y, f" {metric} {span(took)}", va="center", fontsize=8.5, color=MUTED)
            y += 1
        open_ones = [metric for metric in metrics if change.metrics[metric] is None]
        if open_ones:
            # What the next change cut short is no failure; what was still open at the end is.
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
    return Figure(
        name="convergence",
        title=_finding(drawn),
        caption="Each bar is the time from a change until that part of the overlay agreed again and stayed so; "
        "the number behind a change's name is when it happened.",
        png=render(figure),
        csv=table(
            ("t_s", "step", "what", "phase", "label", "metric", "took_ns", "lapses"),
            [
                (
                    f"{seconds(change.t):.6f}",
                    change.step,
                    change.what,
                    change.phase,
                    change.label,
                    metric,
                    "" if took is None else took,
                    change.lapses.get(metric, 0),
                )
                for change in changes
                for change, metric, took in [*_rows([change]), (change, "overall", change.overall)]
            ],
        ),
    )


def _short(label: str) -> str:
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"


def _finding(changes: list[EventConvergence]) -> str:
    heals = [change for change in changes if change.label == HEAL]
    if heals:
        worst = max(heals, key=lambda change: float("inf") if change.overall is None else change.overall)
        if worst.overall is None:
            when = "before the next change came" if worst.ended_by else "before the record ended"
            return f"After a heal not everything agreed again {when}"
        return (
            f"After the heal everything agreed again within {span(worst.overall)}"
            if len(heals) == 1
            else (f"After each of {len(heals)} heals everything agreed again within {span(worst.overall)}")
        )
    reached = [change for change in changes if change.overall is not None]
    if not reached:
        return "No change settled before the next one came, or the record ended"
    slowest = max(reached, key=lambda change: change.overall or 0)
    of = "change to settle" if len(reached) == len(changes) else f"of the {len(reached)} changes that settled"
    if len(reached) == 1:
        return f"{slowest.label} had settled after {span(slowest.overall)}"
    return f"The slowest {of} was {slowest.label}: {span(slowest.overall)}"
