"""Explore with a bug planted in a core: it is found, and shrunk to the few steps that bring it about."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.explore import Here
from lab.explore.search import Counterexample, Search, write_case
from lab.scenario.load import load_resolved
from lab.sweep.measure import Point
from lab.sweep.play import Task, play_here
from overlay.ipam.ipam import Ipam
from overlay.replicated.gossip import Gossip

BASE = """\
# Do four hosts agree again?
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}, d: {}}}
overlay: weave
services: {s1: {image: ksahnine/dummy-http, args: [s1], host: b}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 20s}
"""


@pytest.fixture
def search(tmp_path: Path) -> Search:
    path = tmp_path / "four.yaml"
    path.write_text(BASE)
    return Search(path, "sim", Here(), deadline=20_000_000_000, most=6, stopped=lambda: False)


def explored(search: Search, seeds: range) -> Counterexample:
    found = search.search(seeds, lambda seed, point: None)
    assert found, "the planted bug was not found"
    return search.shrink(*found[0], runs=150, told=lambda case, runs: None)


def test_sound_cores_survive(search: Search) -> None:
    assert search.search(range(1, 17), lambda seed, point: None) == []


def test_a_message_class_that_is_dropped(search: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Digests that differ are not followed up: what was missed during a cut is never made up for."""
    monkeypatch.setattr(Gossip, "_receive_want", lambda self, sender, message, now: [])
    found = explored(search, range(1, 30))
    # They do not agree in time, or differ when nothing has moved for a minute.
    assert {"expectation": "expected converged", "invariant": "differ about"}[found.kind] in found.reason
    assert len(found.case.faults) <= 1 and len(found.case.tree["underlay"]["hosts"]) <= 3

    path = write_case(found, search.scenario, tmp_path / "found", "lab run")
    text = path.read_text()
    assert text.startswith("# Does four come back from ") and f"seed {found.seed}" in text
    assert f"lab run {path} --backend sim --seed {found.case.seed}" in text
    # The file is what was played: it fails with the bug, and passes without.
    assert replayed(path).verdict == "invalid"
    monkeypatch.undo()
    assert replayed(path).verdict == "valid"


def test_addresses_that_two_own(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """What must hold at every moment is looked at as the run goes on, whatever is expected of it."""
    monkeypatch.setattr(Ipam, "owned", property(lambda self: (self._space.ring.lineage, ((0, 8),))))
    found = explored(search, range(1, 3))
    assert found.kind == "invariant" and "both own addresses from offset 0 on" in found.reason
    assert len(found.case.faults) <= 1 and len(found.case.tree["underlay"]["hosts"]) == 2


def test_a_peer_that_falls_over(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a core is found too, and kept apart from expectations that fail."""
    real = Gossip.remove_neighbour

    def remove(self: Gossip, name: str, now: int) -> list[Any]:
        assert now < 3_000_000_000, "planted"
        return real(self, name, now)

    monkeypatch.setattr(Gossip, "remove_neighbour", remove)
    found = explored(search, range(1, 30))
    # One brings it about; another may be left because of the time that it takes.
    assert found.kind == "crash: AssertionError" and len(found.case.faults) <= 2


def replayed(path: Path) -> Point:
    scenario = load_resolved(path)
    task = Task(
        key="", assignment=(), seed=scenario.seed, backend="sim", text=path.read_text(), file=str(path), question="",
        replay="", folder="",
    )  # fmt: skip
    return play_here(task)
