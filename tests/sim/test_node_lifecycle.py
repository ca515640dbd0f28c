"""Whole nodes in virtual time: what one host attaches, the others forward to and resolve; cuts, deaths, farewells."""

import pytest
from virtual_nodes import VirtualNodes

from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Allocate, Attached, Detached, RemovePeer

HOLD = 60 * SECOND


def world(count, **options):
    net = VirtualNodes(count, seed=7, hold=HOLD, **options)
    net.mesh()
    return net


def check(net):
    for node in net.nodes.values():
        node.check_invariants()


@pytest.mark.parametrize("count", [2, 5])
def test_what_is_attached_is_forwarded_and_resolved_everywhere(count):
    net = world(count)
    mac = net.attach(0, "svc1", "10.0.1.1/24", name="svc1")
    net.run_until(lambda: net.agree() and mac in net.kernel(1).forwarding, SECOND)
    took = net.run_until(lambda: all(net.resolve(i, "svc1.weave.local") == ["10.0.1.1"] for i in range(count)), SECOND)
    assert took <= 10 * MILLISECOND
    for index in range(1, count):
        assert net.kernel(index).forwarding == {mac: ("10.0.0.0", ("10.0.1.1",))}
        assert net.kernel(index).flood == tuple(sorted(f"10.0.0.{n}" for n in range(count) if n != index))
        assert net.nodes[index].lookup("svc1") == ("10.0.1.1",)
    assert net.kernel(0).forwarding == {}
    net.detach(0, "svc1")
    net.run_until(lambda: all(not net.kernel(i).forwarding for i in range(count)), SECOND)
    assert all(net.resolve(i, "svc1") == [] for i in range(count))
    check(net)


