"""Worlds come to the very same with the layer that shares values and without it, as every daemon runs."""

import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from virtual_mesh import VirtualMesh
from virtual_nodes import VirtualNodes

import lab.sim.world
from benchmarks.worlds import Phase, Play, perform
from lab.backends.simulated.backend import SimBackend
from lab.records.history import Writer
from lab.runner.runner import Runner
from lab.scenario.load import load_resolved
from overlay.env import SECOND
from overlay.inputs import ChangePolicy
from overlay.replicated.interned import switch

ROOT = Path(__file__).parents[2]


def both(monkeypatch: pytest.MonkeyPatch, play: Callable[[], Any]) -> list[Any]:
    """What comes of it with the layer, and without."""
    found = []
    monkeypatch.setattr(lab.sim.world, "switch", lambda on: None)
    for on in (True, False):
        switch(on=on)
        found.append(play())
    return found


@pytest.mark.parametrize("name", ["churn", "policy", "ipv6"])
def test_histories_of_scenarios(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def history() -> bytes:
        scenario = load_resolved(ROOT / "scenarios" / f"{name}.yaml", None)
        backend, written = SimBackend(), io.BytesIO()
        backend.run(Runner(scenario, backend, Writer(written)).run())
        return written.getvalue()

    shared, alone = both(monkeypatch, history)
    assert len(shared) > 1000 and shared == alone


@pytest.mark.parametrize("play", [Play("split", 16, 4, cut=10 * SECOND), Play("churn", 16, 4, duration=30 * SECOND)])
def test_large_worlds(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def phases() -> list[Phase]:
        return [msgspec.structs.replace(phase, cpu=0) for phase in perform(play).phases]

    shared, alone = both(monkeypatch, phases)
    assert shared == alone


def streams(net: VirtualMesh | VirtualNodes) -> Any:
    """A digest that grows by each piece of a stream that arrives, and when."""
    digest = sha256()
    net.tap = lambda endpoint, data: digest.update(f"{net.now} {endpoint.conn} ".encode() + data)
    return digest


def test_bytes_of_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_sent() -> str:
        net = VirtualMesh(6, seed=5)
        digest = streams(net)
        for index in range(6):
            net.launch(index, [0] if index else [])
        net.run_until(net.converged, 10 * SECOND)
        net.partition([0, 1, 2], [3, 4, 5])
        net.run(10 * SECOND)
        net.kill(4)
        net.heal()
        net.launch(4, [1])
        net.run(10 * SECOND)
        assert net.converged()
        for mesh in net.meshes.values():
            mesh.check_invariants()
        return digest.hexdigest()

    shared, alone = both(monkeypatch, bytes_sent)
    assert shared == alone


def test_bytes_of_whole_nodes_under_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_sent() -> str:
        net = VirtualNodes(4, seed=3, hold=30 * SECOND)
        digest = streams(net)
        net.mesh()
        rng = Random(3)
        for number in range(40):
            index = rng.choice(list(net.nodes))
            if number % 4 == 0:
                text = f"from c{number} to all" if number % 8 else "from all to c1:80/tcp"
                net.handle(index, ChangePolicy(number + 1, accept=False, rule=text, remove=False, force=True))
            else:
                net.attach(index, f"c{number % 7}", f"10.0.1.{number % 5}/24", name=f"n{number % 3}")
            if number == 20:
                net.partition([0, 1], [2, 3])
            if number == 30:
                net.heal()
            net.run(SECOND)
        net.run_until(net.agree, 20 * SECOND)
        for node in net.nodes.values():
            node.check_invariants()
        return digest.hexdigest() + str([node.report(net.now) for node in net.nodes.values()])

    shared, alone = both(monkeypatch, bytes_sent)
    assert shared == alone
