"""Meshes in virtual time: how they come up, what a change costs, cuts and heals, restarts, farewells."""

from typing import Any, cast

import pytest
from virtual_mesh import VirtualMesh

from overlay.effects import Log, Persist, Reply
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Connect, Forget, Leave, PathsChanged, PeerForgotten, PeerLeft, PeersChanged
from overlay.mesh.mesh import Mesh
from overlay.mesh.report import report as mesh_report
from overlay.wire.topology import TopologyLink

EVERY = 5 * MILLISECOND


def full(net: VirtualMesh) -> bool:
    """Every peer has a connection with every other."""
    return all(len(mesh.neighbours) == len(net.meshes) - 1 for mesh in net.meshes.values())


def started(count: int, seed: int = 1, **options: Any) -> VirtualMesh:
    """A converged full mesh, started through host 0."""
    net = VirtualMesh(count, seed, **options)
    net.after_step = lambda host: cast(Mesh, host.core).check_invariants() if host.core is not None else None
    for index in range(count):
        net.launch(index, [0] if index else [])
    net.run_until(lambda: full(net) and net.converged(), 10 * SECOND, EVERY)
    return net


def test_discovery_makes_a_star_a_full_mesh() -> None:
    net = started(6)
    assert net.now < SECOND
    paths = net.notified(3, PathsChanged)[-1].paths
    assert [peer for peer, _ in paths] == [net.name(index) for index in (0, 1, 2, 4, 5)]
    assert dict(paths)[net.name(5)] == net.hosts[5].address.host
    assert net.notified(3, PeersChanged)[-1].reachable == net.meshes[0].reachable


def test_without_discovery_the_mesh_stays_as_configured_and_all_are_reachable() -> None:
    net = VirtualMesh(4, discovery=False)
    for index in range(4):
        net.launch(index, [index - 1] if index else [])
    net.run_until(net.converged, 5 * SECOND, EVERY)
    net.run(10 * SECOND)
    assert net.meshes[0].neighbours == (net.name(1),)
    assert net.meshes[0].routes.next_hop(net.name(3)) == net.name(1)
    # The broadcast tree of every source reaches each peer once.
    for source in range(4):
        reached = [net.name(source)]
        for mesh in net.meshes.values():
            reached += mesh.routes.broadcast_next_hops(net.name(source))
        assert sorted(reached) == list(net.meshes[0].reachable)


@pytest.mark.parametrize("seed", range(5))
def test_peers_that_dial_each_other_at_the_same_time_keep_one_connection(seed: int) -> None:
    net = VirtualMesh(2, seed)
    net.launch(0, [1])
    net.launch(1, [0])
    took = net.run_until(lambda: full(net) and net.converged(), SECOND, MILLISECOND)
    assert took < 100 * MILLISECOND
    net.run(30 * SECOND)
    assert [len(mesh.connections.all) for mesh in net.meshes.values()] == [1, 1]
    # One each: no connection has replaced another.
    ups = [effect.text for effect in net.hosts[0].effects if isinstance(effect, Log) and "established" in effect.text]
    assert len(ups) == 1


def test_a_storm_of_mutual_dials_settles() -> None:
    net = VirtualMesh(12, 3)
    for index in range(12):
        net.launch(index, [other for other in range(12) if other != index])
    net.run_until(lambda: full(net) and net.converged(), 2 * SECOND, EVERY)
    net.run(5 * SECOND)
    assert all(len(mesh.connections.all) == 11 for mesh in net.meshes.values())


def test_mass_start_up_of_32_peers_is_cheap_and_a_change_costs_few_messages() -> None:
    net = VirtualMesh(32, 5)
    for index in range(32):
        net.launch(index, [0] if index else [])
    net.run_until(lambda: full(net) and net.converged(), 3 * SECOND, EVERY)
    news = net.sent["News"]
    assert news < 4 * 496, f"{news} news for 496 connections"
    net.run(5 * SECOND)
    topology = net.meshes[7].topology
    links = topology.records[net.name(7)].links
    for port in (1, 2, 3):
        # The first changes prune what the start has left of redundant paths.
        before = net.sent.copy()
        topology.set_links((*links[:-1], TopologyLink(links[-1].peer, f"10.9.9.9:{port}", True, True)), net.now)
        net.handle(7, Connect(1, ()))
        net.run_until(net.converged, SECOND, MILLISECOND)
        net.run(2 * SECOND)
    spent = net.sent - before
    assert spent["News"] <= 32 + 4
    assert spent["Digests"] <= 4 * 32
    assert spent["Want"] + spent["Graft"] + spent["Prune"] <= 8


