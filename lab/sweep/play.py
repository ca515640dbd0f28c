"""One run of a sweep, from its `Task` to its `Point`: in this process in virtual time, or as a separate `lab run`.

Called by workers, also on other machines, because a task contains all that it needs. Never raises for a failure in a
run: a run that could not be carried out gives a `Point` that says so.
"""

import asyncio
import io
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from lab import child
from lab.checkers import Validity, merge
from lab.contracts.lab import Backend
from lab.errors import LabError
from lab.kinds.backends import backend as find_backend
from lab.records.history import AnyRecord, Writer, read
from lab.records.store import HISTORY
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve
from lab.sweep.grid import Assignment
from lab.sweep.measure import Point, measure
from overlay import __version__

__all__ = ["CommandPlayer", "Task", "play_here", "play_recorded"]

_LAST_WORDS = 400


class Task(Struct, frozen=True, kw_only=True):
    """One run to play."""

    key: str
    assignment: Assignment
    seed: int
    backend: str
    text: str
    """Text of the scenario file with the assignment's values in it."""
    file: str
    """Path of that text, in the sweep's folder."""
    question: str
    replay: str
    folder: str
    """The sweep's folder."""

    @property
    def scenario_file(self) -> str:
        """Path of the scenario file, relative to the sweep's folder."""
        file, folder = Path(self.file), Path(self.folder)
        return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name

    def point(self, wall: float, fields: dict[str, Any]) -> Point:
        """The result of the run; `fields` come from `measure`."""
        return Point(
            key=self.key,
            parameters=dict(self.assignment),
            seed=self.seed,
            backend=self.backend,
            scenario_file=self.scenario_file,
            replay=self.replay,
            wall=round(wall, 4),
            **fields,
        )

    def failure(self, reason: str, wall: float = 0.0) -> Point:
        """The result of a run that could not be carried out."""
        return self.point(wall, {"verdict": "unknown", "reason": reason, "failed": True})


class _MemoryWriter(Writer):
    """A history in memory: nothing is written or read back."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.records: list[AnyRecord] = []

    def write(self, record: AnyRecord) -> None:
        self.records.append(record)


def play_here(task: Task) -> Point:
    """Play a task in this process, in virtual time."""
    return play_recorded(task)[0]


def play_recorded(task: Task) -> tuple[Point, list[AnyRecord]]:
    """Like `play_here`, and also return the history."""
    begun = time.perf_counter()
    collector = _MemoryWriter()
    try:
        scenario = resolve(_parsed(task.text, task.file), file=task.file, question=task.question, seed=task.seed)
        backend = find_backend(task.backend)
        outcome = run_virtually(backend, scenario, collector)
        fields = _judged(outcome.verdict, outcome.reason, measure(collector.records))
    except Exception as error:
        # Any error concerns this run alone: the others continue, and this one is retried next time.
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return task.failure(reason, time.perf_counter() - begun), collector.records
    return task.point(time.perf_counter() - begun, fields), collector.records


def run_virtually(backend: Backend, scenario: Resolved, writer: Writer) -> RunOutcome:
    """Play a scenario on a backend with virtual time."""
    runner = Runner(scenario, backend, writer, version=__version__)
    carry: Callable[[Any], RunOutcome] = getattr(backend, "run", asyncio.run)
    return carry(runner.run())


class CommandPlayer:
    """Plays tasks by `lab run`, one after the other; `stop` ends the current one cleanly."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def __call__(self, task: Task) -> Point:
        """Play a task; the run's directory stays below the sweep's."""
        begun = time.perf_counter()
        command = ["run", task.file, "--backend", task.backend, "--json"]
        command += ["--seed", str(task.seed), "--out", str(Path(task.folder) / "runs")]
        if self._interrupted():
            return task.failure("interrupted")
        process = self._process = child.start(command)
        out, err = child.finish(process)
        self._process = None
        wall = time.perf_counter() - begun
        summary = child.summary_in(out)
        if summary is None:
            told = (err or out).strip()[-_LAST_WORDS:]
            return task.failure(f"`lab run` ended with {process.returncode}: {told}", wall)
        history = Path(summary["run_dir"]) / HISTORY
        if self._interrupted():
            return task.failure("interrupted", wall)
        try:
            return task.point(wall, _judged(summary["verdict"], summary.get("reason") or "", measure(read(history))))
        except (OSError, ValueError) as error:
            return task.failure(f"{history}: {error}", wall)

    def _interrupted(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        """Interrupt the current run; its lab goes down by itself."""
        self._stopped = True
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)


def _judged(verdict: Validity, reason: str, measured: dict[str, Any]) -> dict[str, Any]:
    """The worse of the runner's and the checkers' verdicts, as in `lab run`."""
    if verdict == "unknown" and reason.startswith("the lab"):
        # The lab did not come up, or failed: that says nothing about the scenario, and a retry may succeed.
        measured = measured | {"failed": True}
    return measured | {"verdict": merge([verdict, measured["verdict"]]), "reason": reason or measured["reason"]}


@lru_cache(maxsize=64)
def _parsed(text: str, file: str) -> Any:
    """Cached, because parsing YAML takes longer than many runs."""
    return parse(text, file)


def refused(task: Task) -> list[str]:
    """The features of the task that its backend cannot honour."""
    try:
        backend = find_backend(task.backend)
        return backend.refuse(resolve(_parsed(task.text, task.file), file=task.file, seed=task.seed))
    except LabError as error:
        return [str(error)]
