"""A sweep as a whole: plans its runs, skips finished ones, plays the others on a pool, stores each result as it ends.

Owns the order, the reaction to Ctrl-C and to the death of a worker, and the files of a sweep's directory.
"""

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.records import provenance
from lab.scenario.load import load_resolved, text_of
from lab.sweep.grid import Assignment, Setting, Variant, parse_set, variants
from lab.sweep.ledger import Ledger, code_version, key_of
from lab.sweep.measure import Point
from lab.sweep.play import Task, refused
from lab.sweep.pools import WorkerPool
from lab.sweep.table import replay_of

__all__ = ["Interrupt", "SweepDescription", "SweepPlan", "SweepResults", "plan", "sweep"]

ABOUT = "sweep.json"
SCENARIOS = "scenarios"
_LOOK = 0.2
"""Seconds until an interrupt is noticed at the latest: a wait for futures cannot wait for signals too."""

Told = Callable[[Point], None]
Begun = Callable[[int, str], None]
"""Called with the number of runs that were already done, and where the others are played (empty: there are none)."""


class SweepDescription(Struct, frozen=True, kw_only=True):
    """The description of a sweep, stored in `sweep.json`."""

    scenario: str
    question: str
    file: str
    backend: str
    code: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]


class SweepPlan(Struct, frozen=True, kw_only=True):
    """All runs of a sweep, in order: all seeds of one assignment, then of the next."""

    about: SweepDescription
    tasks: tuple[Task, ...]
    folder: Path
    files: dict[str, str]
    """Path of each variant's scenario file, to be written -> its text."""


class SweepResults(Struct, frozen=True, kw_only=True):
    """The results of a sweep so far."""

    about: SweepDescription
    points: tuple[Point, ...]
    """Finished points in the plan's order, and points that failed this time."""
    planned: int
    reused: int
    """Number of points from earlier invocations."""
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every run was carried out."""
        return len(self.points) == self.planned and not any(point.failed for point in self.points)


def plan(
    file: Path,
    settings: Sequence[str | Setting],
    seeds: Sequence[int],
    *,
    backend: str,
    folder: Path,
    rows: Sequence[Assignment] | None = None,
) -> SweepPlan:
    """Check everything that can be checked before a run starts; writes nothing. `rows`: see `variants`.

    Raises `LabError` for wrong settings and for scenarios that the backend cannot honour, `ScenarioError` for a wrong
    file.
    """
    text = text_of(file)
    resolved = load_resolved(file, text=text)
    parsed = tuple(parse_set(setting) if isinstance(setting, str) else setting for setting in settings)
    found = variants(text, parsed, file=str(file), name=resolved.name, question=resolved.question, rows=rows)
    code = code_version()
    about = SweepDescription(
        scenario=resolved.name,
        question=resolved.question,
        file=str(file),
        backend=backend,
        code=code,
        settings=parsed,
        seeds=tuple(seeds),
    )
    tasks: list[Task] = []
    files: dict[str, str] = {}
    for variant in found:
        path = folder.absolute() / SCENARIOS / f"{resolved.name}-{variant.digest}.yaml"
        files[str(path)] = variant.text
        mine = [_task(variant, path, seed, backend, code, resolved.question, folder) for seed in seeds]
        reasons = refused(mine[0])
        if reasons:
            what = " ".join(f"{key}={value}" for key, value in variant.assignment)
            raise LabError("\n".join(f"{what}: {backend} refuses: {reason}".removeprefix(": ") for reason in reasons))
        tasks += mine
    return SweepPlan(about=about, tasks=tuple(tasks), folder=folder, files=files)


def sweep(
    planned: SweepPlan,
    pool: Callable[[], WorkerPool],
    told: Told = lambda point: None,
    begun: Begun = lambda reused, where: None,
) -> SweepResults:
    """Play the runs that are not done yet; `pool` is created only if there are any. Points are on disk as they end.

    An interrupt (SIGINT, SIGTERM) ends the sweep cleanly with the points so far. Raises `LabError` when another sweep
    holds the directory, or the pool cannot be created.
    """
    with Ledger(planned.folder, Point) as ledger:
        _write(planned)
        provenance.started(planned.folder, goes_on=True, **_told(planned.about))
        todo = [task for task in planned.tasks if task.key not in ledger.points]
        failed: dict[str, Point] = {}
        interrupted = False

        def keep(point: Point) -> None:
            ledger.add(point)
            if point.failed:
                failed[point.key] = point
            told(point)

        if not todo:
            begun(len(planned.tasks), "")
        else:
            with Interrupt() as interrupt:
                workers = pool()
                try:
                    begun(len(planned.tasks) - len(todo), f"on {workers.where}")
                    _play(todo, workers, keep, interrupt)
                finally:
                    workers.close()
                interrupted = bool(interrupt)
        provenance.ended(planned.folder)
        found = (ledger.points.get(task.key) or failed.get(task.key) for task in planned.tasks)
        return SweepResults(
            about=planned.about,
            points=tuple(point for point in found if point is not None),
            planned=len(planned.tasks),
            reused=len(planned.tasks) - len(todo),
            interrupted=interrupted,
        )


def _play(todo: Iterable[Task], pool: WorkerPool, keep: Told, interrupt: "Interrupt") -> None:
    """Submit tasks and collect points, until all are done or an interrupt arrives."""
    waiting = deque(todo)
    suspects: deque[Task] = deque()
    """One of these killed a worker; each is retried alone, to find out which."""
    running: dict[Future[Point], Task] = {}
    alone = False

    def hand_out(queue: deque[Task]) -> bool:
        try:
            running[pool.submit(queue[0])] = queue[0]
        except BrokenExecutor:  # a worker died; running tasks report it soon, and if none runs, none caused it
            if not running:
                pool.renew()
            return False
        queue.popleft()
        return True

    while (waiting or suspects or running) and not interrupt:
        if suspects:
            if not running:
                alone = hand_out(suspects)
        elif not (alone and running):
            alone = False
            while waiting and len(running) < pool.ahead and hand_out(waiting):
                pass
        done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
        broken: list[Task] = []
        for future in done:
            task = running.pop(future)
            error = future.exception()
            if error is None:
                keep(future.result())
            elif isinstance(error, BrokenExecutor) and not alone:
                broken.append(task)
            elif isinstance(error, BrokenExecutor):
                pool.renew()
                keep(task.failure("the worker that played it died twice; is there enough memory?"))
            else:
                keep(task.failure(f"{type(error).__name__}: {error}"))
        if broken:
            broken += running.values()
            running.clear()
            pool.renew()
            suspects.extend(broken)


def _task(variant: Variant, path: Path, seed: int, backend: str, code: str, question: str, folder: Path) -> Task:
    return Task(
        key=key_of(variant.assignment, seed, variant.digest, backend, code),
        assignment=variant.assignment,
        seed=seed,
        backend=backend,
        text=variant.text,
        file=str(path),
        question=question,
        replay=replay_of(path, backend, seed),
        folder=str(folder.absolute()),
    )


def _told(about: SweepDescription) -> dict[str, Any]:
    return {"file": about.file, "scenario": about.scenario, "backend": about.backend, "code_version": about.code}


def _write(planned: SweepPlan) -> None:
    """Write the sweep's description and scenario files, from which each point can be replayed."""
    for name, text in planned.files.items():
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    text = msgspec.json.format(msgspec.json.encode(planned.about)).decode()
    (planned.folder / ABOUT).write_text(text + "\n", encoding="utf-8")


class Interrupt:
    """Whether the process was asked to stop. The second signal raises `KeyboardInterrupt` as usual."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._asked

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, number: int, frame: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
