"""A sweep on a Dask cluster: what the cluster costs next to the points that it plays.

Candidates play the same seeds of the two-host partition, in turn: one process, one point after the other; and a sweep
on a cluster of four workers with one thread each, all on this machine over loopback. The figure is processor time (user
and system): of the cluster that of scheduler, workers and the sweeping process together, from the first task to the
last point. What it takes to start them, and to play a first few points for which each process loads the simulator, is a
row of its own, because a cluster stands before a sweep and after it.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cores import candidates
from benchmarks.processor_time import of_family
from benchmarks.rows import Row, asked, row
from lab.compiled.parts import SWITCH
from lab.errors import LabError
from lab.sweep.play import play_here
from lab.sweep.pools import Cluster
from lab.sweep.run import SweepPlan, plan, sweep

SCENARIO = Path(__file__).resolve().parents[1] / "scenarios" / "partition.yaml"
SEEDS = 10_000
WORKERS = 4
GOAL = 1.1
_FIRST = 8 * WORKERS
"""Points that are played before the figure begins."""
_STARTS = 120
"""Seconds until scheduler and workers stand, at the most."""


def run(seeds: int = SEEDS) -> list[Row]:
    """Rows: processor time of all points, alone and on the cluster. OVERLAY_LAB_BENCH_SEEDS: points of each candidate.

    OVERLAY_LAB_BENCH_RUNS: how often. The points run on compiled cores where these can be built, unless they are
    switched off (`lab.compiled.parts.SWITCH`).
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise LabError("bench cluster needs Dask: pip install 'overlay-lab[sweep]'") from None
    seeds, runs = int(asked("SEEDS", seeds)), int(asked("RUNS", 1))
    kind = "interpreted" if os.environ.get(SWITCH) == "0" else list(candidates())[-1]
    alone: list[float] = []
    played: list[float] = []
    started: list[float] = []
    for _ in range(runs):
        print(f"  {seeds} points alone, {kind}", flush=True)
        alone.append(_asked("alone", seeds)[0])
        print(f"  {seeds} points on {WORKERS} workers", flush=True)
        start, sweeping = _asked("cluster", seeds)
        started.append(start)
        played.append(sweeping)
    name = f"{seeds:,} points"
    reference = row(f"{name} alone, {kind}", "processor time", "s", alone)
    return [
        reference,
        row(
            f"{name} on {WORKERS} Dask workers, {kind}", "processor time", "s", played,
            goal=f"at most {GOAL}", against=reference,
        ),
        row("one point alone", "processor time of a point", "ms", [1000 * each / seeds for each in alone]),
        row(f"scheduler, {WORKERS} workers and client", "processor time before", "s", started),
    ]  # fmt: skip


def _asked(what: str, seeds: int) -> list[float]:
    """What a process of its own measured."""
    command = [sys.executable, "-m", "benchmarks.cluster", what, str(seeds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise LabError(f"bench cluster: {what} ended with {done.returncode}")
    return [float(word) for word in done.stdout.split()]


def _alone(seeds: int) -> Sequence[float]:
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        first, planned = _plans(Path(folder), seeds)
        for task in first.tasks:
            play_here(task)
        begun = time.process_time()
        verdicts = [play_here(task).verdict for task in planned.tasks]
        used = time.process_time() - begun
    return (_checked(verdicts, used),)


def _cluster(seeds: int) -> Sequence[float]:
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder, _workers(Path(folder)) as address:
        first, planned = _plans(Path(folder), seeds)
        sweep(first, lambda: Cluster(address))
        started = of_family(os.getpid())
        swept = sweep(planned, lambda: Cluster(address))
        used = of_family(os.getpid()) - started
    return started, _checked([point.verdict for point in swept.points], used)


def _plans(folder: Path, seeds: int) -> tuple[SweepPlan, SweepPlan]:
    """The first points, and those that are measured."""
    ranges = (range(seeds + 1, seeds + 1 + _FIRST), range(1, seeds + 1))
    first, measured = (plan(SCENARIO, (), each, backend="sim", folder=folder / f"from{each[0]}") for each in ranges)
    return first, measured


def _checked(verdicts: Sequence[str], used: float) -> float:
    wrong = sum(verdict != "valid" for verdict in verdicts)
    if wrong:
        raise LabError(f"bench cluster: {wrong} of {len(verdicts)} runs are not valid")
    return used


@contextmanager
def _workers(folder: Path) -> Iterator[str]:
    """A scheduler and its workers on loopback, children of this process: the address."""
    from distributed import Client

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    started: list[subprocess.Popen[bytes]] = []
    with (folder / "dask.log").open("ab") as log:
        try:
            for words in (scheduler, *[worker] * WORKERS):
                command = [sys.executable, "-m", "dask", *words]
                started.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment()))
            connect: Any = Client
            with connect(address, timeout=_STARTS, set_as_default=False) as client:
                client.wait_for_workers(WORKERS, timeout=_STARTS)
            yield address
        finally:
            for process in reversed(started):  # one by one: a worker hangs if scheduler and signal end it at once
                process.terminate()
                try:
                    process.wait(timeout=_STARTS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _environment() -> dict[str, str]:
    """Workers run in a folder of their own, and find the lab where this process does."""
    return {**os.environ, "PYTHONPATH": str(SCENARIO.parents[1])}


if __name__ == "__main__":
    print(*(_alone if sys.argv[1] == "alone" else _cluster)(int(sys.argv[2])))
