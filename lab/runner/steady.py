"""Watches the steady state during a run: records when a condition breaks and holds again, and ends the run.

Owns when a window is judged. `lab.checkers.steady` owns how it is judged and which windows count; it judges the history
afterwards by the same rules.
"""

import contextlib
from collections.abc import Iterator

from lab.checkers.steady import Disturbances, SteadyJudge, SteadyResult, SteadyWindow, judges_of
from lab.errors import LabError
from lab.records.history import AnyRecord, Event, Sample
from lab.runner.stage import Stage
from lab.scenario.resolve import Resolved
from lab.scenario.values import UNITS

__all__ = ["SteadyBroken", "SteadyWatch"]

_SLACK = 200 * UNITS["ms"]
"""Extra wait after a window and its longest tries, until their samples have arrived."""
_LOOK = 100 * UNITS["ms"]
"""Shortest time between two evaluations."""


class SteadyBroken(LabError):
    """A condition with `abort: true` did not hold when it had to."""


class SteadyWatch:
    """The steady-state conditions of one run."""

    def __init__(self, scenario: Resolved) -> None:
        self._judges = judges_of(scenario.steady, scenario.services)
        self._faults = Disturbances()
        self._seen = [0] * len(self._judges)
        """Per condition: the time up to which its windows were evaluated."""
        self._held = [False] * len(self._judges)
        self._state = [""] * len(self._judges)
        self._busy: int | None = None

    def __bool__(self) -> bool:
        return bool(self._judges)

    def feed(self, record: AnyRecord) -> None:
        """Take the next record of the history."""
        if isinstance(record, Sample):
            for judge in self._judges:
                judge.feed(record)
        elif isinstance(record, Event):
            self._faults.feed(record)

    @contextlib.contextmanager
    def disturbing(self, stage: Stage) -> Iterator[None]:
        """While a step changes the lab, do not judge tries that are due after its start, because its event comes later.

        Raises `SteadyBroken` if it is the first disturbance and an aborting condition did not hold before.
        """
        self._gate(stage)
        before, self._busy = self._busy, stage.lab.now() if self._busy is None else self._busy
        try:
            yield
        finally:
            self._busy = before

    def _gate(self, stage: Stage) -> None:
        if self._faults.all:
            return
        for judge in self._judges:
            end = self._horizon(judge, stage.lab.now())
            reading = judge.reading(end - judge.condition.window, end)
            if judge.condition.abort and reading.state == "broken":
                raise SteadyBroken(
                    f"the steady state {judge.condition.name} did not hold before the first fault: {reading.text}"
                )

    async def watch(self, stage: Stage) -> None:
        """Evaluate repeatedly, until cancelled."""
        pause = max(_LOOK, min(judge.pane for judge in self._judges))
        while True:
            await stage.lab.sleep_until(stage.lab.now() + pause)
            self._look(stage)

    async def finish(self, stage: Stage) -> None:
        """After the timeline: wait until it is known for each condition whether it holds again."""
        for judge in self._judges:
            wait = judge.condition.timeout + _SLACK
            ends = [judge.condition.window + first] if (first := judge.first_due) is not None else []
            ends += [owed] if (owed := judge.owes_until(self._faults.all)) is not None else []
            for end in ends:
                await stage.lab.sleep_until(end + wait)
        self._look(stage)

    def results(self, now: int) -> tuple[SteadyResult, ...]:
        """The result of each condition."""
        return tuple(judge.result(self._faults.all, now - judge.condition.timeout) for judge in self._judges)

    def _horizon(self, judge: SteadyJudge, now: int) -> int:
        end = now - judge.condition.timeout - _SLACK
        return end if self._busy is None else min(end, self._busy)

    def _look(self, stage: Stage) -> None:
        now = stage.lab.now()
        for index, judge in enumerate(self._judges):
            until = self._horizon(judge, now)
            for window in judge.windows(self._faults.all, until, since=self._seen[index], held=self._held[index]):
                self._held[index] |= window.part == "before" and window.reading.state == "held"
                self._tell(stage, index, judge, window)
            self._seen[index] = max(self._seen[index], until)

    def _tell(self, stage: Stage, index: int, judge: SteadyJudge, window: SteadyWindow) -> None:
        """Record a change of the condition; end the run if the condition aborts."""
        state, condition = window.reading.state, judge.condition
        if not window.part or state == "unknown":
            return
        if state != self._state[index]:
            if self._state[index] or state == "broken":
                word = "holds again" if state == "held" else "broken"
                allowed = f", as {window.cause} may" if state == "broken" and window.part == "during" else ""
                label = f"steady state {condition.name} {word}{allowed}: {window.reading.text}"
                stage.event(-1, "steady", "point", label=label, hosts=[])
            self._state[index] = state
        if state == "broken" and window.part != "during" and condition.abort:
            cause = f" during {window.cause}" if window.cause else ""
            stage.fail(SteadyBroken(f"the steady state {condition.name} broke{cause}: {window.reading.text}"))
