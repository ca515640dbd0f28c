"""Peers whose hosts get other addresses: connections, the tunnel's way and what discovery knows follow within a second.

A forged datagram moves nobody.
"""

from typing import Any

import pytest

from lab.scenario.resolve import HostInterface, RouterSpec
from lab.sim.network import End
from lab.sim.routers import Routers
from lab.sim.world import Peer, World
from overlay.config import Address, Config
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Datagram, HostReaddressed, TcpOpened
from overlay.mesh.report import report
from overlay.wire.envelopes import Beat

NEW = "192.168.0.77"


def met(names: str, password: str = "", **options: Any) -> World:
    """Peers that all met through the first."""
    made = World(1)
    for number, name in enumerate(names):
        peer = made.add(name, f"192.168.0.{number + 2}")
        first = (Address("192.168.0.2", 6783),) if number else ()
        peer.start(Config(name=mac(name), nickname=name, peers=first, password=password, **options))
    made.run(20 * SECOND)
    assert made.converged()
    return made


def mac(name: str) -> str:
    return f"02:00:00:00:00:{ord(name) - ord('a') + 1:02x}"


def told(peer: Peer) -> dict[str, str]:
    """Nickname -> address, as `weave status connections` says it."""
    assert peer.node is not None
    found: Any = report(peer.node.mesh, peer.now())
    return {one["nickname"]: one["address"] for one in found["connections"] if one["state"] == "established"}


def tunnelled(peer: Peer, other: str) -> tuple[str, int]:
    """Where the tunnel sends packets for another peer."""
    assert peer.node is not None
    towards = peer.node.tunnel.towards(mac(other))
    assert towards is not None
    return towards[0]


@pytest.mark.parametrize("password", ["", "secret"])
@pytest.mark.parametrize("mover", ["a", "b", "c"])
def test_all_neighbours_have_a_host_again_within_a_second(mover: str, password: str) -> None:
    made = met("abc", password)
    before = made.peers[mover].address
    made.peers[mover].readdress(before, NEW)
    made.run(1 * SECOND)
    assert made.converged()
    for name in "abc":
        if name != mover:
            node = made.peers[name].node
            assert node is not None
            assert told(made.peers[name])[mover] == f"{NEW}:6783"
            assert tunnelled(made.peers[name], mover) == (NEW, 6783)
    made.run(30 * SECOND)
    for name in "abc":
        node = made.peers[name].node
        assert node is not None
        asked = {target.address.host for target in node.mesh.dialler.targets.values() if not target.explicit}
        assert before not in asked and before not in {address.host for address in node.mesh.beacons.called}
        links = [link for record in node.mesh.topology.records.values() for link in record.links]
        assert before not in {link.address.rpartition(":")[0] for link in links}


def test_without_news_of_the_kernel_the_time_out_of_tcp_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = met("ab")
    monkeypatch.setattr(Peer, "_readdressed", lambda self, life: None)
    made.peers["b"].readdress("192.168.0.3", NEW)
    made.run(2 * SECOND)
    assert told(made.peers["a"])["b"] == "192.168.0.3:6783"
    assert tunnelled(made.peers["a"], "b") == (NEW, 6783), "by its beats, long before"
    made.run(20 * SECOND)
    assert made.converged() and told(made.peers["a"])["b"] == f"{NEW}:6783"


def test_two_that_move_at_once_find_each_other_by_a_third() -> None:
    made = met("abc")
    made.peers["b"].readdress("192.168.0.3", NEW)
    made.peers["c"].readdress("192.168.0.4", "192.168.0.78")
    made.run(1 * SECOND)
    assert made.converged()
    assert told(made.peers["b"]) == {"a": "192.168.0.2:6783", "c": "192.168.0.78:6783"}


