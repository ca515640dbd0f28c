"""Duplicate addresses and MACs on whole nodes: every peer quarantines the same one, says so, and lets it go."""

from random import Random

import pytest
from virtual_nodes import VirtualNodes

from overlay.env import SECOND
from overlay.inputs import Allocate, RemovePeer


def world(count, **options):
    net = VirtualNodes(count, seed=11, **options)
    net.mesh()
    return net


def quarantine(net, index):
    contests = net.nodes[index].report(net.now)["endpoints"]["quarantine"]
    return [(c["what"], c["winner"]["container"], c["loser"]["container"]) for c in contests]


def test_a_duplicate_address_is_quarantined_on_all_alike_and_released():
    net = world(4)
    loser = net.attach(2, "late", "172.16.0.1/24", "172.16.0.9/24", name="late")
    net.run_until(net.agree, SECOND)
    assert net.resolve(0, "late") == ["172.16.0.1", "172.16.0.9"]
    winner = net.attach(1, "first", "172.16.0.1/24", name="first")
    net.run_until(lambda: net.agree() and winner in net.kernel(3).forwarding, SECOND)
    for index in range(4):
        assert quarantine(net, index) == [("address 172.16.0.1", "first", "late")]
        assert net.resolve(index, "late") == ["172.16.0.9"] and net.resolve(index, "first") == ["172.16.0.1"]
        net.nodes[index].check_invariants()
    assert net.kernel(3).forwarding == {
        winner: ("10.0.0.1", ("172.16.0.1",)),
        loser: ("10.0.0.2", ("172.16.0.9",)),
    }
    (line,) = net.logged(2, "quarantined")
    for word in ("late", "first", net.name(1), "weave detach 172.16.0.1/24 late"):
        assert word in line
    assert all(net.logged(index, "quarantined") == [] for index in (0, 1, 3))

    net.detach(1, "first")
    net.run_until(lambda: net.agree() and winner not in net.kernel(3).forwarding, SECOND)
    for index in range(4):
        assert quarantine(net, index) == []
        assert net.resolve(index, "late") == ["172.16.0.1", "172.16.0.9"]
        net.nodes[index].check_invariants()
    assert net.kernel(3).forwarding == {loser: ("10.0.0.2", ("172.16.0.1", "172.16.0.9"))}
    assert len(net.logged(2, "quarantined")) == 2  # and one that it is over


def test_the_ring_owner_of_an_address_wins_over_a_lower_peer():
    net = world(3, iprange="10.32.0.0/24")
    net.handle(2, Allocate(1, "given"))
    net.run_until(lambda: any(type(e).__name__ == "Reply" for e in net.hosts[2].effects), 10 * SECOND)
    (reply,) = (e for e in net.hosts[2].effects if type(e).__name__ == "Reply")
    net.attach(2, "given", reply.value)
    net.attach(0, "typed", reply.value)
    net.run_until(lambda: net.agree() and quarantine(net, 1) != [], SECOND)
    address = f"address {reply.value.partition('/')[0]}"
    assert [quarantine(net, index) for index in range(3)] == [[(address, "given", "typed")]] * 3
    assert len(net.logged(0, "weave detach")) == 1


def test_a_duplicate_is_judged_again_when_the_ring_changes_hands():
    net = world(3, iprange="10.32.0.0/24", hold=30 * SECOND)
    net.handle(2, Allocate(1, "dead"))
    net.run_until(lambda: any(type(e).__name__ == "Reply" for e in net.hosts[2].effects), 10 * SECOND)
    (reply,) = (e for e in net.hosts[2].effects if type(e).__name__ == "Reply")
    for index in (0, 1):
        net.attach(index, f"c{index}", reply.value)
    net.run_until(lambda: net.agree() and quarantine(net, 2) != [], SECOND)
    address = f"address {reply.value.partition('/')[0]}"
    assert quarantine(net, 2) == [(address, "c0", "c1")]  # the owner is neither: the lower peer wins
    net.kill(2)
    net.run(60 * SECOND)
    net.handle(1, RemovePeer(2, net.name(2)))
    net.run_until(lambda: net.agree(0, 1), SECOND)
    assert [quarantine(net, index) for index in (0, 1)] == [[(address, "c1", "c0")]] * 2
    for index in (0, 1):
        net.nodes[index].check_invariants()


