"""Peers with passwords: who gets in, what it costs, what recorded or invented traffic does. In virtual time.

The stub of the group operations is used where many peers meet, the real ones where the cryptography is in question.
"""

import os
from random import Random
from typing import Any, cast

import msgspec
import pytest
from virtual_mesh import Endpoint, Host, VirtualMesh

from overlay.config import Address
from overlay.crypto.pake import RealCrypto
from overlay.effects import Log, SendDatagram
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Connect, Datagram, NeighboursChanged, PathsChanged
from overlay.mesh.connections import ConnectionState
from overlay.mesh.keyring import OTHERS, PRIVATE
from overlay.mesh.liveness import authenticated
from overlay.mesh.proof import MAX_PAKES
from overlay.mesh.report import report as mesh_report
from overlay.wire.envelopes import Beacon, Beat


def mesh(count: int, password: str = "correct horse", seed: int = 1, real: bool = False, **options: Any) -> VirtualMesh:
    """Peers of one password, not started."""
    net = VirtualMesh(count, seed, password=password, **options)
    if real:
        net.crypto = lambda rng: RealCrypto(rng.randbytes)
    return net


def pakes(net: VirtualMesh) -> int:
    """PAKE computations so far (two on the dialler's side, one on the listener's)."""
    found = 0
    for peer in net.meshes.values():
        assert peer.connections.proofs is not None
        found += peer.connections.proofs.computed_pakes
    return found


def warnings(net: VirtualMesh, index: int) -> list[str]:
    effects = net.hosts[index].effects
    return [effect.text for effect in effects if isinstance(effect, Log) and effect.level in ("warning", "error")]


def target(net: VirtualMesh, index: int) -> dict[str, Any]:
    (found,) = reported(net, index, "targets")
    return found


def reported(net: VirtualMesh, index: int, part: str) -> list[dict[str, Any]]:
    return list(cast(Any, mesh_report(net.meshes[index], net.now)[part]))


@pytest.mark.parametrize("real", [False, True])
def test_equal_passwords_meet_and_share_their_keys_crosswise(real: bool) -> None:
    net = mesh(2, real=real)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    (a,) = net.notified(0, NeighboursChanged)[-1].neighbours
    (b,) = net.notified(1, NeighboursChanged)[-1].neighbours
    assert a.connection == b.connection and a.outbound != b.outbound
    assert a.keys.send == b.keys.receive and a.keys.receive == b.keys.send and a.keys.send != a.keys.receive
    assert net.notified(0, PathsChanged)[-1].paths == (), "nothing of an encrypted neighbour goes in clear"


@pytest.mark.parametrize("real", [False, True])
def test_nothing_after_the_proof_is_readable(real: bool) -> None:
    net = mesh(2, real=real)
    seen: list[bytes] = []
    net.tap = lambda receiver, chunk: seen.append(chunk)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    seen.clear()
    net.run(20 * SECOND)
    assert seen and not any(b"topology" in chunk or b"host" in chunk for chunk in seen)


@pytest.mark.parametrize("real", [False, True])
def test_a_wrong_password_is_refused_and_said_on_both_sides_and_logged_once(real: bool) -> None:
    net = mesh(2, real=real)
    net.launch(0)
    net.launch(1, [0], password="battery staple")
    net.run(60 * SECOND)
    assert not net.meshes[0].neighbours and not net.meshes[1].neighbours
    there = target(net, 1)
    assert there["reason"] == "wrong password" and there["next_attempt"] is not None
    (here,) = reported(net, 0, "refused")
    assert here["reason"] == "wrong password" and here["count"] > 3
    assert len(warnings(net, 0)) == len(warnings(net, 1)) == 1
    assert there["attempts"] < 20, "tried again with back-off"


def test_after_the_password_is_put_right_they_meet() -> None:
    net = mesh(2)
    net.launch(0)
    net.launch(1, [0], password="battery staple")
    net.run(5 * SECOND)
    net.kill(1)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    assert mesh_report(net.meshes[0], net.now)["refused"] == []


@pytest.mark.parametrize(("first", "second"), [("", "x"), ("x", "")])
def test_a_password_on_one_side_only_is_refused_and_said_on_both(first: str, second: str) -> None:
    net = mesh(2, password=first)
    net.launch(0)
    net.launch(1, [0], password=second)
    net.run(20 * SECOND)
    assert not net.meshes[0].neighbours and not net.meshes[1].neighbours
    assert "has no password" in str(target(net, 1)["reason"])
    (here,) = reported(net, 0, "refused")
    assert "has no password" in here["reason"]
    assert len(warnings(net, 0)) == len(warnings(net, 1)) == 1


