"""Do the conditions of `steady:` hold before the first fault, may they break now, and do they hold again? Pure.

Owns how a window of tries is judged, and which windows count. Windows end on a grid, five per window length; a window
is judged when every try in it has ended. With too few tries, the missing ones are assumed to be good: if the condition
is broken even then, the window is broken, otherwise unknown. A try without an answer counts as slower than any limit.
Tries that the prober started too late (`late`), and those whose container was gone, say nothing about the network and
are not counted.

The runner uses the same judge during the run (to end it: `abort`), so both give the same result. Findings of the
checker: {name, state, words, reason, before, during, after, windows, tries, breaks}.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import floor, inf
from typing import Any, Literal

import msgspec
from msgspec import Struct

from lab.checkers.run import RecordedRun
from lab.checkers.verdict import CheckResult, Validity, merge
from lab.checkers.world import is_change
from lab.kinds.verbs import Verb, verb_of
from lab.records.history import Event, Sample
from lab.scenario.steady import QUANTILES, SteadyCondition
from lab.words import count, span

__all__ = [
    "Disturbances",
    "SteadyJudge",
    "SteadyReading",
    "SteadyResult",
    "SteadyWindow",
    "check_steady",
    "conditions_of",
    "disturbs",
    "first_start",
    "in_words",
    "judges_of",
    "results_of",
    "verdict_of",
]

_PANES = 5
"""Number of windows that begin within one window length."""
_SAYS_NOTHING = ("late", "gone")
State = Literal["held", "broken", "unknown"]
_WORST_FIRST: tuple[State, ...] = ("broken", "unknown", "held")
Part = Literal["before", "during", "after", ""]
"""Before the first fault, while a fault may break it, or at any other time; empty: before it held for the first time.
"""


class SteadyReading(Struct, frozen=True):
    """The evaluation of one condition over one window."""

    state: State
    text: str
    """The measured values, next to their limits."""
    tries: int


class SteadyWindow(Struct, frozen=True):
    """A window [start, end) and its verdict. `cause`: the faults that may break it, or were in force."""

    start: int
    end: int
    part: Part
    reading: SteadyReading
    cause: str = ""


class SteadyBreak(Struct, frozen=True, kw_only=True):
    """A sequence of consecutive broken windows."""

    start: int
    end: int
    text: str
    """The text of the first broken window."""
    allowed: bool
    cause: str = ""


class SteadyResult(Struct, frozen=True, kw_only=True):
    """The result of one condition. `before`, `during`, `after` are empty where there was no such time."""

    name: str
    words: str
    state: State
    reason: str = ""
    before: str = ""
    during: str = ""
    after: str = ""
    windows: int = 0
    tries: int = 0
    breaks: tuple[SteadyBreak, ...] = ()


def disturbs(verb: Verb[Any]) -> bool:
    """Whether a step of this verb is a disturbance: it does not set things up, watch, or end another step."""
    return bool(verb.name) and not verb.setup and not verb.ends


class FaultSpan(Struct):
    """A disturbance of the lab, from when until when (None: still in force)."""

    step: int
    what: str
    label: str
    start: int
    end: int | None = None


class Disturbances:
    """The disturbances of the lab, from its events."""

    def __init__(self) -> None:
        self.all: list[FaultSpan] = []

    def feed(self, event: Event) -> None:
        """Take the next event, in written order."""
        verb = verb_of(event.what)
        if verb.ends and is_change(event):
            for one in self.all:
                if one.end is None and one.what in verb.ends:
                    one.end = event.t
        if not disturbs(verb):
            return
        under_way = next((one for one in self.all if one.end is None and (one.step, one.what) == _key(event)), None)
        if under_way is not None:
            if event.phase == "end":
                under_way.end = event.t
        elif event.phase != "end":
            over = event.t if event.phase == "point" and not verb.lasts else None
            label = str(event.detail.get("label") or event.what)
            self.all.append(FaultSpan(event.step, event.what, label, event.t, over))


def first_start(faults: Iterable[FaultSpan]) -> int | None:
    """When the lab was disturbed for the first time."""
    return min((one.start for one in faults), default=None)


def _key(event: Event) -> tuple[int, str]:
    return event.step, event.what


class SteadyJudge:
    """The tries of one condition, and their evaluation."""

    def __init__(self, condition: SteadyCondition, services: Iterable[str]) -> None:
        self.condition = condition
        self._services = frozenset(services)
        self._due: list[int] = []
        self._tries: list[Sample] = []

    def feed(self, sample: Sample) -> None:
        """Take a try, in any order."""
        condition = self.condition
        if (
            sample.probe != condition.probe
            or sample.error in _SAYS_NOTHING
            or not self._meant(sample.source, condition.sources)
            or not self._meant(sample.target, condition.targets)
        ):
            return
        if not self._due or sample.t >= self._due[-1]:
            self._due.append(sample.t)
            self._tries.append(sample)
        else:
            at = bisect_right(self._due, sample.t)
            insort(self._due, sample.t)
            self._tries.insert(at, sample)

    @property
    def pane(self) -> int:
        """Time from the beginning of one window to that of the next."""
        return self.condition.window // _PANES

    @property
    def first_due(self) -> int | None:
        """When the first try was due."""
        return self._due[0] if self._due else None

    def _meant(self, name: str, names: Sequence[str]) -> bool:
        if names == ("*",) or name in names:
            return True
        service, _, number = name.rpartition("-")
        return service in names and service in self._services and number.isdigit()

    def reading(self, start: int, end: int) -> SteadyReading:
        """The evaluation of the window [start, end)."""
        tries = self._tries[bisect_left(self._due, start) : bisect_left(self._due, end)]
        return _reading(self.condition, tries)

    def windows(
        self, faults: Sequence[FaultSpan], until: int, *, since: int = 0, held: bool = False
    ) -> Iterator[SteadyWindow]:
        """All windows that end after `since` and are complete at `until`, in order of their ends.

        Includes the window that ends at the first fault. `held`: the condition held before `since`.
        """
        if not self._due:
            return
        length, pane = self.condition.window, self.pane
        first = first_start(faults)
        ends = list(range((max(since, self._due[0]) // pane + 1) * pane, until + 1, pane))
        if first is not None and max(since, self._due[0]) < first <= until and first not in ends:
            insort(ends, first)
        for end in ends:
            start = end - length
            if start < self._due[0] and end != first:
                continue
            part, cause = self._part(faults, first, start, end)
            if part == "before" and not held and end != first:
                reading = self.reading(start, end)
                held = reading.state == "held"
                yield SteadyWindow(start, end, "before" if held else "", reading)
                continue
            yield SteadyWindow(start, end, part, self.reading(start, end), cause)

    def _part(self, faults: Sequence[FaultSpan], first: int | None, start: int, end: int) -> tuple[Part, str]:
        if first is None or end <= first:
            return "before", ""
        condition = self.condition
        near = [one for one in faults if one.start < end]
        for one in near:
            if one.what in condition.may_break and (one.end is None or start < one.end + condition.again_within):
                return "during", one.label
        return "after", ", ".join(one.label for one in near if one.end is None or start < one.end)

    def owes_until(self, faults: Sequence[FaultSpan]) -> int | None:
        """End of the window by which the condition must hold again after the last fault that may break it; None if no
        window is due, or the fault is still in force."""
        mine = [one for one in faults if one.what in self.condition.may_break]
        if not mine or any(one.end is None for one in mine):
            return None
        start = max(one.end or 0 for one in mine) + self.condition.again_within
        return -(-(start + self.condition.window) // self.pane) * self.pane

    def result(self, faults: Sequence[FaultSpan], until: int) -> SteadyResult:
        """The result of the condition, from all tries that had ended when the samples due at `until` had."""
        windows = list(self.windows(faults, until))
        first = first_start(faults)
        states: dict[str, State] = {}
        reasons: dict[State, str] = {}

        def say(part: str, state: State, reason: str) -> None:
            states[part] = _worst((states.get(part, "held"), state))
            if part != "during":
                reasons.setdefault(state, reason)

        for window in windows:
            if window.part:
                say(window.part, window.reading.state, _told(window))
        if "before" not in states:
            last = windows[-1] if windows else None
            state: State = "broken" if last is not None and last.reading.state == "broken" else "unknown"
            if first is None:
                reason = _told(last) if last else "no try was made"
                say("before", state, f"it never held: {reason}")
            else:
                say("before", "unknown", "no try was made before the first fault")
        owed = self.owes_until(faults)
        if owed is not None and owed > until:
            say(
                "after",
                "unknown",
                f"the run ended before a window of {span(self.condition.window)} could show it again",
            )
        state = _worst([state for part, state in states.items() if part != "during"])
        return SteadyResult(
            name=self.condition.name,
            words=in_words(self.condition),
            state=state,
            reason=reasons.get(state, "") if state != "held" else "",
            before=states.get("before", ""),
            during=states.get("during", ""),
            after=states.get("after", ""),
            windows=len(windows),
            tries=len(self._tries),
            breaks=tuple(_breaks(windows)),
        )


def _told(window: SteadyWindow) -> str:
    cause = f" during {window.cause}" if window.cause else ""
    return f"{window.reading.text} from {window.start / 1e9:.1f} s to {window.end / 1e9:.1f} s{cause}"


def _worst(states: Sequence[State]) -> State:
    return next(state for state in _WORST_FIRST if state in states)


def _breaks(windows: Iterable[SteadyWindow]) -> Iterator[SteadyBreak]:
    """Sequences of broken windows, without those of the warm-up."""
    run: list[SteadyWindow] = []
    for window in [*windows, None]:
        broken = window is not None and bool(window.part) and window.reading.state == "broken"
        if window is not None and broken and (not run or (run[0].part == "during") == (window.part == "during")):
            run.append(window)
            continue
        if run:
            yield SteadyBreak(
                start=run[0].start,
                end=run[-1].end,
                text=run[0].reading.text,
                allowed=run[0].part == "during",
                cause=run[0].cause,
            )
        run = [window] if window is not None and broken else []


# One window


def _reading(condition: SteadyCondition, tries: Sequence[Sample]) -> SteadyReading:
    number = len(tries)
    lacking = max(condition.least - number, 0)
    told, broken = [], False
    if condition.success is not None:
        bad = sum(not sample.ok for sample in tries)
        broken |= bad > floor((1 - condition.success) * (number + lacking) + 1e-9)
        share = f"{_percent((number - bad) / number)} answered" if number else "nothing answered"
        told.append(f"{share} (at least {_percent(condition.success)})")
    times = sorted(sample.latency if sample.ok and sample.latency is not None else inf for sample in tries)
    for name, percentile in QUANTILES.items():
        limit: int | None = getattr(condition, name)
        if limit is None:
            continue
        slow = number - bisect_right(times, limit)
        broken |= slow > (number + lacking) * (100 - percentile) // 100
        told.append(f"{name} {_time(_ranked(times, percentile))} (at most {span(limit)})")
    lacks_measure = False
    for text, over in _measured(condition, tries):
        told.append(text)
        broken |= bool(over)
        lacks_measure |= over is None
    text = f"{'; '.join(told)} of {count(number, 'try', 'tries')}"
    if broken:
        return SteadyReading("broken", text, number)
    if lacking or lacks_measure:
        return SteadyReading("unknown", f"{text}, too few (at least {condition.least})", number)
    return SteadyReading("held", text, number)


def _measured(condition: SteadyCondition, tries: Sequence[Sample]) -> Iterator[tuple[str, bool | None]]:
    """(words, whether the limit is exceeded; None: unknown) for quantities other than success and time."""
    if condition.loss is not None:
        sent = sum(sample.measured.get("sent", 0) for sample in tries)
        lost = sum(sample.measured.get("lost", 0) for sample in tries)
        share = lost / sent if sent else None
        shown = "unknown" if share is None else _percent(share)
        yield f"loss {shown} (at most {_percent(condition.loss)})", None if share is None else share > condition.loss
    if condition.jitter is not None:
        found = sorted(sample.measured["jitter"] for sample in tries if "jitter" in sample.measured)
        middle = _middle(found)
        shown = "unknown" if middle is None else span(middle)
        over = None if middle is None else middle > condition.jitter
        yield f"median jitter {shown} (at most {span(condition.jitter)})", over
    if condition.throughput is not None:
        rates = sorted(sample.measured.get("throughput", 0) for sample in tries)
        middle = _middle(rates)
        shown = "unknown" if middle is None else _bits(middle)
        under = None if middle is None else middle < condition.throughput
        yield f"median throughput {shown} (at least {_bits(condition.throughput)})", under


def _middle(values: Sequence[int]) -> int | None:
    return values[(len(values) - 1) // 2] if values else None


def _ranked(times: Sequence[float], percentile: int) -> float | None:
    return times[max(0, -(-len(times) * percentile // 100) - 1)] if times else None


def _time(value: float | None) -> str:
    return "unknown" if value is None else "without an answer" if value == inf else span(int(value))


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %" if share < 1 else "100 %"


def _bits(rate: int) -> str:
    for unit, size in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate} bit/s"


def in_words(condition: SteadyCondition) -> str:
    """The condition in a line: `http client → shop: success at least 99 %, p99 at most 50 ms in 5.00 s`."""
    limits = []
    if condition.success is not None:
        limits.append(f"success at least {_percent(condition.success)}")
    limits += [
        f"{name} at most {span(limit)}"
        for name in (*QUANTILES, "jitter")
        if (limit := getattr(condition, name)) is not None
    ]
    if condition.loss is not None:
        limits.append(f"loss at most {_percent(condition.loss)}")
    if condition.throughput is not None:
        limits.append(f"throughput at least {_bits(condition.throughput)}")
    ends = [", ".join(names) if names != ("*",) else "all" for names in (condition.sources, condition.targets)]
    return f"{condition.probe} {' → '.join(ends)}: {', '.join(limits)} in {span(condition.window)}"


# A whole run


def conditions_of(scenario: Mapping[str, Any]) -> tuple[SteadyCondition, ...]:
    """The conditions of the resolved scenario in a history."""
    try:
        return msgspec.convert(scenario.get("steady") or (), tuple[SteadyCondition, ...])
    except msgspec.ValidationError:
        return ()


def judges_of(conditions: Iterable[SteadyCondition], services: Iterable[str]) -> tuple[SteadyJudge, ...]:
    """One judge per condition."""
    names = tuple(services)
    return tuple(SteadyJudge(condition, names) for condition in conditions)


def results_of(run: RecordedRun) -> tuple[SteadyResult, ...]:
    """The results of the conditions of a recorded run."""
    judges = judges_of(conditions_of(run.scenario), run.scenario.get("services") or ())
    if not judges:
        return ()
    faults = Disturbances()
    for event in run.events:
        if event.t < run.stop:
            faults.feed(event)
    for judge in judges:
        for series in run.series.values():
            for sample in series:
                judge.feed(sample)
    end = min(run.stop, run.end)
    return tuple(judge.result(faults.all, end - judge.condition.timeout) for judge in judges)


_VALIDITY: dict[State, Validity] = {"held": "valid", "broken": "invalid", "unknown": "unknown"}


def verdict_of(results: Sequence[SteadyResult]) -> tuple[Validity, str]:
    """The merged verdict of all conditions, and the error of the first one that decides it; empty if all held."""
    verdict = merge(_VALIDITY[result.state] for result in results) if results else "valid"
    if verdict == "valid":
        return verdict, ""
    bad = next(result for result in results if _VALIDITY[result.state] == verdict)
    word = "did not hold" if verdict == "invalid" else "cannot be judged"
    return verdict, f"{bad.name} {word}: {bad.reason}"


def check_steady(run: RecordedRun) -> CheckResult:
    """Every condition of the steady state held when it had to."""
    results = results_of(run)
    if not results:
        return CheckResult(checker="steady", verdict="valid", summary="The scenario has no steady state.")
    verdict, wrong = verdict_of(results)
    return CheckResult(
        checker="steady",
        verdict=verdict,
        summary=f"{wrong}." if wrong else f"{count(len(results), 'condition')} of the steady state held.",
        findings=tuple(msgspec.to_builtins(result) for result in results),
    )
