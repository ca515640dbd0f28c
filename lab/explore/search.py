"""Plays cases on a pool, chooses the next ones by what earlier ones reached, and minimizes violations.

Owns the order of cases, which depends on seeds alone and not on the number of processes, and the file of a
counterexample. A case is played as a task of a sweep, in virtual time.
"""

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import partial
from pathlib import Path

from msgspec import Struct

from lab.explore.case import Case, first_case
from lab.explore.corpus import Corpus
from lab.explore.finds import kind_of
from lab.explore.limits import Limits, learned
from lab.explore.lone import learning_case, measured
from lab.explore.play import Played
from lab.explore.shrink import shrink
from lab.explore.start import Ground, ground
from lab.scenario.load import ScenarioError, load_resolved, parse, text_of
from lab.scenario.resolve import Resolved
from lab.sweep.measure import Point
from lab.sweep.play import Task
from lab.sweep.pools import WorkerPool
from lab.words import count

__all__ = ["Counterexample", "Search", "kind_of", "write_case"]

_LOOK = 0.2
"""Maximum delay in seconds until an interrupt is noticed."""
_ROUND = 16
"""Number of cases that are chosen together, by what all cases before them reached."""


class Counterexample(Struct, frozen=True, kw_only=True):
    """A minimized violation."""

    case: Case
    reason: str
    kind: str
    seed: int
    """Seed of the search in which it first appeared."""
    first: Case
    runs: int
    """Number of runs made to shrink it."""


class Search:
    """The cases of one scenario, and a pool that plays them."""

    def __init__(
        self,
        file: Path,
        backend: str,
        pool: WorkerPool,
        *,
        deadline: int,
        most: int,
        stopped: Callable[[], bool],
        limits: Limits | None = None,
    ) -> None:
        """Raises `ScenarioError` and `LabError`. `stopped` is polled and returns whether to stop."""
        text = text_of(file)
        self.scenario: Resolved = load_resolved(file, text=text)
        self._file = file
        base = first_case(text, self.scenario.name, file.parent, deadline=deadline, hosts=tuple(self.scenario.hosts))
        self._ground: Ground = ground(base, self.scenario, str(file))
        self._backend = backend
        self._pool = pool
        self._most = most
        self._stopped = stopped
        self._limits = limits
        self._cases: dict[int, Case] = {}
        self.corpus = Corpus()

    def case(self, seed: int) -> Case:
        """The case that was played for a seed; for other seeds, the case if it were the first one."""
        return self._cases.get(seed) or self._fresh(seed)

    def _fresh(self, seed: int) -> Case:
        return self._ground.draw(seed, self._most, self._limits)

    def learn(self, seeds: Sequence[int], told: Callable[[int, Point], None] = lambda seed, point: None) -> Limits:
        """Limit noticing and recovery from now on to the times of runs in which faults come one by one; plays one such
        run for each of these seeds."""
        cases = {seed: learning_case(self._ground.base, self.scenario, seed) for seed in seeds}
        notice: dict[str, list[int | None]] = {}
        recover: dict[str, list[int | None]] = {}
        for seed, point in self._round(cases, told):
            if isinstance(point, Played):
                for shape, noticing, took in measured(cases[seed], point.settled):
                    (notice if noticing else recover).setdefault(shape, []).append(took)
        self._limits = learned(notice, recover)
        return self._limits

    def search(
        self, seeds: Sequence[int], told: Callable[[int, Point], None], *, keep_going: bool = False
    ) -> list[tuple[int, Point]]:
        """The violations of these seeds, in order: only the first one, or all of them with `keep_going`."""
        found: list[tuple[int, Point]] = []
        for begin in range(0, len(seeds), _ROUND):
            if self._stopped() or (found and not keep_going):
                break
            chosen = seeds[begin : begin + _ROUND]
            batch = {seed: self.corpus.next(seed, self._most, partial(self._fresh, seed)) for seed in chosen}
            self._cases |= batch
            for seed, point in self._round(batch, told):
                if isinstance(point, Played):
                    self.corpus.add(batch[seed], point.reached)
                if kind_of(point, batch[seed]):
                    found.append((seed, point))
        return found if keep_going else found[:1]

    def _round(self, cases: dict[int, Case], told: Callable[[int, Point], None]) -> list[tuple[int, Point]]:
        """Play all these cases and return the results in order; fewer if stopped."""
        running = {self._pool.submit(self._task(case)): seed for seed, case in cases.items()}
        points: dict[int, Point] = {}
        while running and not self._stopped():
            done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            for future in done:
                seed = running.pop(future)
                points[seed] = _result(future)
                told(seed, points[seed])
        for future in running:
            future.cancel()
        return [(seed, points[seed]) for seed in cases if seed in points]

    def shrink(self, seed: int, point: Point, *, runs: int, told: Callable[[Case, int], None]) -> Counterexample:
        """Minimize the violation of a seed."""
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
        """Play the valid cases among these; the others get blank results, which are not violations."""
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


def write_case(found: Counterexample, scenario: Resolved, folder: Path, command: str) -> Path:
    """Write the minimized scenario; returns its path. `command` plus the path is the command to play it again."""
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