@pytest.mark.parametrize("real", [False, True])
def test_peers_that_have_met_pay_no_pake_again(real: bool) -> None:
    net = mesh(2, real=real)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    net.run(15 * SECOND)
    assert net.hosts[0].stored.keys() >= {PRIVATE, OTHERS}
    net.kill(0)
    net.kill(1)
    net.run(SECOND)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    assert pakes(net) == 0


def test_a_peer_that_lost_its_disk_pays_the_pake_and_is_let_in() -> None:
    net = mesh(2)
    net.launch(0)
    net.launch(1, [0])
    net.run(15 * SECOND)
    net.kill(1)
    net.hosts[1].stored.clear()
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    assert pakes(net) > 0


def test_another_password_ends_all_acquaintances() -> None:
    net = mesh(2)
    net.launch(0)
    net.launch(1, [0])
    net.run(15 * SECOND)
    net.kill(1)
    net.launch(1, [0], password="battery staple")
    net.run(10 * SECOND)
    assert not net.meshes[0].neighbours and target(net, 1)["reason"] == "wrong password"


def test_gossip_spares_a_large_mesh_most_of_its_pakes() -> None:
    net = mesh(24)
    for index in range(24):
        net.launch(index, [other for other in range(24) if other != index])
    net.run_until(net.converged, 30 * SECOND)
    net.run_until(lambda: all(len(peer.neighbours) == 23 for peer in net.meshes.values()), 60 * SECOND)
    assert pakes(net) < 3 * 24 * 3 * MAX_PAKES, "276 pairs would be 828 computations"


@pytest.mark.parametrize("shape", ["chain", "ring"])
@pytest.mark.parametrize("password", ["", "correct horse"])
def test_a_sparse_mesh_stays_sparse_and_agrees(shape: str, password: str) -> None:
    net = mesh(8, password=password, discovery=False)
    for index in range(8):
        net.launch(index, [index - 1] if index else [7] if shape == "ring" else [])
    net.run_until(net.converged, 20 * SECOND)
    degree = [len(peer.neighbours) for peer in net.meshes.values()]
    assert degree == ([2] * 8 if shape == "ring" else [1, 2, 2, 2, 2, 2, 2, 1])
    routes = net.meshes[0].routes
    assert routes.next_hop(net.name(4)) in (net.name(1), net.name(7))
    for source in range(8):  # every peer gets a broadcast of every other one exactly once
        got = dict.fromkeys(range(8), 0)
        todo = [(source, hop) for hop in net.meshes[source].routes.broadcast_next_hops(net.name(source))]
        while todo:
            _, hop = todo.pop()
            index = int(hop[-2:], 16)
            got[index] += 1
            todo += [(index, further) for further in net.meshes[index].routes.broadcast_next_hops(net.name(source))]
        assert got == {index: int(index != source) for index in range(8)}


def test_a_chain_goes_on_after_a_cut_and_a_restart_in_its_middle() -> None:
    net = mesh(5, discovery=False)
    for index in range(5):
        net.launch(index, [index - 1] if index else [])
    net.run_until(net.converged, 20 * SECOND)
    net.partition([0, 1, 2], [3, 4])
    net.run_until(lambda: net.converged(0, 1, 2) and net.converged(3, 4), 20 * SECOND)
    net.heal()
    net.run_until(net.converged, 5 * SECOND)
    net.kill(2)
    net.run(SECOND)
    net.launch(2, [1])
    net.run_until(net.converged, 20 * SECOND)


def test_the_connection_limit_keeps_a_mesh_whole_and_sparse() -> None:
    net = mesh(16, conn_limit=4)
    for index in range(16):
        net.launch(index, [0] if index else [])
    net.run_until(net.converged, 60 * SECOND)
    net.run(30 * SECOND)
    assert net.converged()
    assert all(len(peer.neighbours) <= 4 for peer in list(net.meshes.values())[1:])


# --- strangers ----------------------------------------------------------------------------------------------------