@pytest.mark.parametrize("cut", [5 * SECOND, 70 * SECOND])
@pytest.mark.parametrize("seed", range(3))
def test_a_heal_reconnects_well_under_a_second(cut: int, seed: int) -> None:
    net = started(2, seed)
    net.run(20 * SECOND)
    net.partition([0], [1])
    noticed = net.run_until(lambda: net.converged(0) and net.converged(1), 6 * SECOND, EVERY)
    assert 2 * SECOND < noticed < 5_500 * MILLISECOND
    net.run(cut - noticed)
    net.heal()
    assert net.run_until(lambda: full(net) and net.converged(), 5 * SECOND, EVERY) < 700 * MILLISECOND


@pytest.mark.parametrize("cut", [12 * SECOND, 70 * SECOND])
def test_halves_of_a_mesh_go_on_and_come_together(cut: int) -> None:
    net = started(8, 4)
    net.run(20 * SECOND)
    left, right = (0, 2, 4, 6), (1, 3, 5, 7)
    net.partition(left, right)
    net.run(cut)
    assert net.converged(*left) and net.converged(*right)
    before = net.sent.copy()
    net.heal()
    assert net.run_until(net.converged, 5 * SECOND, EVERY) < SECOND
    net.run_until(lambda: full(net), 2 * SECOND, EVERY)
    # One dial for each of the 16 pairs, but for some that crossed.
    assert (net.sent - before)["Hello"] <= 2 * 16 * 3 // 2


def test_a_heal_after_the_records_were_forgotten() -> None:
    net = started(6, 2, hold=20 * SECOND)
    left, right = (0, 1, 2), (3, 4, 5)
    net.partition(left, right)
    net.run(120 * SECOND)
    assert len(net.meshes[0].topology.records) == 3
    forgotten = [input.peer for input in net.notified(0, PeerForgotten)]
    assert forgotten == [net.name(index) for index in right]
    net.heal()
    assert net.run_until(net.converged, 10 * SECOND, EVERY) < 2 * SECOND
    net.run_until(lambda: full(net), 10 * SECOND, EVERY)


def test_a_forgotten_peer_is_not_brought_back_by_those_that_forget_later() -> None:
    net = started(5, 7, hold=20 * SECOND, gossip_interval=1 * SECOND)
    net.kill(4)
    net.run(60 * SECOND)
    assert all(net.name(4) not in mesh.topology.records for mesh in net.meshes.values())
    assert net.converged()


def test_a_short_cut_leaves_the_connection_alone() -> None:
    net = started(2)
    conns = list(net.meshes[0].connections.all)
    net.partition([0], [1])
    net.run(2 * SECOND)
    net.heal()
    net.run(20 * SECOND)
    assert list(net.meshes[0].connections.all) == conns


@pytest.mark.parametrize("blocked", [{(0, 1)}, {(1, 0)}, {(0, 1), (1, 0)}])
def test_a_connection_without_udp_lives_on_by_tcp(blocked: set[tuple[int, int]]) -> None:
    net = started(2)
    conns = list(net.meshes[0].connections.all)
    net.udp_blocked = blocked
    net.run(60 * SECOND)
    assert list(net.meshes[0].connections.all) == conns
    assert net.sent["StreamBeat"] > 0
    net.udp_blocked = set()
    net.run(5 * SECOND)
    before = net.sent["StreamBeat"]
    net.run(20 * SECOND)
    assert net.sent["StreamBeat"] == before


def test_a_one_way_cut_ends_the_connection_and_heals() -> None:
    net = started(2)
    net.one_way = {(0, 1)}
    net.run(15 * SECOND)
    assert net.meshes[1].neighbours == ()
    assert net.meshes[0].neighbours == ()
    net.heal()
    assert net.run_until(net.converged, 5 * SECOND, EVERY) < SECOND


def test_a_host_that_dies_and_comes_back_replaces_its_stale_connections() -> None:
    net = started(4, 9)
    net.run(15 * SECOND)
    net.kill(2, reset=False)
    net.run(1500 * MILLISECOND)
    net.launch(2, [0])
    assert net.run_until(lambda: full(net) and net.converged(), 5 * SECOND, EVERY) < 3 * SECOND


