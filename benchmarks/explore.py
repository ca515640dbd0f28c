"""How many small bugs `lab explore` finds: each of twenty mutants in 200 runs, and what it says of sound cores.

Limits on noticing and recovering are learned from the cores as they are, before anything is planted. A mutant's search
ends with the first find; how many runs that took is the figure. Nothing is found of sound cores, or it is a bug.

Each search is one process, because a mutant stays in the process in which it is planted. What a search found is kept
in `reports/bench-explore/`, under a digest of the code: a benchmark that was interrupted goes on with the next search.
"""

import multiprocessing
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from benchmarks.mutants import MUTANTS, Mutant, plant
from benchmarks.rows import Row, asked, row
from lab.compiled.parts import SWITCH
from lab.explore.finds import kind_of
from lab.explore.limits import Limits
from lab.explore.play import play_case
from lab.explore.search import Search
from lab.scenario.values import UNITS
from lab.sweep.ledger import code_version
from lab.sweep.measure import Point
from lab.sweep.play import Task
from lab.sweep.pools import begin_worker, cores

__all__ = ["LEARNED", "SCENARIO", "Here", "Searched", "run", "searched"]

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
LEARNED = range(100_000, 100_100)
"""Seeds of the runs from which limits are learned."""
_RUNS = 200
_SOUND = 2
"""Searches of the cores as they are; the seeds of the first one are those with which mutants are sought."""
_KEPT = Path("reports/bench-explore")


class Here:
    """A pool that plays in this process, where the mutant is."""

    width = 1
    ahead = 1
    where = "here"

    def submit(self, task: Task) -> "Future[Point]":
        """Play it at once."""
        future: Future[Point] = Future()
        future.set_result(play_case(task))
        return future

    def renew(self) -> None:
        """There are no workers."""

    def close(self) -> None:
        """There are no workers."""


class Searched(Struct, frozen=True):
    """What one search came to."""

    finds: list[tuple[int, str, str]]
    """(number of the run, kind, reason)."""
    seconds: float
    """Of processor time."""
    reached: list[int] = []
    """States and branches, of sound cores."""


def searched(
    file: Path, mutant: Mutant | None, seeds: range, limits: Limits | None, *, keep_going: bool = False
) -> Searched:
    """Search in this process, with a mutant in its cores from now on."""
    if mutant is not None:
        plant(mutant)
    begun = time.process_time()
    search = _search(file, limits)
    found = search.search(seeds, _silent, keep_going=keep_going)
    finds = [(seed, kind_of(point, search.case(seed)), point.reason) for seed, point in found]
    reached = sorted(search.corpus.reached) if mutant is None else []
    return Searched(finds, round(time.process_time() - begun, 1), reached)


def _search(file: Path, limits: Limits | None) -> Search:
    return Search(file, "sim", Here(), deadline=30 * UNITS["s"], most=6, stopped=lambda: False, limits=limits)


def _silent(seed: int, point: Point) -> None:
    """Nobody watches."""


@cache
def _code() -> str:
    """A digest of all that a result depends on: the code, the mutants, the scenario."""
    own = [Path(__file__).with_name(name).read_bytes() for name in ("explore.py", "mutants.py")]
    return sha256(b"\0".join((code_version().encode(), *own))).hexdigest()[:16]


def _kept(name: str, code: str, seeds: range) -> Path:
    return _KEPT / f"{name}.{seeds.start}-{seeds.stop - 1}.{code}.json"


def _limits(file: str, code: str) -> Limits:
    kept = _kept("limits", code, LEARNED)
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Limits)
    limits = _search(Path(file), None).learn(LEARNED)
    _keep(kept, limits)
    return limits


def _one(file: str, mutant: Mutant | None, seeds: range, limits: Limits, code: str) -> Searched:
    kept = _kept(mutant.name if mutant else "sound", code, seeds)
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Searched)
    result = searched(Path(file), mutant, seeds, limits, keep_going=mutant is None)
    _keep(kept, result)
    return result


def _keep(path: Path, result: Struct) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(result))
    new.replace(path)


def run() -> list[Row]:
    """Rows: runs until the find, for each mutant; the number found; what sound cores led to."""
    runs, code = int(asked("RUNS", _RUNS)), _code()
    begun, jobs = int(asked("SEED", 1)), int(asked("JOBS", cores()))
    os.environ[SWITCH] = "0"  # machine code can neither be changed nor counted
    spawn = multiprocessing.get_context("spawn")
    results: dict[str, Searched] = {}
    with TemporaryDirectory() as folder, ProcessPoolExecutor(jobs, spawn, begin_worker, max_tasks_per_child=1) as pool:
        path = Path(folder) / "four.yaml"
        path.write_text(SCENARIO, encoding="utf-8")
        file = str(path)
        limits = pool.submit(_limits, file, code).result()
        asked_for: dict[Future[Searched], str] = {}
        for mutant in MUTANTS:
            seeds = range(begun, begun + runs)
            asked_for[pool.submit(_one, file, mutant, seeds, limits, code)] = mutant.name
        for number in range(_SOUND):
            seeds = range(begun + number * runs, begun + (number + 1) * runs)
            asked_for[pool.submit(_one, file, None, seeds, limits, code)] = f"sound {number}"
        for future in as_completed(asked_for):
            name = asked_for[future]
            one = results[name] = future.result()
            told = [f"run {number}, {kind}: {reason[:160]}" for number, kind, reason in one.finds]
            print(f"  {name:32}{'; '.join(told) or 'nothing'}  ({one.seconds:.0f} s)", flush=True)
    return _rows(results, runs, begun)


def _rows(results: dict[str, Searched], runs: int, begun: int) -> list[Row]:
    rows = []
    found = 0
    for mutant in MUTANTS:
        finds = results[mutant.name].finds
        found += bool(finds)
        metric = "runs until it is found" if finds else "runs, not found"
        rows.append(row(mutant.name, metric, "", [finds[0][0] - begun + 1 if finds else runs]))
    goal = "at least 15, in 200 runs each" if runs == _RUNS else ""
    rows.append(row(f"{len(MUTANTS)} mutants", "found", "", [found], goal=goal))
    sound = [one for name, one in results.items() if name.startswith("sound")]
    false = sum(len(one.finds) for one in sound)
    rows.append(row("cores as they are", f"finds in {runs * len(sound):,} runs", "", [false], goal="0"))
    reached = {number for one in sound for number in one.reached}
    rows.append(row("cores as they are", "states and branches reached", "", [len(reached)]))
    rows.append(row("one search", "processor time", "s", [one.seconds for one in results.values()]))
    return rows
