"""One run's history -> the numbers of each repeat in it. Pure: reads what `lab.load` offers, nothing of an overlay.

Owns what each measure is. Times are seconds. A time that was not reached in a run is longer than its value
(`reached` false), and so is that of a run in which the question's event never came, or that ended before it was over.
"""

from collections.abc import Callable, Collection, Mapping
from statistics import median
from typing import Any

from msgspec import Struct

from lab.api.played import PlayedRun
from lab.checkers.outages import outages
from lab.records.history import Event, Sample
from lab.trials.trial import LeagueQuestion
from lab.trials.usage import HostUsage, usage_in

__all__ = [
    "NEVER",
    "NOT_ASKED",
    "REFUSED",
    "MeasuredWindow",
    "RepeatReading",
    "RunReading",
    "never",
    "read_repeats",
]

_S = 1e9
NOT_ASKED, REFUSED = "not asked", "refused"
"""Verdicts of repeats that an earlier one in the same lab prevented, and of those that a backend cannot play."""
NEVER = 1e9
"""Seconds of a time that was never reached: longer than any other, and a number in JSON, unlike infinity."""


class RunReading(Struct, frozen=True, kw_only=True):
    """What one run says of one measure."""

    value: float
    reached: bool = True
    """False: it is longer than this."""


class RepeatReading(Struct, frozen=True, kw_only=True):
    """What came of one repeat. `verdict`: valid, invalid, unknown, or that an earlier one ended the run."""

    verdict: str
    reason: str = ""
    readings: dict[str, RunReading] = {}


class MeasuredWindow(Struct, frozen=True, kw_only=True):
    """What of a run is measured, in nanoseconds."""

    start: int
    end: int


def read_repeats(question: LeagueQuestion, run: PlayedRun, number: int) -> list[RepeatReading]:
    """Its repeats, and how many it should have.

    Other than a run's verdict this demands nothing of how soon things are as they should be: that is measured. A step
    that failed makes its repeat invalid and ends the run. Probes that were not on schedule say nothing."""
    bad = next((event for event in run.events if event.ok is False), None)
    if bad is None:
        for check in run.checks:
            if check.checker in ("schedule", "steps") and check.verdict == "unknown":
                return [RepeatReading(verdict="unknown", reason=check.summary)] * number
    found = []
    for index, steps in enumerate(_steps_of(question, run, number)):
        window = window_of(question, run, steps)
        if index and (window is None or (bad is not None and bad.step < steps.start)):
            found.append(RepeatReading(verdict=NOT_ASKED, reason="an earlier repeat in the same lab failed"))
            continue
        failed = bad is not None and bad.step < steps.stop
        readings = never(question) if window is None else _read(question, run, window)
        found.append(
            RepeatReading(
                verdict="invalid" if failed else "valid",
                reason=_why(bad) if bad is not None and failed else "",
                readings=readings,
            )
        )
    return found


def _why(bad: Event) -> str:
    label = str(bad.detail.get("expect") or bad.detail.get("label") or bad.what)
    return f"{label}: {bad.detail.get('error') or 'failed'}"


def _steps_of(question: LeagueQuestion, run: PlayedRun, number: int) -> list[range]:
    """The steps of each repeat: the last ones of the timeline; all of them if the lab's start is the repeat."""
    steps, length = len(run.scenario["timeline"]), len(question.once(0))
    if not length:
        return [range(steps)]
    first = steps - length * number
    return [range(start, start + length) for start in range(first, steps, length)]