def recorded(seed: int) -> tuple[VirtualMesh, list[bytes]]:
    """A mesh of one peer whose neighbour has met it and is gone, and all bytes that the neighbour sent it."""
    net = mesh(2, seed=seed, real=True)
    heard: list[bytes] = []

    def tap(receiver: Endpoint, chunk: bytes) -> None:
        if receiver.host.index == 0:
            heard.append(chunk)

    net.tap = tap
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    net.run(12 * SECOND)
    net.kill(1)
    net.run(SECOND)
    net.tap = None
    return net, heard


class Replayer:
    """A core that dials once and says nothing by itself."""

    def handle(self, input: object, now: int) -> list[object]:
        return []

    def deadline(self) -> int | None:
        return None


@pytest.mark.parametrize("resumed", [False, True])
def test_a_recorded_handshake_replayed_does_nothing(resumed: bool) -> None:
    net, heard = recorded(3)
    if resumed:
        heard.clear()

        def tap(receiver: Endpoint, chunk: bytes) -> None:
            if receiver.host.index == 0:
                heard.append(chunk)

        net.tap = tap
        net.launch(1, [0])
        net.run_until(net.converged, 5 * SECOND)
        assert pakes(net) == 1, "only that of the first meeting"
        net.kill(1)
        net.run(SECOND)
        net.tap = None
    peer = net.meshes[0]
    known = dict(peer.topology.records)
    net.start(1, Replayer())  # type: ignore[arg-type]
    net._join(net.hosts[1], net.hosts[0], net.hosts[0].address)
    (endpoint,) = net.hosts[1].endpoints.values()
    for chunk in heard[1:]:  # the first frame it says again
        net._write(endpoint, chunk)
    net.run(3 * SECOND)
    assert not peer.neighbours
    assert dict(peer.topology.records) == known
    net.run(30 * SECOND)
    came_in = [each for each in peer.connections.all.values() if not each.outbound]
    assert not came_in, "and nothing of it is kept"


def test_strangers_cannot_make_a_peer_compute_without_end() -> None:
    net = mesh(2)
    peer = net.launch(0)
    net.launch(1, [], password="guess")
    for number in range(200):
        net.handle(1, Connect(number, (net.hosts[0].address,), replace=True))
        net.run(50 * MILLISECOND)
    assert peer.connections.proofs is not None
    assert peer.connections.proofs.computed_pakes < 5 + 12, "a burst, then one a second from one source"
    assert target(net, 1)["reason"]


def test_a_name_that_is_only_claimed_changes_nothing() -> None:
    net = mesh(3)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    (before,) = net.meshes[0].connections.established.values()
    net.launch(2, [0], uid=10**6, name=net.name(1), password="guess")
    net.run(10 * SECOND)
    assert net.meshes[0].connections.established[net.name(1)] is before
    assert before.state is ConnectionState.ESTABLISHED


@pytest.mark.parametrize("password", ["", "correct horse"])
def test_two_peers_of_one_name_are_both_told(password: str) -> None:
    net = mesh(2, password=password)
    net.launch(0)
    net.launch(1, [0], name=net.name(0))
    net.run(10 * SECOND)
    assert any("borne by two processes" in text for text in warnings(net, 0))
    assert any("borne by two processes" in text for text in warnings(net, 1))


@pytest.mark.parametrize("password", ["", "correct horse"])
def test_a_peer_that_is_told_to_dial_itself_says_so_and_sees_no_namesake(password: str) -> None:
    """`weave launch A B` typed alike on both hosts."""
    net = mesh(2, password=password)
    for host in (0, 1):
        net.launch(host, [0, 1])
    net.run_until(net.converged, 20 * SECOND)
    net.run(10 * SECOND)
    for host in (0, 1):
        assert warnings(net, host) == []
        report: Any = mesh_report(net.meshes[host], net.now)
        targets = {entry["address"]: entry for entry in report["targets"]}
        own = targets[str(net.hosts[host].address)]
        assert (own["state"], own["reason"]) == ("refused", "cannot connect to ourself")
        assert report["refused"] == []


# --- datagrams ----------------------------------------------------------------------------------------------------