def test_two_halves_that_gave_the_same_address_settle_it_when_they_meet():
    net = world(4)
    net.partition([0, 1], [2, 3])
    net.run(10 * SECOND)
    macs = [net.attach(0, "left", "172.16.0.1/24"), net.attach(3, "right", "172.16.0.1/24")]
    net.run_until(lambda: macs[0] in net.kernel(1).forwarding and macs[1] in net.kernel(2).forwarding, SECOND)
    net.heal()
    net.run_until(net.meshed, 5 * SECOND)
    assert all(quarantine(net, index) == [("address 172.16.0.1", "left", "right")] for index in range(4))
    assert list(net.kernel(2).forwarding) == [macs[0]]
    assert len(net.logged(3, "quarantined")) == 1


def test_a_local_mac_is_never_sent_elsewhere():
    net = world(3)
    mac = net.attach(1, "mine", "172.16.0.1/24", mac="02:00:00:00:00:55")
    net.attach(0, "thief", "172.16.0.2/24", mac=mac)
    net.run_until(lambda: net.agree() and mac in net.kernel(2).forwarding, SECOND)
    assert net.kernel(1).forwarding == {}
    assert net.kernel(2).forwarding == {mac: ("10.0.0.0", ("172.16.0.2",))}
    assert all(quarantine(net, index) == [(f"MAC {mac}", "thief", "mine")] for index in range(3))
    (line,) = net.logged(1, "quarantined")
    assert "weave detach --all mine" in line


@pytest.mark.parametrize("seed", range(4))
def test_random_lives_end_alike_everywhere(seed):
    """Attach, detach, register, cut, heal, kill, restart at random: whoever reaches each other believes the same."""
    rng = Random(seed)
    net = VirtualNodes(5, seed=seed, hold=8 * SECOND)
    net.mesh()
    for _ in range(60):
        index = rng.randrange(5)
        act = rng.choice(["attach", "attach", "attach", "detach", "detach", "cut", "heal", "kill", "launch", "launch"])
        container = f"c{rng.randrange(3)}"
        if act == "attach" and index in net.nodes:
            address = f"172.16.0.{rng.randrange(8)}/24"
            net.attach(index, container, address, name=container)
        elif act == "detach" and index in net.nodes:
            net.detach(index, container)
        elif act == "cut":
            left = [n for n in range(5) if rng.random() < 0.5]
            net.partition(left, [n for n in range(5) if n not in left])
        elif act == "heal":
            net.heal()
        elif act == "kill" and len(net.nodes) > 2 and index in net.nodes:
            (net.leave if rng.random() < 0.3 else net.kill)(index)
        elif act == "launch" and index not in net.nodes:
            net.launch(index, [n for n in range(5) if n != index])
        net.run(rng.choice([1, 50, 500, 4000]) * SECOND // 1000)
        for node in net.nodes.values():
            node.check_invariants()
    net.heal()
    for index in range(5):
        if index not in net.nodes:
            net.launch(index, [n for n in range(5) if n != index])
    net.run_until(net.meshed, 60 * SECOND)
    net.run(12 * SECOND)  # what was not attached again after a restart is taken back
    net.run_until(net.meshed, 10 * SECOND)
    assert len({str(quarantine(net, index)) for index in range(5)}) == 1
    for index, node in net.nodes.items():
        node.check_invariants()
        installed = {entry.mac: (entry.remote, entry.addresses) for entry in node.endpoints.plan.forwarding()}
        assert {m: e for m, e in net.kernel(index).forwarding.items() if m in installed} == installed
        for n in range(3):
            assert net.resolve(index, f"c{n}") == net.resolve(0, f"c{n}")
