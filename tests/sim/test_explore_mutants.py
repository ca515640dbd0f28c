"""`lab explore` against mutants of `make bench-explore`, in a small form; and that it is the same wherever it runs."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from benchmarks import explore
from benchmarks.explore import SCENARIO, Here, Searched, searched
from benchmarks.mutants import MUTANTS, Mutant, check
from lab.explore.limits import Limits
from lab.explore.play import play_case
from lab.explore.search import Search
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
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # a mutant stays where it is planted
        found = pool.submit(searched, file, NAMED[name], range(1, 65), None).result().finds
    assert found, f"{name} was not found in 64 runs"


def test_a_benchmark_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[range] = []

    def search(file: Path, mutant: Mutant | None, seeds: range, limits: Limits, *, keep_going: bool) -> Searched:
        played.append(seeds)
        return Searched([(seeds.start, "expectation", "why")], 1.0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explore, "searched", search)
    none = Limits({}, {})
    first = explore._one("four.yaml", MUTANTS[0], range(1, 9), none, "code")
    assert explore._one("four.yaml", MUTANTS[0], range(1, 9), none, "code") == first and played == [range(1, 9)]
    explore._one("four.yaml", MUTANTS[0], range(1, 9), none, "other")
    explore._one("four.yaml", None, range(1, 9), none, "code")
    assert len(played) == 3, "other code and sound cores are searched"


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
