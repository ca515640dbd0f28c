"""The time from one change to the next: since when each metric has held, and what settled. Knows no records but
the event that began it."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from lab.checkers.convergence.results import HOLD, EventConvergence
from lab.checkers.world import label_of
from lab.records.history import Event

__all__ = ["ChangeWindow", "TimeBounds"]


class TimeBounds(NamedTuple):
    """A time in nanoseconds since the change: longer than `after`, and at most `at`, if that is known."""

    after: int
    at: int | None


class ChangeWindow:
    """The time from one change to the next."""

    def __init__(
        self,
        event: Event,
        bounds: Callable[[str], int],
        half: "Callable[[int, bool], TimeBounds | None]",
        floors: Callable[[], dict[str, int]],
    ) -> None:
        self.event = event
        self._bounds = bounds
        """Metric -> when it was last known not to hold."""
        self._half = half
        self._floors = floors
        self.half: TimeBounds | None = None
        """Bounds of the median of the disturbed pairs, once it has settled."""
        self.after: dict[str, int] = {}
        """Settled metric -> earliest time from which it may have held."""
        self.asked = False
        """An expectation has waited since the change."""
        self.waited = False
        self.since: dict[str, int | None] = {}
        """Metric (and "overall") -> since when it has held."""
        self.agreed: dict[str, int | None] = {}
        """Metric -> since when the peers' views of it have agreed (a part of the metric)."""
        self.settled: dict[str, int] = {}
        self.lapses: Counter[str] = Counter()
        self.closing = False
        """The step of the next change is in progress: a reached metric counts as settled, a loss does not count."""

    def put(self, name: str, since: int | None) -> None:
        """Set since when metric `name` holds; None if it does not."""
        if since is not None:
            since = max(since, self.event.t)
        elif self.since.get(name) is not None and name in self.settled and not self.closing:
            self.lapses[name] += 1
        self.since[name] = since

    def settle(self, now: int) -> None:
        for name, since in self.since.items():
            if since is not None and name not in self.settled and (self.closing or now - since >= HOLD):
                self.settled[name] = since
                self.after[name] = max(self.event.t, min(since, self._bounds(name)))
                if name == "reachability":
                    self.half = self._half(now, False)

    def result(self, until: int, ended_by: str) -> EventConvergence:
        took: dict[str, int | None] = {}
        after: dict[str, int] = {}
        for name, since in self.since.items():
            # At the end of the history a metric that has not held long enough is not known to have settled.
            at = self.settled.get(name, since if ended_by else None)
            took[name] = None if at is None else at - self.event.t
            known = max(self.event.t, min(until if at is None else at, self._bounds(name)))
            after[name] = self.after.get(name, known) - self.event.t
        overall = took.pop("overall", None)
        half = self.half or self._half(until, not ended_by)
        if half is not None:
            after["half"] = half.after
        return EventConvergence(
            t=self.event.t,
            step=self.event.step,
            what=self.event.what,
            phase=self.event.phase,
            label=label_of(self.event),
            until=until,
            ended_by=ended_by,
            metrics=took,
            overall=overall,
            lapses={name: count for name, count in sorted(self.lapses.items()) if name in took},
            half=None if half is None else half.at,
            after=after,
            floor={name: floor for name, floor in self._floors().items() if name in after},
            waited=self.waited,
        )
