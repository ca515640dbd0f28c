"""Follows a history record by record; says after each change how long each metric took (`lab.checkers.convergence`).

A record costs O(1), except for changes, which cost one pass over hosts and series.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

from lab.checkers.convergence.results import HOLD, METRICS, ConvergenceState, EventConvergence
from lab.checkers.convergence.series import JudgedSeries
from lab.checkers.convergence.views import ViewTally
from lab.checkers.convergence.window import ChangeWindow, TimeBounds
from lab.checkers.floors import floors
from lab.checkers.world import ExpectedState, SeriesKey, heals, is_change, label_of, series_of
from lab.kinds.probes import asks_name
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event, Meta, PeerGone, Sample, View
from lab.words import count

__all__ = ["ConvergenceTracker", "convergence"]

_ECHO = 100_000_000
"""Nanoseconds within which two heal events count as one change."""
_NAMED = 6
"""Maximum number of reasons in `ConvergenceState.waiting`."""


class ConvergenceTracker:
    """Follows a history record by record."""

    def __init__(self) -> None:
        self.world = ExpectedState()
        """The expected state, for callers that need it."""
        self._now = 0
        self._window: ChangeWindow | None = None
        self._done: list[EventConvergence] = []
        self._tallies: list[ViewTally] = []
        self._tally_of: dict[str, ViewTally] = {}
        self._series: dict[SeriesKey, JudgedSeries] = {}
        self._unsettled: dict[str, dict[SeriesKey, None]] = {"reachability": {}, "dns": {}}
        """Metric -> series that should be judged and are not good now."""
        self._good_since: dict[str, int | None] = {}
        """Metric -> latest `good_since` of its series; missing if it must be recomputed."""
        self._plans: Sequence[Mapping[str, Any]] = ()
        self._timed: frozenset[int] = frozenset()
        """Steps that begin at a fixed time."""
        self._last_bad: dict[str, int] = {}
        """Metric -> due time of the latest bad try of its series."""
        self._judged: Counter[str] = Counter()
        """Metric -> number of series that it is judged by."""

    def feed(self, record: AnyRecord) -> None:
        """Take the next record of the history."""
        if not isinstance(record, Sample):
            self._now = max(self._now, record.t)
        if isinstance(record, Event):
            self._event(record)
        elif isinstance(record, View):
            self._view(record)
        elif isinstance(record, PeerGone):
            self.world.feed(record)
            self._recount()
            self._rejudge()
            self._look(record.t)
        elif isinstance(record, Sample):
            self._sample(record)
        else:
            self.world.feed(record)
            if isinstance(record, Meta):
                self._plans = record.scenario.get("probes") or ()
                steps = record.scenario.get("timeline") or ()
                self._timed = frozenset(index for index, step in enumerate(steps) if step.get("at") is not None)
        if self._window is not None:
            self._window.settle(self._now)

    # For `lab.checkers.columnar`, which feeds only the tries that change something.

    @property
    def since(self) -> int | None:
        """When the last change took effect; None before the first."""
        return None if self._window is None else self._window.event.t

    def pass_time(self, now: int) -> None:
        """Records up to `now` changed nothing."""
        self._now = max(self._now, now)
        if self._window is not None:
            self._window.settle(self._now)

    def known_series(self, key: SeriesKey) -> JudgedSeries | None:
        """The tries of a series since the last change, once there was one."""
        return self._series.get(key)

    def results(self) -> list[EventConvergence]:
        """The results of all changes so far; the last one as of now."""
        if self._window is None:
            return list(self._done)
        return [*self._done, self._window.result(self._now, "")]

    @property
    def holding_since(self) -> int | None:
        """Since when everything has held; None if it does not."""
        return None if self._window is None else self._window.since.get("overall")

    def state(self) -> ConvergenceState:
        """Whether everything holds now. Before the first change nothing does."""
        window = self._window
        if window is None:
            return ConvergenceState(since=0, metrics={}, converged=False, waiting=("no change has taken effect yet",))
        metrics = {name: since is not None for name, since in window.since.items() if name != "overall"}
        going_on = dict.fromkeys(self.world.churning.values())
        return ConvergenceState(
            since=window.event.t,
            metrics=metrics,
            converged=window.since.get("overall") is not None and not going_on,
            waiting=(*(f"the {what} goes on" for what in going_on), *self._waiting(metrics)),
        )

    # Records

    def _event(self, event: Event) -> None:
        before = (self.world.groups, self.world.replicas, frozenset(self.world.launched), frozenset(self.world.gone))
        self.world.feed(event)
        after = (self.world.groups, self.world.replicas, frozenset(self.world.launched), frozenset(self.world.gone))
        verb = verb_of(event.what)
        changes = bool(verb.changes)
        if changes and self._echoes(event):
            return
        if self._window is not None:
            self._window.asked = self._window.asked or verb.asks
            if changes and event.phase != "end" and self._window.asked and event.step not in self._timed:
                self._window.waited = True
        if is_change(event):
            if self._window is not None:
                self._done.append(self._window.result(event.t, label_of(event)))
            self._window = ChangeWindow(event, self._not_before, self._half, self._floors)
            self._last_bad.clear()
            # Tries that were due before the change say nothing about it.
            self._series = {
                key: JudgedSeries(
                    None, self.world.row(key), duty=series.duty if series.should is None else series.should
                )
                for key, series in self._series.items()
            }
        elif changes and event.phase == "start" and self._window is not None:
            # From here on the next step disturbs what was reached, although it takes effect only at its end.
            self._window.closing = True
            return
        elif before == after:
            if "links" in event.detail:
                for key, series in self._series.items():
                    series.row = self.world.row(key)
            return
        self._recount()
        self._rejudge()
        self._look(event.t)

    def _echoes(self, event: Event) -> bool:
        """Whether the event only repeats the last change: a `heal` step ends several partitions, each with its own
        event."""
        window = self._window
        return (
            window is not None
            and heals(event)
            and heals(window.event)
            and event.t - window.event.t <= _ECHO
            and (not event.groups or event.groups == window.event.groups)
        )

    def _view(self, view: View) -> None:
        old = self.world.views.get(view.host)
        known = view.host in self.world.launched and view.host not in self.world.gone
        self.world.feed(view)
        tally = self._tally_of.get(view.host)
        if not known or tally is None:
            self._recount()
            self._rejudge()
        else:
            if old is not None:
                tally.count(old, -1)
            tally.count(view, 1)
        self._look(view.t)

    def _sample(self, sample: Sample) -> None:
        done = sample.t + sample.late + (sample.latency or 0)
        self._now = max(self._now, done)
        window = self._window
        if window is None:
            return
        key = series_of(sample)
        metric = "dns" if asks_name(sample.probe) else "reachability"
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = JudgedSeries(self.world.demands(key), self.world.row(key), disturbed=True)
            if series.should is not None:
                self._judged[metric] += 1
                self._unsettled[metric][key] = None
                self._look(self._now)
        if sample.t < window.event.t or series.should is None:
            return
        if sample.error == "late":
            return
        # The expected reachability is the same since the last change; names need a further check.
        good = self.world.good(sample) if metric == "dns" else sample.ok == series.should
        before = series.good_since
        failed = series.should is True and not sample.ok
        if good is None:
            return
        moved = series.judge(sample.t, done, good, failed=failed)
        if not good and series.bad > self._last_bad.get(metric, -1):
            self._last_bad[metric] = series.bad
        if not moved:
            return
        if series.good_since is None:
            self._unsettled[metric][key] = None
        else:
            self._unsettled[metric].pop(key, None)
        self._regard(metric, before, series.good_since)
        self._look(done)

    def _regard(self, metric: str, before: int | None, now: int | None) -> None:
        """Update the latest `good_since` of a metric's good series after one of them changed."""
        known = self._good_since.get(metric)
        if known is None:
            return
        if before == known and (now is None or now < known):
            del self._good_since[metric]
        elif now is not None and now > known:
            self._good_since[metric] = now

    # Bookkeeping

    def _recount(self) -> None:
        """Membership of groups changed: count all views again."""
        self._tallies, self._tally_of = [], {}
        for group in self.world.groups:
            members = self.world.members(group)
            if not members:
                continue
            tally = ViewTally(members)
            self._tallies.append(tally)
            for host in members:
                self._tally_of[host] = tally
                view = self.world.views.get(host)
                if view is not None:
                    tally.count(view, 1)

    def _rejudge(self) -> None:
        """The expected state may have changed: reset series whose expected result changed."""
        self._unsettled = {metric: {} for metric in self._unsettled}
        self._good_since.clear()
        self._last_bad.clear()
        self._judged.clear()
        for key, series in self._series.items():
            should = self.world.demands(key)
            if should != series.should:
                was = series.duty if series.should is None else series.should
                series = JudgedSeries(
                    should, self.world.row(key), duty=was, disturbed=series.disturbed or was != should
                )
                self._series[key] = series
            if should is None:
                continue
            metric = _metric_of(key)
            if series.bad > self._last_bad.get(metric, -1):
                self._last_bad[metric] = series.bad
            self._judged[metric] += 1
            if series.good_since is None:
                self._unsettled[metric][key] = None

    def _look(self, now: int) -> None:
        """Update the window's metrics after a record of time `now`."""
        window = self._window
        if window is None:
            return
        held: dict[str, int | None] = {}
        for metric in METRICS:
            parts: list[int | None] = []
            lacking = metric != "reachability" and any(tally.lacks(metric) for tally in self._tallies)
            if metric != "reachability" and self.world.has_views and not lacking:
                agrees = bool(self._tallies) and all(tally.agrees(metric) for tally in self._tallies)
                before = window.agreed.get(metric)
                window.agreed[metric] = (now if before is None else before) if agrees else None
                parts.append(window.agreed[metric])
            if self._judged[metric]:
                parts.append(self._probes_since(metric))
            if parts:
                held[metric] = _latest(parts)
        if held:
            held["overall"] = _latest(list(held.values()))
        for name in [name for name in window.since if name not in held]:
            del window.since[name]
        for name, since in held.items():
            window.put(name, since)

    def _probes_since(self, metric: str) -> int | None:
        """Since when all series of a metric have been good; None if they are not."""
        if self._unsettled[metric]:
            return None  # the latest `good_since` of the others stays known meanwhile
        if metric not in self._good_since:
            self._good_since[metric] = _latest(
                [
                    series.good_since
                    for key, series in self._series.items()
                    if series.should is not None and _metric_of(key) == metric
                ]
            )
        return self._good_since[metric]

    def _not_before(self, name: str) -> int:
        """When a metric, or all together, was last known not to hold; now, if it does not hold."""
        if name == "overall":
            return max(self._not_before(metric) for metric in METRICS if self._window and metric in self._window.since)
        known = self._last_bad.get(name, -1)
        if name != "reachability" and self.world.has_views and self._window is not None:
            agreed = self._window.agreed.get(name)
            known = max(known, self._now if agreed is None else agreed)
        return known

    def _floors(self) -> dict[str, int]:
        return floors(self._plans, (key[0] for key in self._series))

    def _half(self, now: int, asks_hold: bool) -> "TimeBounds | None":
        """Bounds of the time when the median of the disturbed pairs was correct; None if no pair was disturbed.

        `asks_hold`: it counts only if it has stayed so for `HOLD`.
        """
        if self._window is None:
            return None
        begun = self._window.event.t
        lows: list[int] = []
        highs: list[float] = []
        for key, series in self._series.items():
            if series.should is None or _metric_of(key) != "reachability" or not (series.disturbed or series.bad >= 0):
                continue
            since = series.good_since
            lows.append(max(0, series.bad - begun))
            highs.append(inf if since is None or (asks_hold and now - since < HOLD) else max(since - begun, 0))
        if not lows:
            return None
        # The median lies above the median of the lower bounds, and not above that of the upper bounds.
        middle = (len(lows) - 1) // 2
        at = sorted(highs)[middle]
        return TimeBounds(sorted(lows)[middle], None if at == inf else int(at))

    def _waiting(self, metrics: dict[str, bool]) -> list[str]:
        reasons: list[str] = []
        for tally in self._tallies if not all(metrics.get(name, True) for name in METRICS[:3]) else []:
            size = len(tally.members)
            for host in tally.members:
                view = self.world.views.get(host)
                if view is None:
                    reasons.append(f"{host}: no peer seen yet")
                elif view.reachable != size:
                    reasons.append(f"{host}: its peer knows {view.reachable} of {count(size, 'peer')}")
            if not reasons:
                reasons += [
                    f"{name}: {len(digests)} different views among {count(size, 'peer')}"
                    for name, digests in tally.digests.items()
                    if len(digests) > 1
                ]
        for keys in self._unsettled.values():
            for probe, source, target in keys:
                should = self._series[probe, source, target].should
                reasons.append(f"{probe} {source} → {target}: {'no good answer yet' if should else 'still answers'}")
        more = len(reasons) - _NAMED
        return [*reasons[:_NAMED], f"and {more} more"] if more > 0 else reasons


def _metric_of(key: SeriesKey) -> str:
    return "dns" if asks_name(key[0]) else "reachability"


def _latest(times: list[int | None]) -> int | None:
    """The maximum; None if any value is missing or there are no values."""
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def convergence(records: Iterable[AnyRecord]) -> list[EventConvergence]:
    """The results of all changes of a history."""
    tracker = ConvergenceTracker()
    for record in records:
        tracker.feed(record)
    return tracker.results()
