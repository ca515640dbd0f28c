"""Play cases on a pool until one fails, make it small, and write it down.

Owns what counts as a violation, when two are the same, and the file of what was found. A case is played as a task of a
sweep, in virtual time.
"""

import re
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path

from msgspec import Struct

from lab.explore.case import Case, first_case, with_faults
from lab.explore.schedule import hindered
from lab.explore.shrink import shrink
from lab.scenario.load import ScenarioError, load_resolved, parse, text_of
from lab.scenario.resolve import Resolved
from lab.sweep.measure import Point
from lab.sweep.play import Task
from lab.sweep.pools import WorkerPool
from lab.words import count

__all__ = ["Counterexample", "Search", "kind_of", "write_case"]

_LOOK = 0.2
"""Seconds after which an interrupt is noticed at the latest."""


class Counterexample(Struct, frozen=True, kw_only=True):
    """A violation, made small."""

    case: Case
    reason: str
    kind: str
    seed: int
    """Of the search in which it appeared first."""
    first: Case
    runs: int
    """Made to shrink it."""


class Search:
    """The cases of one scenario, and a pool that plays them."""

    def __init__(
        self, file: Path, backend: str, pool: WorkerPool, *, deadline: int, most: int, stopped: Callable[[], bool]
    ) -> None:
        """Raises `ScenarioError` and `LabError`. `stopped` is asked now and then whether to give up."""
        text = text_of(file)
        self.scenario: Resolved = load_resolved(file, text=text)
        self._file = file
        self._base = first_case(
            text, self.scenario.name, file.parent, deadline=deadline, hosts=tuple(self.scenario.hosts)
        )
        self._backend = backend
        self._pool = pool
        self._most = most
        self._stopped = stopped

    def case(self, seed: int) -> Case:
        """What is played for a seed."""
        return with_faults(self._base, self.scenario, seed, most=self._most)

    def search(self, seeds: Sequence[int], told: Callable[[int, Point], None]) -> tuple[int, Point] | None:
        """The first violation that any seed leads to, with its seed; None when all went well, or it was stopped."""
        waiting, running = deque(seeds), dict[Future[Point], int]()
        found: list[tuple[int, Point]] = []
        while (waiting or running) and not self._stopped() and not found:
            while waiting and len(running) < 2 * self._pool.width:
                seed = waiting.popleft()
                running[self._pool.submit(self._task(self.case(seed)))] = seed
            done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            for future in done:
                seed = running.pop(future)
                point = _result(future)
                told(seed, point)
                if kind_of(point, self.case(seed)):
                    found.append((seed, point))
        for future in running:
            future.cancel()
        return min(found, key=lambda pair: pair[0], default=None)

    def shrink(self, seed: int, point: Point, *, runs: int, told: Callable[[Case, int], None]) -> Counterexample:
        """Make what a seed led to small."""
        first = self.case(seed)
        kind = kind_of(point, first)
        reasons = {first.text(): point.reason}

        def fails(cases: Sequence[Case]) -> list[bool]:
            points = self._play(cases)
            for case, made in zip(cases, points, strict=True):
                reasons[case.text()] = made.reason
            return [kind_of(made, case) == kind for case, made in zip(cases, points, strict=True)]

        case, made = shrink(first, fails, width=self._pool.width, runs=runs, told=told)
        reason = reasons[case.text()]
        return Counterexample(case=case, reason=reason, kind=kind, seed=seed, first=first, runs=made)

    def _play(self, cases: Sequence[Case]) -> list[Point]:
        """Those of these cases that are scenarios, played; the others are blank and so no violations."""
        futures: list[tuple[Task, Future[Point] | None]] = []
        for case in cases:
            task = self._task(case)
            sound = not self._stopped() and _is_scenario(task.text, task.file)
            futures.append((task, self._pool.submit(task) if sound else None))
        return [task.point(0, {"verdict": "valid"}) if future is None else _result(future) for task, future in futures]

    def _task(self, case: Case) -> Task:
        return Task(
            key="", assignment=(), seed=case.seed, backend=self._backend, text=case.text(), file=str(self._file),
            question="", replay="", folder="",
        )  # fmt: skip


def kind_of(point: Point, case: Case) -> str:
    """What sort of violation a run of a case ended with; empty: none.

    While things are broken, what would have to go round a cut over other hosts is not demanded, and that a command
    succeeds is not either: of an address to be given out others may have the last word.
    """
    if point.failed:
        return f"crash: {point.reason.partition(':')[0]}"
    if point.verdict != "invalid":
        return ""
    step = re.match(r"step (\d+)", point.reason)
    if step is not None and int(step[1]) <= len(case.setup):
        return "fails before anything is broken"
    if step is not None and point.reason.startswith(f"{step[0]} failed"):
        return "" if hindered(case.faults) else "command"
    if step is not None:
        return "expectation"
    outage = re.match(r"\d+ outages? and (\d+) leaks?", point.reason)
    if outage is not None:
        return "leak" if int(outage[1]) else "" if case.needs_relays else "outage"
    if "wrong answer" in point.reason:
        return "" if case.needs_relays else "wrong answers"
    return "invariant" if "own addresses" in point.reason or "invariant" in point.reason else "checker"


def write_case(found: Counterexample, scenario: Resolved, folder: Path, command: str) -> Path:
    """Write the small scenario; returns its path. `command` is put before the path to play it again."""
    path = folder / f"{scenario.name}-{found.seed}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"Does {scenario.name} come back from {_few(found.case)}?",
        "",
        f"Found by `lab explore`, seed {found.seed}: {found.first.size}, made smaller in {count(found.runs, 'run')}.",
        f"It ended with: {' '.join(found.reason.split())[:400]}",
        f"Play it again: {command} {shlex.quote(str(path))} --backend sim --seed {found.case.seed}",
    ]
    path.write_text(found.case.text(*lines), encoding="utf-8")
    return path


def _few(case: Case) -> str:
    verbs = [fault.verb.replace("_", " ") for fault in case.faults]
    words = [f"a {verb}" if verbs.count(verb) == 1 else f"{verbs.count(verb)} {verb}s" for verb in dict.fromkeys(verbs)]
    return ", ".join(words) or "nothing at all"


def _result(future: "Future[Point]") -> Point:
    error = future.exception()
    if error is None:
        return future.result()
    reason = (
        "WorkerDied: is there enough memory?"
        if isinstance(error, BrokenExecutor)
        else f"{type(error).__name__}: {error}"
    )
    return Point(key="", parameters={}, seed=0, verdict="unknown", reason=reason, failed=True)


def _is_scenario(text: str, file: str) -> bool:
    try:
        parse(text, file)
    except ScenarioError:
        return False
    return True
