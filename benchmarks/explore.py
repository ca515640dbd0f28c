"""How many small bugs `lab explore` finds: each of twenty mutants in 200 runs, and what it says of sound cores.

Limits on noticing and recovering are learned from the cores as they are, before anything is planted. A mutant's search
ends with the first find; how many runs that took is the figure. Nothing is found of sound cores, or it is a bug.
"""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.mutants import MUTANTS, Mutant, player
from benchmarks.rows import Row, asked, row
from lab.compiled.parts import SWITCH
from lab.explore.finds import kind_of
from lab.explore.limits import Limits
from lab.explore.search import Search
from lab.scenario.values import UNITS
from lab.sweep.measure import Point
from lab.sweep.pools import Processes, cores

__all__ = ["LEARNED", "SCENARIO", "run", "searched"]

SCENARIO = """\
# Do four hosts agree again?
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}, d: {}}}
overlay: weave
services:
  s1: {image: ksahnine/dummy-http, args: [s1], host: b}
  s2: {image: ksahnine/dummy-http, args: [s2], host: d}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 20s}
"""
LEARNED = range(100_000, 100_060)
"""Seeds of the runs from which limits are learned."""
_RUNS = 200


def searched(
    file: Path, mutant: Mutant | None, runs: int, limits: Limits | None, *, jobs: int, keep_going: bool = False
) -> tuple[list[tuple[int, str, str]], Search]:
    """(number of the run, kind, reason) of what was found with a mutant in the cores."""
    os.environ[SWITCH] = "0"  # machine code can neither be changed nor counted
    pool = Processes(jobs, player(mutant))
    try:
        search = Search(
            file, "sim", pool, deadline=30 * UNITS["s"], most=6, stopped=lambda: False, limits=limits
        )  # fmt: skip
        found = search.search(range(1, runs + 1), _silent, keep_going=keep_going)
        return [(seed, kind_of(point, search.case(seed)), point.reason) for seed, point in found], search
    finally:
        pool.close()


def _silent(seed: int, point: Point) -> None:
    """Nobody watches."""


def run() -> list[Row]:
    """Rows: runs until the find, for each mutant; the number found; what sound cores led to."""
    runs, jobs = int(asked("RUNS", _RUNS)), cores()
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "four.yaml"
        file.write_text(SCENARIO, encoding="utf-8")
        pool = Processes(jobs, player(None))
        try:
            search = Search(file, "sim", pool, deadline=30 * UNITS["s"], most=6, stopped=lambda: False)
            limits = search.learn(LEARNED)
        finally:
            pool.close()
        false, sound = searched(file, None, runs, limits, jobs=jobs, keep_going=True)
        for seed, kind, reason in false:
            print(f"  sound cores, run {seed}: {kind}: {reason[:200]}", flush=True)
        found = 0
        for mutant in MUTANTS:
            begun = time.monotonic()
            finds, _ = searched(file, mutant, runs, limits, jobs=jobs)
            found += bool(finds)
            told = f"run {finds[0][0]}, {finds[0][1]}" if finds else f"not in {runs} runs"
            print(f"  {mutant.name:32}{told}  ({time.monotonic() - begun:.0f} s)", flush=True)
            number = finds[0][0] if finds else runs
            metric = "runs until it is found" if finds else "runs, not found"
            rows.append(row(mutant.name, metric, "", [number]))
    goal = "15 of 20 in 200 runs each" if runs == _RUNS else ""
    rows.append(row(f"{len(MUTANTS)} mutants", "found", "", [found], goal=goal))
    rows.append(row("cores as they are", f"finds in {runs} runs", "", [len(false)], goal="0"))
    rows.append(
        row("cores as they are", "states and branches reached", "", [len(search.corpus.reached | sound.corpus.reached)])
    )
    return rows