def test_a_restart_with_a_lower_uid_jumps_past_the_earlier_incarnation() -> None:
    net = started(3, 2)
    net.run(12 * SECOND)
    before = net.meshes[2].uid
    net.kill(2)
    net.run(SECOND)
    net.launch(2, [0], uid=0)
    net.run_until(lambda: full(net) and net.converged(), 5 * SECOND, EVERY)
    assert net.meshes[2].uid > before
    assert mesh_report(net.meshes[0], net.now)["name_conflict"] == ""
    assert mesh_report(net.meshes[2], net.now)["name_conflict"] == ""


def test_a_peer_without_targets_that_restarts_is_found_by_the_others() -> None:
    net = started(3, 2)
    net.kill(0)
    net.run(40 * SECOND)
    net.launch(0)
    assert net.run_until(lambda: full(net) and net.converged(), 5 * SECOND, EVERY) < SECOND


def test_a_farewell_is_known_at_once_and_nobody_calls() -> None:
    net = started(5, 3)
    net.handle(3, Leave(9))
    assert net.hosts[3].effects[-1] == Reply(9)
    net.run(50 * MILLISECOND)
    net.kill(3)
    for index in (0, 1, 2, 4):
        assert [input.peer for input in net.notified(index, PeerLeft)] == [net.name(3)]
        assert net.name(3) not in net.meshes[index].reachable
    net.run(5 * SECOND)
    assert net.converged()
    before = net.sent.copy()
    net.run(30 * SECOND)
    assert (net.sent - before)["Beacon"] == 0
    net.launch(3, [1])
    net.run_until(lambda: full(net) and net.converged(), 2 * SECOND, EVERY)


def test_two_live_peers_of_one_name_do_not_fight_without_end() -> None:
    net = VirtualMesh(4, 3)
    for index in (0, 1):
        net.launch(index, [0])
    for index in (2, 3):
        net.launch(index, [index - 2], name=net.name(77))
    net.run(60 * SECOND)
    before = net.sent["News"]
    net.run(120 * SECOND)
    assert net.sent["News"] - before < 200
    texts = [mesh_report(net.meshes[index], net.now)["name_conflict"] for index in (2, 3)]
    assert any("another live peer" in str(text) for text in texts)
    assert net.name(1) in net.meshes[0].reachable


def test_a_peer_that_dials_itself_stops_and_a_namesake_is_told() -> None:
    net = VirtualMesh(3)
    net.launch(0, [0, 1])
    net.launch(1, [], name=net.name(0))
    net.run(20 * SECOND)
    targets: Any = mesh_report(net.meshes[0], net.now)["targets"]
    states = {target["address"]: target["state"] for target in targets}
    assert states == {str(net.hosts[0].address): "refused", str(net.hosts[1].address): "refused"}
    assert net.meshes[0].connections.all == {}


def test_the_connection_limit_keeps_the_mesh_sparse_but_whole() -> None:
    net = VirtualMesh(24, 6, conn_limit=6)
    for index in range(24):
        net.launch(index, [0] if index else [])
    net.run_until(net.converged, 60 * SECOND, 20 * MILLISECOND)
    net.run(60 * SECOND)
    assert net.converged()
    degrees = [len(mesh.connections.established) for mesh in net.meshes.values()]
    assert max(degrees) <= 6
    assert sum(degrees) / 24 > 2.5


def test_targets_given_by_connect_outlive_the_peer_and_forget_ends_them() -> None:
    net = VirtualMesh(3, discovery=False)
    for index in range(3):
        net.launch(index)
    net.handle(0, Connect(1, (net.hosts[1].address, net.hosts[2].address)))
    net.run_until(net.converged, SECOND, EVERY)
    net.handle(0, Forget(2, (net.hosts[2].address,)))
    assert Reply(1) in net.hosts[0].effects and Reply(2) in net.hosts[0].effects
    assert len(net.meshes[0].neighbours) == 2
    assert not any(isinstance(effect, Persist) for effect in net.hosts[0].effects)
    net.kill(0)
    net.run(SECOND)
    net.launch(0)
    net.run(SECOND)
    assert [str(address) for address in net.meshes[0].dialler.targets] == [str(net.hosts[1].address)]
    net.run_until(lambda: net.name(1) in net.meshes[0].neighbours, SECOND, EVERY)
    net.handle(0, Connect(3, (net.hosts[2].address,), replace=True))
    net.run_until(net.converged, SECOND, EVERY)
    assert list(net.meshes[0].dialler.targets) == [net.hosts[2].address]


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = started(6, 11), started(6, 11)
    assert (first.now, first.sent, first.bytes) == (second.now, second.sent, second.bytes)
