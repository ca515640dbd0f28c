"""Many seeds: how long the sweep of a small scenario takes on all cores, and what one run costs.

The whole command's work is in it (workers that start, runs, judging, ledger), but for the page. Workers share the
machine with whatever else goes on, so their processor time, divided by the cores, stands next to the wall time.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cores import candidates
from benchmarks.rows import Row, publish, row
from lab.compiled.parts import SWITCH
from lab.sweep.pools import Processes, cores
from lab.sweep.run import plan, sweep

SCENARIO = Path(__file__).resolve().parents[1] / "scenarios" / "partition.yaml"
SEEDS = 1000
GOAL = 120
"""Seconds for all of them on two cores."""


def run(seeds: int = SEEDS) -> list[Row]:
    """Rows: all seeds of the two-host partition on every core, runs a second, processor time of one run."""
    rows: list[Row] = []
    for kind, compiled in candidates().items():
        rows += _sweep(seeds, kind, compiled=compiled, slower=rows)
    return rows


def _sweep(seeds: int, kind: str, *, compiled: bool, slower: Sequence[Row]) -> list[Row]:
    print(f"  {seeds} seeds, {kind}", flush=True)
    name = f"partition, {seeds} seeds, {cores()} cores, {kind}"
    os.environ[SWITCH] = "1" if compiled else "0"  # for the workers
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        planned = plan(SCENARIO, (), range(1, seeds + 1), backend="sim", folder=Path(folder))
        begun, used = time.perf_counter(), _children()
        swept = sweep(planned, lambda: Processes(cores()))
        took, used = time.perf_counter() - begun, _children() - used
    wrong = [point for point in swept.points if point.verdict != "valid"]
    for point in wrong[:5]:
        print(f"seed {point.seed}: {point.verdict}: {point.reason}", file=sys.stderr)
    virtual = sum(point.duration for point in swept.points) / 1e9
    return [
        row(
            name, "whole sweep", "s", [took], goal=f"under {GOAL} for 1,000 seeds on 2 cores",
            against=slower[0] if slower else None,
        ),
        row(name, "processor time per core", "s", [used / cores()], goal="what it takes on an idle machine"),
        row(name, "processor time of one run", "ms", [1000 * used / seeds]),
        row(name, "runs", "/s", [seeds / took]),
        row(name, "times real time", "x", [virtual / took]),
        row(name, "runs that are not valid", "", [len(wrong)], goal="0"),
    ]  # fmt: skip


def _children() -> float:
    """Seconds of processor time of all workers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    print(publish("sim_seeds", run(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)))
