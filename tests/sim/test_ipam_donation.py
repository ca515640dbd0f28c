"""Space that moves between peers: donation, claims of foreign addresses, dead and leaving peers, full subnets."""

import pytest
from ipam_world import World

from overlay.config import Config
from overlay.effects import Evicted
from overlay.env import SECOND
from overlay.inputs import Idle, Release


def world_of(names: str, iprange: str = "10.2.0.0/24", **options: object) -> World:
    """All connected, with a ring divided equally among `names`."""
    seed = tuple(names)
    world = World(
        [Config(name=name, nickname=name, iprange=iprange, ipam_init="seed", seed=seed, **options) for name in names]  # type: ignore[arg-type]
    )
    world.heal()
    return world


def value(world: World, number: int) -> str:
    reply = world.replies[number]
    assert not reply.error, reply.error
    assert isinstance(reply.value, str)
    return reply.value


def test_a_subnet_that_somebody_else_owns_is_asked_for() -> None:
    world = world_of("ab")
    number = world.allocate("b", "x", "10.2.0.0/26")
    assert number not in world.replies
    world.deliver_all()
    assert value(world, number) == "10.2.0.32/26"
    world.check_agreed()


def test_the_same_container_and_subnet_get_the_same_address_again() -> None:
    world = world_of("a")
    first = value(world, world.allocate("a", "x"))
    other = value(world, world.allocate("a", "x", "10.2.0.64/26"))
    assert (first, other) == ("10.2.0.1/24", "10.2.0.65/26")
    assert value(world, world.allocate("a", "x")) == first
    assert world.peers["a"].addresses("x") == (first, other)
    world.release("a", "x")
    assert value(world, world.allocate("a", "y")) == first


def test_requests_for_one_subnet_share_one_question() -> None:
    world = world_of("ab")
    numbers = [world.allocate("b", container, "10.2.0.0/25") for container in ("x", "y", "z")]
    assert len(world.flight) == 1
    world.deliver_all()
    assert len({value(world, number) for number in numbers}) == 3


def test_every_address_of_a_subnet_is_found_and_then_it_is_full() -> None:
    world = world_of("abc", "10.2.0.0/27")
    found = []
    for index in range(30):
        number = world.allocate("abc"[index % 3], f"c{index}")
        world.run(3 * SECOND)
        found.append(value(world, number))
    assert sorted(int(text.split(".")[3].split("/")[0]) for text in found) == list(range(1, 31))
    number = world.allocate("a", "one-too-many")
    world.run(4 * SECOND)
    assert number not in world.replies
    world.run(2 * SECOND)
    error = world.replies[number].error
    assert "no free address in 10.2.0.0/27" in error and "asked in vain: b, c" in error and "release" in error


def test_a_release_elsewhere_ends_the_wait() -> None:
    world = world_of("ab", "10.2.0.0/29")
    for index in range(6):
        world.allocate("a", f"c{index}")
        world.deliver_all()
    number = world.allocate("b", "late")
    world.run(2 * SECOND)
    assert number not in world.replies
    world.release("a", "c2")
    world.run(2 * SECOND)
    assert value(world, number)


def test_owners_out_of_reach_are_named_with_the_remedy() -> None:
    world = world_of("ab")
    world.partition("a", "b")
    world.notice("b")
    number = world.allocate("b", "x", "10.2.0.0/26")
    claim = world.claim("b", "y", "10.2.0.7/24")
    world.run(6 * SECOND)
    for error in (world.replies[number].error, world.replies[claim].error):
        assert "unreachable owners: a (`weave rmpeer a`" in error


def test_a_donor_that_does_not_answer_is_replaced() -> None:
    world = world_of("abc", "10.2.0.0/28")
    number = world.allocate("c", "x", "10.2.0.0/29")
    asked = world.flight[0][1]
    world.flight.clear()
    world.run(3 * SECOND)
    assert value(world, number)
    assert asked in "ab"


def test_a_question_that_comes_twice_is_granted_once() -> None:
    world = world_of("ab")
    number = world.allocate("b", "x", "10.2.0.0/25")
    world.deliver(0, keep=True)
    world.deliver_all()
    assert value(world, number) == "10.2.0.64/25"
    assert world.peers["b"].share == 0.5 + 64 / 256


