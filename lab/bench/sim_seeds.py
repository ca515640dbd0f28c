"""Many seeds: how long the sweep of a small scenario takes on all cores, and what one run costs.

The whole command's work is in it (workers that start, runs, judging, ledger), but for the page. Workers share the
machine with whatever else goes on, so their processor time, divided by the cores, stands beside the wall time.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from lab.bench.rows import Row, publish, row
from lab.sweep.play import play_here
from lab.sweep.pools import Processes, cores
from lab.sweep.run import plan, sweep

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "partition.yaml"
SEEDS = 1000
GOAL = 120
"""Seconds for all of them on two cores."""
_ALONE = 20


def run(seeds: int = SEEDS) -> list[Row]:
    """Rows: all seeds of the two-host partition on every core, runs a second, processor time of one run."""
    name = f"partition, {seeds} seeds, {cores()} cores"
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        planned = plan(SCENARIO, (), range(1, seeds + 1), backend="sim", folder=Path(folder))
        begun, used = time.perf_counter(), _children()
        swept = sweep(planned, lambda: Processes(cores()))
        took, used = time.perf_counter() - begun, _children() - used
    wrong = [point for point in swept.points if point.verdict != "valid"]
    for point in wrong[:5]:
        print(f"seed {point.seed}: {point.verdict}: {point.reason}", file=sys.stderr)
    play_here(planned.tasks[0])  # reads the scenario and loads what a run needs
    alone = []
    for task in planned.tasks[:_ALONE]:
        before = time.process_time()
        play_here(task)
        alone.append(1000 * (time.process_time() - before))
    virtual = sum(point.duration for point in swept.points) / 1e9
    return [
        row(name, "whole sweep", "s", [took], goal=f"under {GOAL} for 1,000 seeds on 2 cores"),
        row(name, "processor time per core", "s", [used / cores()], goal="what it takes on an idle machine"),
        row(name, "runs", "/s", [seeds / took]),
        row(name, "times real time", "x", [virtual / took]),
        row(name, "runs that are not valid", "", [len(wrong)], goal="0"),
        row("partition, one run", "processor time", "ms", alone),
    ]


def _children() -> float:
    """Seconds of processor time of all workers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    print(publish("sim_seeds", run(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)))