def _read(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> dict[str, RunReading]:
    found = {name: _READERS[name](question, run, window) for name in question.measures}
    return {name: reading for name, reading in found.items() if reading is not None}


def never(question: LeagueQuestion) -> dict[str, RunReading]:
    """The readings of a run that did not come to its question: its times were not reached."""
    timed = (name for name in question.measures if name in ("outage", "first"))
    return {name: RunReading(value=NEVER, reached=False) for name in timed}


def window_of(question: LeagueQuestion, run: PlayedRun, steps: range) -> MeasuredWindow | None:
    """From the question's event until it ends, or the last of these steps does; None: it did not come to it."""
    mine = [event for event in run.events if event.step in steps and event.phase != "point"]
    events = [event for event in mine if event.what == question.event]
    begun = next((event for event in events if event.phase == "start"), None)
    ended = next((event for event in events if event.phase == "end" and begun and event.step == begun.step), None)
    first = ended if question.since == "end" else begun
    if first is None or begun is None or (ended is not None and ended.ok is False):
        return None
    end = max(event.t for event in mine)
    if question.until == "event":
        if ended is None:
            return None
        end = ended.t
    return MeasuredWindow(start=first.t, end=end)


def _counted(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> dict[tuple[str, str], list[Sample]]:
    """Pair -> its tries in the window, in their order: those of the question's first probe."""
    kind = _kind(run, question)
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in run.samples:
        if sample.probe == kind and sample.error != "late" and window.start <= sample.t < window.end:
            found.setdefault((sample.source, sample.target), []).append(sample)
    return {pair: sorted(found[pair], key=lambda sample: sample.t) for pair in sorted(found)}


def _unasked(run: PlayedRun, window: MeasuredWindow, asked: Collection[tuple[str, str]]) -> bool:
    """Whether a pair that should have been asked was not, as it had no address: nobody reached it."""
    replicas: Mapping[str, str] = {}
    for event in run.events:
        if event.t < window.end and "replicas" in event.detail:
            replicas = event.detail["replicas"]
    probe: Mapping[str, Any] = next(iter(run.scenario.get("probes") or ()), {})
    ends = [
        [name for name in replicas if _service(run, name) in probe.get(side, ())] for side in ("sources", "targets")
    ]
    return any((source, target) not in asked for source in ends[0] for target in ends[1] if source != target)


def _service(run: PlayedRun, replica: str) -> str:
    services = run.scenario.get("services") or {}
    return replica if replica in services else replica.rpartition("-")[0]


def _kind(run: PlayedRun, question: LeagueQuestion) -> str:
    """What tries count: those of the first probe, which may have been another for overlays without addresses."""
    probes = run.scenario.get("probes") or question.probes
    return str(probes[0]["kind"]) if probes else ""


def _outage(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
    # Tries before the window too: an outage may have begun there.
    whole = MeasuredWindow(start=0, end=window.end)
    asked = _counted(question, run, window)
    lasted: dict[tuple[str, str], int] = dict.fromkeys(asked, 0)
    reached = True
    for pair, tries in _counted(question, run, whole).items():
        for outage in outages((_kind(run, question), *pair), tries, end=window.end, stop=window.end):
            start, end = max(outage.start, window.start), min(outage.end, window.end)
            if end > start:
                lasted[pair] = lasted.get(pair, 0) + end - start
                reached &= outage.ended
    if not lasted or _unasked(run, window, lasted):
        return RunReading(value=NEVER, reached=False)
    return RunReading(value=max(lasted.values()) / _S, reached=reached)


def _lost(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
    pairs = _counted(question, run, window)
    if not pairs:
        return None
    return RunReading(value=sum(not sample.ok for tries in pairs.values() for sample in tries) / len(pairs))


def _first(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
    latest = 0.0
    pairs = _counted(question, run, window)
    if not pairs or _unasked(run, window, pairs):
        return RunReading(value=NEVER, reached=False)
    for tries in pairs.values():
        good = next((sample for sample in tries if sample.ok), None)
        if good is None:
            return RunReading(value=(window.end - window.start) / _S, reached=False)
        latest = max(latest, (good.t + good.late + (good.latency or 0) - window.start) / _S)
    return RunReading(value=latest)


def _rtt(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
    times = [
        sample.latency
        for tries in _counted(question, run, window).values()
        for sample in tries
        if sample.ok and sample.latency is not None
    ]
    return RunReading(value=median(times) / 1e6) if times else None


def _throughput(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
    found = [
        sample.measured["throughput"]
        for tries in _counted(question, run, window).values()
        for sample in tries
        if "throughput" in sample.measured
    ]
    return RunReading(value=median(found) / 1e6) if found else None


def _hosts(run: PlayedRun, window: MeasuredWindow) -> list[tuple[HostUsage, HostUsage]]:
    """Each host's last count before the window, and its first after it."""
    before: dict[str, HostUsage] = {}
    after: dict[str, HostUsage] = {}
    for event in run.events:
        if event.phase != "start" and (usage := _usage(event)) is not None:
            if event.t <= window.start:
                before[usage.host] = usage
            elif event.t >= window.end:
                after.setdefault(usage.host, usage)
    both = [(before[host], after[host]) for host in before if host in after]
    return [(first, last) for first, last in both if last.at > first.at]


def _usage(event: Event) -> HostUsage | None:
    return usage_in(str(event.detail.get("stdout", "")))


def _per_host(change: Callable[[HostUsage, HostUsage], float]) -> "_Reader":
    def reader(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
        values = [change(*counts) for counts in _hosts(run, window)]
        return RunReading(value=sum(values) / len(values)) if values else None

    return reader


_Reader = Callable[[LeagueQuestion, PlayedRun, MeasuredWindow], RunReading | None]
_READERS: Mapping[str, _Reader] = {
    "outage": _outage,
    "lost": _lost,
    "first": _first,
    "control": _per_host(lambda first, last: (last.bytes - first.bytes) / (last.at - first.at)),
    "cpu": _per_host(lambda first, last: max(0.0, last.cpu - first.cpu) / (last.at - first.at)),
    "memory": _per_host(lambda first, last: last.memory / 2**20),
    "throughput": _throughput,
    "rtt": _rtt,
}
