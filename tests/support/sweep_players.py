"""Players of a sweep's tasks for tests of pools and of the sweep as a whole: nothing is simulated, points are made up.

Importable by name, so that workers find them too.
"""

import os
import signal
import time
from pathlib import Path

from synthetic_points import point

from lab.sweep.measure import Point
from lab.sweep.play import Task
from lab.sweep.run import SweepDescription, SweepPlan


def tasks(seeds: range, folder: Path) -> tuple[Task, ...]:
    """One for each seed."""
    return tuple(
        Task(
            key=f"key-{seed}", assignment=(), seed=seed, backend="sim", text="", file="", question="", replay="",
            folder=str(folder),
        )
        for seed in seeds
    )  # fmt: skip


def planned(seeds: range, folder: Path) -> SweepPlan:
    """A sweep of these seeds."""
    about = SweepDescription(
        scenario="made-up", question="Is it?", file="x.yaml", backend="sim", code="1", settings=(), seeds=tuple(seeds)
    )
    return SweepPlan(about=about, tasks=tasks(seeds, folder), folder=folder, files={})


def _mark(task: Task) -> None:
    with (Path(task.folder) / "played").open("a") as file:
        file.write(f"{task.seed}\n")


def make_up(task: Task) -> Point:
    """A point at once; notes that it was asked."""
    _mark(task)
    made = point(task.seed)
    return task.point(0.01, {"verdict": "valid", "events": made.events, "peers": 2, "duration": made.duration})


def die_at_three(task: Task) -> Point:
    """As if the kernel had killed the worker for its memory."""
    if task.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_up(task)


def fail_at_three(task: Task) -> Point:
    """An error that no player should let out."""
    if task.seed == 3:
        raise ValueError("no such luck")
    return make_up(task)


def hang(task: Task) -> Point:
    """Says which process it is in, and stays."""
    (Path(task.folder) / f"worker-{os.getpid()}").touch()
    time.sleep(600)
    return make_up(task)
