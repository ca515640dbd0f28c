"""One run's history -> the numbers of a question. Pure: reads what `lab.load` offers, and nothing of an overlay.

Owns what each measure is. Times are seconds. A time that was not reached in a run is longer than its value
(`reached` false), and so is that of a run in which the question's event never came, or that ended before it was over.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import Any, Literal

from msgspec import Struct

from lab.api.played import PlayedRun
from lab.checkers.outages import outages
from lab.records.history import Event, Sample
from lab.trials.trial import LeagueQuestion
from lab.trials.usage import HostUsage, usage_in

__all__ = [
    "MEASURES",
    "NEVER",
    "LeagueMeasure",
    "MeasuredWindow",
    "RunReading",
    "judged",
    "measures_of",
    "never",
    "read_run",
]

_S = 1e9
NEVER = 1e9
"""Seconds of a time that was never reached: longer than any other, and a number in JSON, unlike infinity."""


class LeagueMeasure(Struct, frozen=True, kw_only=True):
    """One column."""

    name: str
    title: str
    about: str
    unit: str
    better: Literal["less", "more"] = "less"
    step: float = 0.0
    """The least difference that can be told."""


class RunReading(Struct, frozen=True, kw_only=True):
    """What one run says of one measure."""

    value: float
    reached: bool = True
    """False: it is longer than this."""


class MeasuredWindow(Struct, frozen=True, kw_only=True):
    """What of a run is measured, in nanoseconds."""

    start: int
    end: int


MEASURES: Mapping[str, LeagueMeasure] = {
    one.name: one
    for one in (
        LeagueMeasure(
            name="outage",
            title="outage",
            about="of the pair of containers for which it is longest: the time in which its tries failed, from the "
            "question's event (for a cut: from its heal) to the end of the run",
            unit="s",
            step=0.05,
        ),
        LeagueMeasure(
            name="lost",
            title="lost",
            about="tries that failed in the same time, per pair of containers",
            unit="packets",
            step=1.0,
        ),
        LeagueMeasure(
            name="first",
            title="first packet",
            about="from the question's event until each pair of containers had an answer; includes how long engines "
            "take to start containers",
            unit="s",
            step=0.1,
        ),
        LeagueMeasure(
            name="control",
            title="control traffic",
            about="bytes on a host's cables, in and out, while no container runs; with the underlay's own ARP",
            unit="B/s",
            step=1.0,
        ),
        LeagueMeasure(
            name="cpu",
            title="CPU",
            about="seconds of CPU a second that the overlay's processes use on a host (what the kernel does for an "
            "overlay is in no process)",
            unit="cores",
            step=0.002,
        ),
        LeagueMeasure(
            name="memory",
            title="memory",
            about="resident memory of the overlay's processes on a host",
            unit="MiB",
            step=0.1,
        ),
        LeagueMeasure(
            name="throughput",
            title="throughput",
            about="of one TCP connection",
            unit="Mbit/s",
            better="more",
        ),
        LeagueMeasure(name="rtt", title="round trip", about="median of the answered tries", unit="ms", step=0.01),
    )
}


def read_run(question: LeagueQuestion, run: PlayedRun) -> dict[str, RunReading]:
    """Every measure of a question that this run has something for."""
    window = window_of(question, run)
    if window is None:
        return never(question)
    found = {name: _READERS[name](question, run, window) for name in question.measures}
    return {name: reading for name, reading in found.items() if reading is not None}


def judged(run: PlayedRun) -> tuple[str, str]:
    """Whether the run came to its end, and why not: (valid, invalid or unknown, reason).

    Other than a run's verdict this demands nothing of how soon things are as they should be: that is measured. A step
    that failed makes a run invalid. Probes that were not on schedule say nothing."""
    bad = next((event for event in run.events if event.ok is False), None)
    if bad is not None:
        label = str(bad.detail.get("expect") or bad.detail.get("label") or bad.what)
        return "invalid", f"{label}: {bad.detail.get('error') or 'failed'}"
    for check in run.checks:
        if check.checker in ("schedule", "steps") and check.verdict == "unknown":
            return "unknown", check.summary
    return "valid", ""


def never(question: LeagueQuestion) -> dict[str, RunReading]:
    """The readings of a run that did not come to its question: its times were not reached."""
    timed = (name for name in question.measures if name in ("outage", "first"))
    return {name: RunReading(value=NEVER, reached=False) for name in timed}


def window_of(question: LeagueQuestion, run: PlayedRun) -> MeasuredWindow | None:
    """From the question's event until it ends, or the run does; None: it did not come to it."""
    events = [event for event in run.events if event.what == question.event and event.phase != "point"]
    begun = next((event for event in events if event.phase == "start"), None)
    ended = next((event for event in events if event.phase == "end" and begun and event.step == begun.step), None)
    first = ended if question.since == "end" else begun
    if first is None or begun is None or (ended is not None and ended.ok is False):
        return None
    down = next((event.t for event in run.events if event.what == "down"), None)
    end = down if down is not None else _last(run)
    if question.until == "event":
        if ended is None:
            return None
        end = ended.t
    return MeasuredWindow(start=first.t, end=end)


def _last(run: PlayedRun) -> int:
    return max((event.t for event in run.events), default=0)


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


def _hosts(run: PlayedRun) -> list[tuple[HostUsage, HostUsage]]:
    """Each host's first and last count."""
    found: dict[str, list[HostUsage]] = {}
    for event in run.events:
        if event.phase != "start" and (usage := _usage(event)) is not None:
            found.setdefault(usage.host, []).append(usage)
    return [(counts[0], counts[-1]) for counts in found.values() if counts[-1].at > counts[0].at]


def _usage(event: Event) -> HostUsage | None:
    return usage_in(str(event.detail.get("stdout", "")))


def _per_host(change: Callable[[HostUsage, HostUsage], float]) -> "_Reader":
    def reader(question: LeagueQuestion, run: PlayedRun, window: MeasuredWindow) -> RunReading | None:
        values = [change(*counts) for counts in _hosts(run)]
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


def measures_of(questions: Sequence[LeagueQuestion]) -> list[LeagueMeasure]:
    """Those that any of these questions asks for."""
    asked = {name for question in questions for name in question.measures}
    return [measure for name, measure in MEASURES.items() if name in asked]