def test_invented_and_recorded_beats_and_beacons_are_not_believed() -> None:
    net = mesh(2)
    a = net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    net.run(3 * SECOND)
    (connection,) = a.connections.established.values()
    home = connection.udp_address
    assert connection.beats_heard > 0
    wrong = Address("10.0.9.9", 1)
    forged = Beat(net.name(1), connection.id, SECOND, True, 10**6, bytes(16))
    net.handle(0, Datagram(wrong, forged))
    assert connection.udp_address == home and connection.beats_heard < 10**6
    # Silence, in which a forged beacon would have the connection closed for an earlier life's.
    net.partition([0], [1])
    net.run(2500 * MILLISECOND)
    for beacon in (Beacon(net.name(1), 10**6, 6783), Beacon(net.name(1), 10**6, 6783, False, 5, bytes(16))):
        net.handle(0, Datagram(wrong, beacon))
        assert a.neighbours == (net.name(1),)


def test_the_very_same_beat_and_beacon_again_count_for_nothing() -> None:
    net = mesh(2)
    sent: list[object] = []
    send = net._send_datagram

    def record(host: Host, effect: SendDatagram) -> None:
        sent.append(effect.message)
        send(host, effect)

    net._send_datagram = record  # type: ignore[method-assign]
    a = net.launch(0)
    b = net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    net.run(3 * SECOND)
    (connection,) = a.connections.established.values()
    home, wrong = connection.udp_address, Address("10.0.9.9", 1)
    (last,) = (
        each
        for each in sent
        if isinstance(each, Beat) and each.name == net.name(1) and each.count == connection.beats_heard
    )
    heard = connection.heard_udp_at
    net.handle(0, Datagram(wrong, last))
    assert (connection.udp_address, connection.heard_udp_at) == (home, heard)
    # Behind a new network address the next one leads there, so what has no effect here is the repetition.
    (key,) = (other.beat_keys for other in b.connections.established.values())
    assert key is not None
    following = authenticated(msgspec.structs.replace(last, count=last.count + 1), key.send)
    net.handle(0, Datagram(wrong, following))
    assert connection.udp_address == wrong
    beacon = b.trust.seal(Beacon(net.name(1), b.uid, 6783), net.name(0))
    assert beacon.mac and a.trust.genuine(beacon)
    assert not a.trust.genuine(beacon), "the very same one again"
    assert a.trust.genuine(b.trust.seal(Beacon(net.name(1), b.uid, 6783), net.name(0)))


def test_a_heal_is_as_quick_as_without_a_password() -> None:
    net = mesh(2)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, 5 * SECOND)
    net.partition([0], [1])
    net.run(30 * SECOND)
    assert not net.meshes[0].neighbours
    net.heal()
    assert net.run_until(net.converged, 3 * SECOND) < 1500 * MILLISECOND


# --- trust --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "clear"),
    [
        (("10.0.0.0/24",), ("10.0.0.0/8",), True),
        (("10.0.0.0/24",), (), False),
        (("10.1.0.0/16",), ("10.0.0.0/8",), False),
    ],
)
def test_the_data_path_is_clear_only_if_both_trust(ours: tuple[str], theirs: tuple[str, ...], clear: bool) -> None:
    net = mesh(2)
    net.launch(0, trusted_subnets=ours)
    net.launch(1, [0], trusted_subnets=theirs)
    net.run_until(net.converged, 5 * SECOND)
    for index in (0, 1):
        (neighbour,) = net.notified(index, NeighboursChanged)[-1].neighbours
        assert (neighbour.keys is None) is clear
        assert bool(net.notified(index, PathsChanged)[-1].paths) is clear
    assert net.meshes[0].connections.established[net.name(1)].beat_keys is not None


def test_meshes_survive_random_cuts_and_restarts_with_a_password() -> None:
    net = mesh(6, seed=9)
    rng = Random(9)
    for index in range(6):
        net.launch(index, [0] if index else [])
    net.run_until(net.converged, 20 * SECOND)
    for _ in range(12):
        kind = rng.randrange(3)
        if kind == 0:
            cut = rng.sample(range(6), rng.randrange(1, 6))
            net.partition(cut)
            net.run(rng.randrange(8) * SECOND)
            net.heal()
        elif kind == 1:
            index = rng.randrange(6)
            net.kill(index, reset=rng.random() < 0.5)
            net.run(rng.randrange(3) * SECOND)
            net.launch(index, [other for other in range(6) if other != index][:2])
        net.run(rng.randrange(3) * SECOND)
        for peer in net.meshes.values():
            peer.check_invariants()
    net.run_until(net.converged, 60 * SECOND)


def test_the_real_source_of_entropy_differs_between_peers() -> None:
    crypto = RealCrypto(os.urandom)
    assert crypto.entropy(32) != crypto.entropy(32)