def test_a_cut_shorter_than_the_hold_changes_no_forwarding_but_the_names():
    net = world(2)
    net.attach(0, "a", "10.0.1.1/24", name="svc")
    net.attach(1, "b", "10.0.1.2/24", name="svc")
    net.run_until(net.agree, SECOND)
    net.run(SECOND)
    before = dict(net.kernel(0).forwarding)
    assert len(before) == 1
    net.partition([0], [1])
    net.run_until(lambda: net.resolve(0, "svc") == ["10.0.1.1"], 10 * SECOND)
    net.run(HOLD // 2)
    assert net.kernel(0).forwarding == before and net.kernel(0).flood == ("10.0.0.1",)
    net.heal()
    net.run_until(net.agree, 3 * SECOND)
    assert net.resolve(0, "svc") == ["10.0.1.1", "10.0.1.2"]
    assert net.kernel(0).forwarding == before and net.kernel(0).removals == 0
    check(net)


@pytest.mark.parametrize("count", [2, 4])
def test_a_cut_longer_than_the_hold_ends_forwarding_and_the_heal_restores_it(count):
    net = world(count)
    half = count // 2
    sides = list(range(half)), list(range(half, count))
    for index in range(count):
        net.attach(index, f"c{index}", f"10.0.1.{index}/24", name=f"svc{index}")
    net.run_until(net.agree, SECOND)
    net.partition(*sides)
    net.run(HOLD + 30 * SECOND)
    for side in sides:
        assert net.agree(*side)
        for index in side:
            assert len(net.kernel(index).forwarding) == half - 1
            assert len(net.kernel(index).flood) == half - 1
            assert all(entry["peer"] in map(net.name, side) for entry in net.nodes[index].report(0)["dns"]["entries"])
    check(net)
    net.heal()
    took = net.run_until(net.meshed, 10 * SECOND)
    assert took < 3 * SECOND
    for index in range(count):
        assert len(net.kernel(index).forwarding) == count - 1
        assert net.resolve(index, f"svc{count - 1 - index}") == [f"10.0.1.{count - 1 - index}"]
    check(net)


@pytest.mark.parametrize("reset", [True, False])
def test_kill_and_restart_keep_forwarding_without_a_flicker(reset):
    net = world(3)
    macs = [net.attach(0, f"c{n}", f"10.0.1.{n}/24", name=f"svc{n}") for n in range(3)]
    net.run_until(net.agree, SECOND)
    assert sorted(net.kernel(1).forwarding) == sorted(macs)
    net.kill(0, reset=reset)
    net.run(8 * SECOND)
    assert net.resolve(1, "svc0") == []  # names of a dead peer are not answered
    net.launch(0, [1])
    net.run_until(net.agree, 20 * SECOND)
    assert net.resolve(1, "svc0") == ["10.0.1.0"]
    for n in range(2):  # the third container did not survive
        net.handle(0, Attached(f"c{n}", macs[n], (f"10.0.1.{n}/24",)))
    assert sorted(net.kernel(1).forwarding) == sorted(macs) and net.kernel(1).removals == 0
    net.run(11 * SECOND)
    assert sorted(net.kernel(1).forwarding) == sorted(macs[:2])
    assert net.resolve(1, "svc2") == [] and net.resolve(1, "svc1") == ["10.0.1.1"]
    assert net.agree()
    check(net)


def test_a_container_that_gets_the_address_of_one_that_died_meanwhile_has_it_at_once():
    net = world(2)
    net.attach(0, "old", "10.0.1.1/24", name="svc")
    net.run_until(net.agree, SECOND)
    net.kill(0)
    net.launch(0, [1])
    mac = net.attach(0, "new", "10.0.1.1/24")
    net.run_until(lambda: net.agree() and list(net.kernel(1).forwarding) == [mac], 5 * SECOND)
    assert net.nodes[1].report(net.now)["endpoints"]["quarantine"] == []
    assert net.resolve(1, "svc") == []
    check(net)


def test_a_peer_that_lost_its_disk_publishes_itself_anew():
    net = world(3)
    net.attach(0, "c", "10.0.1.1/24", name="old")
    net.run_until(net.agree, SECOND)
    net.kill(0)
    net.run(SECOND)
    net.launch(0, [1], lost_disk=True)
    mac = net.attach(0, "d", "10.0.1.9/24", name="new")
    net.run_until(net.meshed, 30 * SECOND)
    assert list(net.kernel(1).forwarding) == list(net.kernel(2).forwarding) == [mac]
    assert net.resolve(2, "old") == [] and net.resolve(2, "new") == ["10.0.1.9"]
    check(net)


def test_a_farewell_removes_at_once_and_coming_back_restores():
    net = world(3)
    mac = net.attach(0, "c", "10.0.1.1/24", name="svc")
    net.run_until(net.agree, SECOND)
    net.leave(0)
    net.run_until(lambda: net.agree(1, 2), SECOND)
    for index in (1, 2):
        assert net.kernel(index).forwarding == {} and "10.0.0.0" not in net.kernel(index).flood
        assert net.resolve(index, "svc") == []
    net.launch(0, [1])
    net.attach(0, "c", "10.0.1.1/24", name="svc", mac=mac)
    net.run_until(net.meshed, 10 * SECOND)
    assert list(net.kernel(2).forwarding) == [mac] and net.resolve(2, "svc") == ["10.0.1.1"]
    check(net)


def test_leave_and_return_within_one_breath():
    net = world(3)
    mac = net.attach(0, "c", "10.0.1.1/24")
    net.run_until(net.agree, SECOND)
    net.leave(0)
    net.launch(0, [1])
    net.attach(0, "c", "10.0.1.1/24", mac=mac)
    net.run_until(net.meshed, 10 * SECOND)
    net.run(SECOND)
    for index in (1, 2):
        assert net.kernel(index).forwarding == {mac: ("10.0.0.0", ("10.0.1.1",))}
        assert "10.0.0.0" in net.kernel(index).flood
    check(net)


def test_a_container_moved_to_another_host_is_followed_even_if_the_first_host_is_silent():
    net = world(3)
    mac = net.attach(0, "c", "10.0.1.1/24", mac="02:00:00:00:00:77")
    net.run_until(net.agree, SECOND)
    net.kill(0, reset=False)
    net.run(10 * SECOND)
    assert net.kernel(2).forwarding[mac] == ("10.0.0.0", ("10.0.1.1",))  # held
    net.attach(1, "c", "10.0.1.1/24", mac=mac)
    net.run_until(lambda: net.kernel(2).forwarding[mac] == ("10.0.0.1", ("10.0.1.1",)), SECOND)
    assert net.logged(1, "quarantined") == []
    check(net)


def test_addresses_are_given_out_and_a_dead_peers_space_is_taken_by_its_nickname():
    net = world(3)

    def replies(index):
        return [e for e in net.hosts[index].effects if type(e).__name__ == "Reply"]

    for index in range(3):
        net.handle(index, Allocate(index + 1, f"c{index}"))
    net.run_until(lambda: all(replies(index) for index in range(3)), 10 * SECOND)
    assert len({replies(index)[0].value for index in range(3)}) == 3
    net.run_until(net.agree, SECOND)
    net.kill(2)
    net.run(HOLD + 20 * SECOND)
    net.handle(0, RemovePeer(8, "host7"))
    assert "host7" in replies(0)[-1].error
    net.handle(0, RemovePeer(9, "host2"))
    assert replies(0)[-1].request == 9 and not replies(0)[-1].error
    net.run_until(lambda: net.agree(0, 1), 5 * SECOND)
    check(net)


def test_the_view_tells_when_it_may_have_changed():
    net = world(2)
    node = net.nodes[1]
    view = node.view(net.now)
    assert view.neighbours == ("host0",) and view.reachable == 2
    assert not node.view_changed()
    net.attach(0, "c", "10.0.1.1/24")
    net.run(SECOND)
    assert node.view_changed()
    changed = node.view(net.now)
    assert changed.endpoints != view.endpoints and changed.topology == view.topology and changed.dns == view.dns
    net.handle(0, Detached("c"))


def test_the_same_seed_gives_the_same_run():
    def run():
        net = world(4)
        net.attach(0, "a", "10.0.1.1/24", name="a")
        net.partition([0, 1], [2, 3])
        net.run(20 * SECOND)
        net.heal()
        net.run(5 * SECOND)
        return dict(net.sent), net.bytes, [node.view(net.now) for node in net.nodes.values()]

    assert run() == run()
