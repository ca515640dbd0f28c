"""Peers find each other again by what is on their disks alone: nobody is named to them in their second life."""

import msgspec

from lab.sim.world import Peer, World
from overlay.config import Address, Config
from overlay.effects import Persist
from overlay.env import SECOND, Random
from overlay.mesh import launches
from overlay.mesh.dialler import Dialler

FIRST = Address("192.168.0.2", 6783)


def config(name: str, *peers: Address, **options: bool | int) -> Config:
    number = ord(name) - ord("a") + 1
    return Config(name=f"02:00:00:00:00:{number:02x}", nickname=name, peers=peers, **options)  # type: ignore[arg-type]


def met(names: str, password: str = "", **options: bool | int) -> World:
    """Peers that all met through the first, and have had time to remember."""
    made = World(1)
    for number, name in enumerate(names):
        peer = made.add(name, f"192.168.0.{number + 2}")
        peer.start(config(name, *([FIRST] if number else []), **options))
    made.run(20 * SECOND)
    assert made.converged()
    return made


def again(made: World, names: str, **options: bool | int) -> list[Peer]:
    """A power cut of all, after which only these come back, launched without a word of the others."""
    for peer in made.running():
        peer.power_off()
    made.run(60 * SECOND)
    for name in names:
        made.peers[name].power_on()
        made.peers[name].start(config(name, **options))
    made.run(20 * SECOND)
    return made.running()


def neighbours(peer: Peer) -> int:
    assert peer.node is not None
    return len(peer.node.mesh.neighbours)


def test_they_meet_without_the_one_that_they_met_through() -> None:
    made = met("abcd")
    assert made.converged(again(made, "bcd"))


def test_without_discovery_nobody_is_remembered() -> None:
    made = met("abc", discovery=False)
    assert [neighbours(peer) for peer in again(made, "bc", discovery=False)] == [0, 0]


def test_who_left_is_not_looked_for() -> None:
    made = met("abc")
    made.peers["c"].leave()
    made.run(10 * SECOND)
    (back,) = again(made, "b")
    assert back.node is not None
    assert sorted(back.node.mesh.dialler.targets) == [FIRST]


def test_an_acquaintance_out_of_reach_stays_one() -> None:
    made = met("abcd")
    made.network.split(["ab", "cd"])
    made.run(400 * SECOND)  # longer than any record of the other half is kept
    made.network.heal()
    assert made.converged(again(made, "bd"))


def test_what_is_forgotten_on_request_is_gone() -> None:
    made = met("ab")
    stored = made.peers["b"].disk.stored
    assert sorted(key for key, _ in launches.begin(stored, (), resume=False)) == ["launch", "met", "targets"]
    (back,) = again(made, "b")
    assert back.node is not None and not back.node.mesh.dialler.targets


A, B, C = (Address(f"192.168.0.{number}", 6783) for number in (2, 3, 4))


def targets(stored: dict[str, bytes], *given: Address) -> list[Address]:
    """Whom a dialler of this life dials, whatever the configuration says."""
    return list(Dialler("02:00:00:00:00:01", given, stored.get("targets"), Random(1)).targets)


def test_a_launch_goes_on_with_the_same_peers_unless_it_was_stopped() -> None:
    stored: dict[str, bytes] = {}
    launches.begin(stored, (A, B), resume=None)
    assert targets(stored, A, B) == [A, B]
    ((key, stored["targets"]),) = [
        (each.key, each.data)
        for each in Dialler("02:00:00:00:00:01", (A, B), stored["targets"], Random(1)).connect((C,), False, 0)
        if isinstance(each, Persist)
    ]
    assert key == "targets"
    stored["met"] = b"\x81\xa1x\xa1y"
    assert launches.begin(stored, (A, B), resume=None) == []
    assert targets(stored, A, B) == [A, B, C] and stored["met"] != b"\x80"
    for resume, peers in ((None, (A,)), (None, ()), (False, (A, B))):
        other = dict(stored)
        launches.begin(other, peers, resume)
        assert targets(other) == list(peers) and other["met"] == b"\x80"
    resumed = dict(stored)
    launches.begin(resumed, (), resume=True)
    assert targets(resumed) == [A, B, C] and resumed["met"] == stored["met"]
    stopped = {**stored, **dict([launches.ended((A, B))])}
    launches.begin(stopped, (A, B), resume=None)
    assert targets(stopped) == [A, B] and stopped["met"] == b"\x80"


def test_what_a_build_without_launches_knew_is_taken_up_once() -> None:
    stored = {"targets": msgspec.msgpack.encode((C,))}
    launches.begin(stored, (A,), resume=None)
    assert targets(stored) == [A, C]
    launches.begin(stored, (B,), resume=None)
    assert targets(stored) == [B]


def test_the_dead_take_no_place_from_those_that_are_discovered() -> None:
    made = met("abcdefgh", conn_limit=8)
    assert made.converged(again(made, "abcd", conn_limit=8))
    assert {neighbours(peer) for peer in made.running()} == {3}