def test_claims_at_home_abroad_and_outside() -> None:
    world = world_of("ab")
    home = world.claim("a", "x", "10.2.0.9/24")
    abroad = world.claim("a", "x", "10.2.0.200/24")
    outside = world.claim("a", "x", "192.168.7.1/16")
    world.deliver_all()
    assert [value(world, number) for number in (home, abroad, outside)] == [
        "10.2.0.9/24",
        "10.2.0.200/24",
        "192.168.7.1/16",
    ]
    taken = [world.claim("a", "y", text) for text in ("10.2.0.9/24", "10.2.0.200/24", "192.168.7.1/16")]
    taken.append(world.claim("b", "z", "10.2.0.200/24"))
    world.deliver_all()
    for number in taken:
        assert "is in use by container x on" in world.replies[number].error
    assert value(world, world.claim("a", "x", "10.2.0.9/24")) == "10.2.0.9/24"
    world.release("a", "x")
    assert value(world, world.claim("a", "y", "192.168.7.1/16"))


@pytest.mark.parametrize("claimant", ["a", "b"])
def test_a_stopped_container_gives_way_to_a_claim_on_any_peer(claimant: str) -> None:
    """It is told what it lost; other addresses, and what nobody names, it keeps."""
    world = world_of("ab")
    kept, lost = world.claim("a", "old", "10.2.0.8/24"), world.claim("a", "old", "10.2.0.9/24")
    outside = world.claim("a", "old", "192.168.7.1/16")
    world.deliver_all()
    assert not any(world.replies[number].error for number in (kept, lost, outside))
    world.give("a", Idle("old", idle=True))
    world.live["a", "old"].pop("10.2.0.9")
    taken = world.claim(claimant, "new", "10.2.0.9/24")
    world.deliver_all()
    assert value(world, taken) == "10.2.0.9/24"
    assert world.evicted == [("a", Evicted("old", "10.2.0.9/24"))]
    assert world.peers["a"].addresses("old") == ("10.2.0.8/24", "192.168.7.1/16")
    # It runs again, which it says by claiming what it had, or is told.
    for again in (lambda: world.claim("a", "old", "10.2.0.8/24"), lambda: world.give("a", Idle("old", idle=False))):
        world.give("a", Idle("old", idle=True))
        again()
        for peer in "ab":
            refused = world.claim(peer, "new", "10.2.0.8/24")
            world.deliver_all()
            assert "in use by container old" in world.replies[refused].error
    world.give("a", Idle("old", idle=True))
    world.live["a", "old"].pop("192.168.7.1")
    assert value(world, world.claim("a", "new", "192.168.7.1/16")) == "192.168.7.1/16"
    assert world.evicted[1:] == [("a", Evicted("old", "192.168.7.1/16"))]
    world.check_agreed()


def test_a_claim_outside_of_the_range_needs_no_ring() -> None:
    world = World([Config(name="a", nickname="a")])
    assert value(world, world.claim("a", "svc1", "10.0.1.1/24")) == "10.0.1.1/24"
    assert not world.peers["a"].ready


@pytest.mark.parametrize("text", ["10.0.1.1", "10.0.1.1/33", "nonsense/24", ""])
def test_a_wrong_address_is_refused_with_what_was_expected(text: str) -> None:
    world = world_of("a")
    error = world.replies[world.claim("a", "x", text)].error
    assert repr(text) in error and ("as 10.32.1.7/24" in error or "as 10.0.1.1/24" in error)


@pytest.mark.parametrize("subnet", ["10.3.0.0/24", "10.2.0.0/16", "10.2.0.8/31", "10.2.0.1/24", "fd00::/64", "x"])
def test_a_wrong_subnet_is_refused(subnet: str) -> None:
    world = world_of("a")
    assert subnet in world.replies[world.allocate("a", "x", subnet)].error


def test_release_and_cancel_of_what_waits() -> None:
    world = world_of("ab")
    world.partition("a", "b")
    world.notice("b")
    released = world.allocate("b", "x", "10.2.0.0/26")
    cancelled = world.allocate("b", "y", "10.2.0.0/26")
    world.cancel(cancelled)
    world.requests.pop(released)
    world.give("b", Release(99, "x"))
    assert "released meanwhile" in world.replies[released].error
    assert world.replies[99].value == ()
    world.heal()
    world.run(8 * SECOND)
    assert cancelled not in world.replies