def test_a_hidden_host_dials_a_peer_at_the_address_that_others_know_by_now() -> None:
    made = World(1)
    for number, name in enumerate("abc"):
        made.add(name, f"192.168.0.{number + 2}" if name != "b" else "10.0.0.2")
    hosts = {"a": ("wan", "192.168.0.2"), "b": ("home", "10.0.0.2"), "c": ("wan", "192.168.0.4")}
    gate = RouterSpec("gw", (HostInterface("home", "10.0.0.1", 24), HostInterface("wan", "192.168.0.1", 24)), "home")
    made.network.routers = Routers({name: [HostInterface(*place, 24)] for name, place in hosts.items()}, [gate])
    for name in "abc":
        first = (Address("192.168.0.2", 6783),) if name != "a" else ()
        made.peers[name].start(Config(name=mac(name), nickname=name, peers=first))
    made.run(20 * SECOND)
    assert sorted(told(made.peers["b"])) == ["a", "c"]
    made.network.set_cut(frozenset({("a", "b"), ("b", "a")}))
    made.run(10 * SECOND)
    made.peers["a"].readdress("192.168.0.2", NEW)
    made.run(2 * SECOND)
    made.network.heal()
    made.run(20 * SECOND)
    assert told(made.peers["b"])["a"] == f"{NEW}:6783"


def test_an_address_that_comes_back_before_anybody_has_noticed_costs_nothing() -> None:
    made = met("ab")
    node = made.peers["a"].node
    assert node is not None
    made.peers["b"].readdress("192.168.0.3", NEW)
    made.run(20 * MILLISECOND)
    made.peers["b"].readdress(NEW, "192.168.0.3")
    made.run(20 * SECOND)
    assert node.mesh.connections.terminations == 0 and made.converged()


@pytest.mark.parametrize("password", ["", "secret"])
def test_a_forged_beat_moves_no_peer(password: str) -> None:
    made = met("ab", password)
    peer = made.peers["a"]
    assert peer.node is not None
    (connection,) = peer.node.mesh.connections.established.values()
    wrong = Address("192.168.0.66", 6783)
    for number in (0, connection.id ^ 1, *((connection.id,) if password else ())):
        peer.feed(Datagram(wrong, Beat(mac("b"), number, SECOND, True, 10**6, bytes(16) if password else b"")))
    assert connection.udp_address.host == "192.168.0.3" and not connection.moved
    assert tunnelled(peer, "b") == ("192.168.0.3", 6783)


def test_the_arbiter_keeps_its_connection_unless_the_peer_has_moved() -> None:
    made = met("ab")
    a = made.peers["a"].node
    assert a is not None
    (before,) = a.mesh.connections.all.values()
    # A second connection of the very same peer, which has not moved: refused, as ever.
    made.peers["b"].world.network.dial(made.peers["b"], Address("192.168.0.2", 6783), lambda: True)
    made.run(300 * MILLISECOND)
    assert list(a.mesh.connections.all.values()) == [before] and before.state.value == "established"


def test_only_connections_of_the_address_that_is_lost_are_given_up() -> None:
    made = met("abc")
    node = made.peers["a"].node
    assert node is not None
    made.peers["a"].feed(HostReaddressed(("10.9.9.9", "192.168.0.2", "fe80::1")))
    assert len(node.mesh.connections.established) == 2
    # One in the middle of its handshake is given up as well, and is not dialled: nobody knows who it was.
    made.peers["a"].feed(TcpOpened(999, Address("10.9.9.9", 6783), Address("192.168.0.9", 5), None))
    made.peers["a"].feed(HostReaddressed(("192.168.0.2",)))
    assert 999 not in node.mesh.connections.all and len(node.mesh.connections.established) == 2
    assert "192.168.0.9" not in {address.host for address in node.mesh.dialler.targets}


def test_tcp_of_a_lost_address_gets_stuck_and_goes_on_when_it_is_back() -> None:
    made = met("ab")
    ends: list[End] = list(made.peers["b"].ends.values())
    made.network.readdress("b", "192.168.0.3", NEW)
    assert [end.lost for end in ends] == [True] and ends[0].other.lost
    made.network.readdress("b", NEW, "192.168.0.3")
    assert [end.lost for end in ends] == [False] and made.network.reached("a", "udp", Address(NEW, 1)) is None
