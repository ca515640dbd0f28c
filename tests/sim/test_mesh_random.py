"""Random graphs of meshes under random cuts, kills, restarts and farewells: whatever happened, they converge."""

from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virtual_mesh import VirtualMesh

from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Connect, Leave
from overlay.mesh.mesh import Mesh
from overlay.mesh.report import report as mesh_report

COUNT = 7

events = st.lists(
    st.tuples(
        st.sampled_from(["cut", "heal", "kill", "crash", "restart", "leave", "oneway", "noudp", "pass"]),
        st.integers(0, COUNT - 1),
        st.integers(0, COUNT - 1),
        st.integers(1, 8_000),
    ),
    max_size=8,
)


def play(net: VirtualMesh, event: str, index: int, other: int) -> None:
    """One event; those that do not apply do nothing."""
    running = index in net.meshes
    match event:
        case "cut":
            net.partition([i for i in range(COUNT) if (i * 7 + index) % 3 < 1 + other % 2])
        case "heal":
            net.heal()
        case "kill" if running:
            net.kill(index)
        case "crash" if running:
            net.kill(index, reset=False)
        case "restart":
            if running:
                net.kill(index)
            net.launch(index, [other], uid=None if other % 2 else 0)
        case "leave" if running:
            net.handle(index, Leave(1))
            net.kill(index)
        case "oneway":
            net.one_way.add((index, other))
        case "noudp":
            net.udp_blocked.add((index, other))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16), parents=st.lists(st.integers(0, COUNT), min_size=COUNT, max_size=COUNT), script=events
)
def test_whatever_happened_the_running_peers_converge(
    seed: int, parents: list[int], script: list[tuple[str, int, int, int]]
) -> None:
    net = VirtualMesh(COUNT, seed)
    net.after_step = lambda host: cast(Mesh, host.core).check_invariants() if host.core is not None else None
    for index in range(COUNT):
        # A random tree, so that everybody can be found.
        net.launch(index, [parents[index] % index] if index else [])
    for event, index, other, pause in script:
        play(net, event, index, other)
        net.run(pause * MILLISECOND)
    net.heal()
    # Peers that do not run are started again: their targets are what keeps a random tree in one piece.
    for index in range(COUNT):
        if index not in net.meshes:
            net.launch(index, [parents[index] % index] if index else [])
        net.handle(index, Connect(1, (net.hosts[parents[index] % index if index else 0].address,)))
    net.run_until(net.converged, 120 * SECOND, 20 * MILLISECOND)
    net.run_until(lambda: all(len(m.neighbours) == COUNT - 1 for m in net.meshes.values()), 120 * SECOND, SECOND)
    net.run(30 * SECOND)
    assert net.converged()
    assert all(not mesh_report(mesh, net.now)["name_conflict"] for mesh in net.meshes.values())


@pytest.mark.parametrize("seed", range(3))
def test_churn_ends_in_one_mesh(seed: int) -> None:
    net = VirtualMesh(16, seed)
    for index in range(16):
        net.launch(index, [0] if index else [])
    net.run(2 * SECOND)
    for _ in range(60):
        index = net.rng.randrange(1, 16)
        if index in net.meshes:
            net.kill(index, reset=net.rng.random() < 0.5)
        else:
            net.launch(index, [net.rng.choice(sorted(net.meshes))])
        net.run(net.rng.randrange(400) * MILLISECOND)
    for index in range(16):
        if index not in net.meshes:
            net.launch(index, [0])
    took = net.run_until(net.converged, 20 * SECOND, 10 * MILLISECOND)
    assert took < 6 * SECOND