def test_the_space_of_a_dead_peer_is_taken_over() -> None:
    world = world_of("abc")
    dead = value(world, world.allocate("c", "x"))
    assert "is reachable" in world.replies[world.remove_peer("a", "c")].error
    assert "is this peer" in world.replies[world.remove_peer("a", "a")].error
    world.crash("c")
    for name in "ab":
        world.notice(name)
    assert world.replies[world.remove_peer("a", "c")].value == "88 addresses of peer c taken over"
    world.deliver_all()
    assert world.peers["a"].ring_digest == world.peers["b"].ring_digest
    assert world.replies[world.remove_peer("b", "c")].value == "0 addresses of peer c taken over"
    # It was not dead after all: what it holds is claimed back from the heir, which has not given it away.
    world.launch("c")
    world.heal()
    world.run(3 * SECOND)
    world.check_agreed()
    assert world.peers["c"].report(world.now)["conflicts"] == []
    assert world.peers["c"].addresses("x") == (dead,)
    assert world.peers["c"].share == 1 / 256


def test_two_peers_that_remove_the_same_one_while_apart_agree_later() -> None:
    world = world_of("abc")
    world.partition("a", "b", "c")
    for name in "abc":
        world.notice(name)
    for name in "ba":
        world.remove_peer(name, "c")
        world.flight.clear()
    numbers = [world.claim(name, f"{name}-x", "10.2.0.250/24") for name in "ab"]
    assert [value(world, number) for number in numbers] == ["10.2.0.250/24"] * 2
    world.heal()
    world.run(3 * SECOND)
    world.check_agreed()
    assert world.peers["a"].report(world.now)["conflicts"] == []
    conflicts = world.peers["b"].report(world.now)["conflicts"]
    assert isinstance(conflicts, list)
    assert [(c["address"], c["owner"], c["holder"]) for c in conflicts] == [("10.2.0.250", "a", "a-x")]
    assert "in use by container a-x on peer a" in world.replies[world.claim("b", "b-x", "10.2.0.250/24")].error


def test_a_peer_that_is_reset_leaves_its_space_to_the_lowest() -> None:
    world = world_of("abc")
    world.allocate("b", "x")
    world.do("b", world.peers["b"].surrender(world.now))
    world.deliver_all()
    assert world.peers["b"].share == 0 and world.peers["b"].addresses("x") == ()
    assert world.peers["a"].share > 0.6
    assert world.peers["a"].ring_digest == world.peers["c"].ring_digest
    world.hosts["b"].stored.clear()
    world.live.clear()
    world.crash("b")
    world.launch("b")
    world.heal()
    world.run(2 * SECOND)
    world.check_agreed()


def test_an_address_survives_the_crash_and_is_not_given_twice() -> None:
    world = world_of("ab")
    first = value(world, world.allocate("a", "x"))
    world.crash("a")
    world.launch("a")
    assert world.peers["a"].addresses("x") == (first,)
    assert value(world, world.allocate("a", "y")) != first


def test_ipv6() -> None:
    world = world_of("ab", "fd00:1::/64")
    numbers = [
        world.allocate("a", "x"),
        world.allocate("b", "y", "fd00:1::/120"),
        world.claim("a", "z", "fd00:1::ff00/64"),
    ]
    world.deliver_all()
    assert [value(world, number) for number in numbers] == ["fd00:1::1/64", "fd00:1::c0/120", "fd00:1::ff00/64"]
    world.check_agreed()


def test_a_donation_whose_gossip_is_lost_arrives_all_the_same_and_is_passed_on() -> None:
    world = world_of("abc")
    number = world.allocate("b", "x", "10.2.0.0/26")
    world.deliver(0)
    world.flight = [message for message in world.flight if not message[3]]
    world.deliver_all()
    assert number not in world.replies, "gossip is given its time"
    world.stand_still(SECOND)
    assert value(world, number)
    assert any(message[3] for message in world.flight)
    world.deliver_all()
    world.check_agreed()
