"""How long each change took to settle, as text and as a table."""

from lab.checkers.convergence import METRICS, EventConvergence
from lab.checkers.floors import limit
from lab.checkers.run import RecordedRun
from lab.checkers.world import HEAL
from lab.figures.told import Told, seconds, table
from lab.words import span

__all__ = ["SHOWN", "convergence", "metric_rows"]

SHOWN = 14
"""Maximum number of changes drawn (the last ones)."""


def metric_rows(changes: list[EventConvergence]) -> list[tuple[EventConvergence, str, int | None]]:
    """Each metric of each change, and its settling time."""
    return [
        (change, metric, change.metrics[metric]) for change in changes for metric in METRICS if metric in change.metrics
    ]


def convergence(run: RecordedRun) -> Told | None:
    """The settling time of each metric after each change."""
    changes = [change for change in run.convergence if change.metrics]
    if not changes:
        return None
    return Told(
        name="convergence",
        title=_finding(changes[-SHOWN:]),
        caption="Each bar is the time from a change until that part of the overlay agreed again and stayed so; "
        "the number behind a change's name is when it happened. Where a probe's try ended it, the time lies in the "
        "light part of the bar: after the last bad try, and not after the first good answer." + _floor(changes),
        csv=table(
            ("t_s", "step", "what", "phase", "label", "metric", "took_ns", "after_ns", "floor_ns", "waited", "lapses"),
            [
                (
                    f"{seconds(change.t):.6f}",
                    change.step,
                    change.what,
                    change.phase,
                    change.label,
                    metric,
                    "" if took is None else took,
                    change.after.get(metric, ""),
                    change.floor.get(metric, ""),
                    int(change.waited),
                    change.lapses.get(metric, 0),
                )
                for change in changes
                for change, metric, took in [*metric_rows([change]), *_together(change)]
            ],
        ),
    )


def _together(change: EventConvergence) -> list[tuple[EventConvergence, str, int | None]]:
    half = [(change, "half", change.half)] if "half" in change.after else []
    return [*half, (change, "overall", change.overall)]


def _floor(changes: list[EventConvergence]) -> str:
    """The resolution of times that end with a probe, in words."""
    longest = max((floor for change in changes for floor in change.floor.values()), default=0)
    return f" No probe sees a change sooner than its next try, {span(longest)} later at most." if longest else ""


def _within(change: EventConvergence) -> str:
    """The upper bound of the time until everything agreed."""
    took = change.overall
    return span(None if took is None else limit(took, change.after.get("overall"), change.floor.get("overall", 0)))


def _finding(changes: list[EventConvergence]) -> str:
    heals = [change for change in changes if change.label == HEAL]
    if heals:
        worst = max(heals, key=lambda change: float("inf") if change.overall is None else change.overall)
        if worst.overall is None:
            when = "before the next change came" if worst.ended_by else "before the record ended"
            return f"After a heal not everything agreed again {when}"
        return (
            f"After the heal everything agreed again within {_within(worst)}"
            if len(heals) == 1
            else (f"After each of {len(heals)} heals everything agreed again within {_within(worst)}")
        )
    reached = [change for change in changes if change.overall is not None]
    if not reached:
        return "No change settled before the next one came, or the record ended"
    slowest = max(reached, key=lambda change: change.overall or 0)
    of = "change to settle" if len(reached) == len(changes) else f"of the {len(reached)} changes that settled"
    if len(reached) == 1:
        return f"{slowest.label} had settled within {_within(slowest)}"
    return f"The slowest {of} was {slowest.label}: {_within(slowest)}"
