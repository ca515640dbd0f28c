"""`lab explore` against mutants of `make bench-explore`, in a small form; and that it is the same wherever it runs."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from benchmarks.explore import SCENARIO, searched
from benchmarks.mutants import MUTANTS, Mutant, check
from lab.explore.play import play_case
from lab.explore.search import Search
from lab.sweep.measure import Point
from lab.sweep.play import Task
from lab.sweep.pools import Processes, WorkerPool

SMALL = """\
# Do three hosts agree again?
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}}
overlay: weave
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 20s}
"""
NAMED = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_fits_the_code(mutant: Mutant) -> None:
    check(mutant)


def test_there_are_twenty_in_all_parts() -> None:
    assert len(NAMED) == 20
    assert {mutant.area for mutant in MUTANTS} == {
        "routing", "gossip", "ipam", "bootstrap", "dns", "connection", "path",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["routing.old-incarnation", "dns.lost-peer"])
def test_mutants_are_found(name: str, tmp_path: Path) -> None:
    file = tmp_path / "four.yaml"
    file.write_text(SCENARIO)
    found, _ = searched(file, NAMED[name], 64, None, jobs=1)
    assert found, f"{name} was not found in 64 runs"


class Here:
    """Plays in this process."""

    width = 1
    ahead = 2
    where = "here"

    def submit(self, task: Task) -> "Future[Point]":
        future: Future[Point] = Future()
        future.set_result(play_case(task))
        return future

    def renew(self) -> None: ...

    def close(self) -> None: ...


def explored(file: Path, pool: WorkerPool) -> tuple[list[str], set[int]]:
    search = Search(file, "sim", pool, deadline=20_000_000_000, most=4, stopped=lambda: False)
    try:
        search.search(range(1, 33), lambda seed, point: None, keep_going=True)
        return [search.case(seed).text() for seed in range(1, 33)], search.corpus.reached
    finally:
        pool.close()


def test_what_is_searched_depends_on_seeds_alone(tmp_path: Path) -> None:
    """Not on how many processes play, nor on what they have played before."""
    file = tmp_path / "three.yaml"
    file.write_text(SMALL)
    texts, reached = explored(file, Here())
    again, reached_again = explored(file, Processes(2, play_case))
    assert texts == again and reached == reached_again
    assert len(reached) > 500, "neither states nor branches are counted"
