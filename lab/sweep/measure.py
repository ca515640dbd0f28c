"""One run's history -> one `Point`: what a sweep stores of it. Pure.

Owns the names of events, so that the same change has the same name in all runs of a scenario, and how the traffic
counters of `View`s become traffic per peer and event.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from lab.checkers import RecordedRun, check_run
from lab.checkers.convergence import METRICS, EventConvergence
from lab.checkers.world import HEAL
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, RunFigure, View

__all__ = ["BACK", "TIMES", "EventResult", "Point", "measure"]

BACK = "back"
"""The end of a fault that is not a partition."""
TIMES = (*METRICS, "half", "overall")
"""The times measured after each event."""


class EventResult(Struct, frozen=True, kw_only=True):
    """The result of one event of a run. Times in nanoseconds."""

    name: str
    """The same in every run of the scenario: `heal`, `kill-2` …"""
    label: str
    """The label of the event in this run."""
    window: int
    """From the event until the next change, or the end: a time that is None was not reached within it."""
    times: dict[str, int | None]
    """Metric (of `TIMES`) -> time until it was settled; only metrics that apply."""
    after: dict[str, int] = {}
    """Metric -> lower bound of its time; equal to the time if that is exact."""
    floor: dict[str, int] = {}
    """Metric -> interval of the probes that measure it, if any."""
    waited: bool = False
    """The next step waited for this event's convergence, so its window depends on the measured value."""
    bytes_per_peer: float | None = None
    """Bytes sent in the window per peer, on average; None if there are no counters."""
    messages_per_peer: float | None = None


class Point(Struct, frozen=True, kw_only=True):
    """One finished run of a sweep."""

    key: str
    """Identifies the run: hash of parameters, seed, scenario and code."""
    parameters: dict[str, str]
    seed: int
    verdict: str
    reason: str = ""
    events: tuple[EventResult, ...] = ()
    peers: int = 0
    bytes_per_peer: float | None = None
    messages_per_peer: float | None = None
    figures: dict[str, float] = {}
    """Numbers at the end of a run of a protocol (`docs/protocols.md`)."""
    duration: int = 0
    """Length of the run (ns), in virtual time if the backend has it."""
    wall: float = 0.0
    """Seconds of real time to play and judge it."""
    failed: bool = False
    """The run could not be carried out; it counts as not done."""
    backend: str = ""
    scenario_file: str = ""
    """The scenario with its parameters, in the sweep's folder."""
    replay: str = ""
    """The command that replays it."""


def measure(records: Iterable[AnyRecord]) -> dict[str, Any]:
    """The fields of a `Point` that come from a history: verdict, reason, events, peers, traffic and duration."""
    run = RecordedRun(records)
    verdict = check_run(run)
    reason = next((result.summary for result in verdict.results if result.verdict == verdict.verdict), "")
    counters = [_Counter(views) for views in _views(run).values()]
    return {
        "verdict": verdict.verdict,
        "reason": "" if verdict.verdict == "valid" else reason,
        "events": tuple(
            _event(name, change, counters) for name, change in _named([c for c in run.convergence if c.metrics])
        ),
        "peers": len(counters),
        **_sent(counters, run.start - 1, run.end),
        "figures": {record.name: record.value for record in run.records if isinstance(record, RunFigure)},
        "duration": run.end - run.start,
    }


def _event(name: str, change: EventConvergence, counters: "list[_Counter]") -> EventResult:
    return EventResult(
        name=name,
        label=change.label,
        window=change.until - change.t,
        times={**change.metrics, "overall": change.overall} | ({"half": change.half} if "half" in change.after else {}),
        after=change.after,
        floor=change.floor,
        waited=change.waited,
        **_sent(counters, change.t, change.until),
    )


def _named(changes: list[EventConvergence]) -> list[tuple[str, EventConvergence]]:
    """Each change with its name; of several changes by one step (churn) only the last, after which
    nothing changes."""
    last: dict[tuple[int, str], EventConvergence] = {}
    for change in changes:
        key = (change.step, _word(change)) if change.step >= 0 else (-1 - change.t, _word(change))
        last.pop(key, None)
        last[key] = change
    named: list[tuple[str, EventConvergence]] = []
    count: dict[str, int] = {}
    for (_, word), change in last.items():
        count[word] = count.get(word, 0) + 1
        named.append((word if count[word] == 1 else f"{word}-{count[word]}", change))
    return named


def _word(change: EventConvergence) -> str:
    """`partition`, `heal`, `kill`, `back` (the end of a kill); other changes are named by their verb."""
    verb = verb_of(change.what)
    if verb.changes == "both" and change.phase == "end":
        return HEAL if verb.heals else BACK
    return change.what


def _views(run: RecordedRun) -> dict[str, list[View]]:
    found = {host: [view for view in views if isinstance(view, View)] for host, views in run.views.items()}
    return {host: views for host, views in found.items() if views}


def _sent(counters: "list[_Counter]", since: int, until: int) -> dict[str, float | None]:
    """Average traffic sent by peers in an interval; None if there are no counters."""
    sums = [0, 0]
    for counter in counters:
        (bytes_before, messages_before), (bytes_after, messages_after) = counter.at(since), counter.at(until)
        sums[0] += bytes_after - bytes_before
        sums[1] += messages_after - messages_before
    counted = (any(counter.bytes for counter in counters), any(counter.messages for counter in counters))
    means = [total / len(counters) if is_counted else None for total, is_counted in zip(sums, counted, strict=True)]
    return {"bytes_per_peer": means[0], "messages_per_peer": means[1]}


class _Counter:
    """Traffic that one peer had sent by each time, according to its views; a restart resets the peer's
    own counters."""

    def __init__(self, views: list[View]) -> None:
        self.bytes = self.messages = 0
        """Totals."""
        self._times: list[int] = []
        self._sent: list[tuple[int, int]] = []
        lost_bytes = lost_messages = 0
        before: View | None = None
        for view in views:
            if before is not None and view.sent_messages < before.sent_messages:
                lost_bytes, lost_messages = self.bytes, self.messages
            self.bytes, self.messages = lost_bytes + view.sent_bytes, lost_messages + view.sent_messages
            self._times.append(view.t)
            self._sent.append((self.bytes, self.messages))
            before = view

    def at(self, t: int) -> tuple[int, int]:
        """Bytes and messages at the last view up to `t`."""
        index = bisect_right(self._times, t) - 1
        return self._sent[index] if index >= 0 else (0, 0)
