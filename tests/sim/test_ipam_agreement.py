"""The first agreement: one ring whatever is lost, reordered or killed; and the ways in which a network comes about."""

from random import Random

import pytest
from ipam_world import World

from overlay.config import Address, Config
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Connect, Forget

WEIGHTS = {"deliver": 60, "lose": 6, "copy": 5, "prime": 6, "wake": 10, "crash": 4, "start": 8, "restart": 6}
RANGE = "10.2.0.0/24"


def configs(names: str, **options: object) -> list[Config]:
    return [Config(name=name, nickname=name, iprange=RANGE, **options) for name in names]  # type: ignore[arg-type]


def lineages(world: World) -> set[object]:
    return {peer.report(world.now)["lineage"] for peer in world.peers.values() if peer.ready}


def value(world: World, number: int) -> str:
    reply = world.replies[number]
    assert not reply.error, reply.error
    assert isinstance(reply.value, str)
    return reply.value


def disturb(world: World, random: Random, steps: int) -> None:
    """Duelling proposers, lossy links in any order, and crashes between any two effects."""
    names = world.names
    for _ in range(steps):
        name = random.choice(names)
        action = random.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]
        if action == "prime":
            world.prime(name)
        elif action == "wake":
            world.stand_still(random.choice((50, 150, 500, 2000)) * MILLISECOND)
        elif action == "crash" and name in world.peers:
            world.crash_at[name] = random.randrange(4)
        elif action == "restart" or (action == "start" and name not in world.peers):
            world.crash(name)
            world.launch(name)
            for other in names:
                world.notice(other)
        elif world.flight and action in ("deliver", "lose", "copy"):
            index = random.randrange(len(world.flight))
            if action == "lose":
                del world.flight[index]
            else:
                world.deliver(index, keep=action == "copy")


@pytest.mark.parametrize("block", range(4))
def test_one_value_whatever_happens(block: int) -> None:
    for seed in range(block * 60, block * 60 + 60):
        world = World(configs("abcde", initial_peer_count=5), seed)
        world.heal()
        # What is decided is watched without gossip: a second value would show as a second lineage.
        founded: set[object] = set()
        random = Random(seed)
        for _ in range(40):
            disturb(world, random, 10)
            world.flight = [message for message in world.flight if not message[3]]
            founded |= lineages(world)
            assert len(founded) <= 1, f"seed {seed} decided twice: {founded}"


def test_nobody_makes_a_ring_before_an_address_is_wanted() -> None:
    world = World(configs("ab"))
    world.run(20 * SECOND)
    assert not any(peer.ready for peer in world.peers.values())


def test_a_lone_peer_answers_at_once() -> None:
    world = World(configs("a"))
    assert value(world, world.allocate("a", "x")) == "10.2.0.1/24"
    assert world.peers["a"].share == 1.0


@pytest.mark.parametrize("seed", range(10))
def test_launched_alone_then_connected_then_both_allocate(seed: int) -> None:
    world = World(configs("ab"), seed)
    world.partition("a", "b")
    world.heal()
    numbers = [world.allocate("a", "x"), world.allocate("b", "y")]
    world.run(2 * SECOND)
    assert len({value(world, number) for number in numbers}) == 2
    assert len(lineages(world)) == 1
    world.check_agreed()
    assert world.peers["a"].share == world.peers["b"].share == 0.5


def test_who_has_no_ring_takes_that_of_the_other() -> None:
    world = World(configs("ab"))
    world.partition("a", "b")
    first = world.allocate("a", "x")
    world.heal()
    second = world.allocate("b", "y")
    world.run(2 * SECOND)
    assert value(world, first) == "10.2.0.1/24"
    assert value(world, second) == "10.2.0.192/24", "the largest block of at most half of what is free"
    assert len(lineages(world)) == 1
    world.check_no_duplicates()


def test_nothing_is_given_while_a_peer_is_being_dialled() -> None:
    world = World(configs("a"))
    address = Address("192.0.2.2", 6783)
    world.give("a", Connect(0, (address,)))
    number = world.allocate("a", "x")
    world.run(6 * SECOND)
    assert number not in world.replies
    assert "`weave forget PEER` drops one that will not answer, of 192.0.2.2:6783" in str(
        world.peers["a"].report(world.now)["waiting"]
    )
    world.give("a", Forget(0, (address,)))
    assert value(world, number) == "10.2.0.1/24"


@pytest.mark.parametrize("back", [True, False])
def test_a_peer_that_is_lost_has_its_say_until_the_hold_is_over(back: bool) -> None:
    world = World(configs("ab", hold=30 * SECOND))
    world.heal()
    world.partition("a", "b")
    world.notice("a")
    number = world.allocate("a", "x")
    world.run(20 * SECOND)
    assert number not in world.replies
    if back:
        world.heal()
        world.run(1 * SECOND)
        assert "agreement of 2 " in str(lineages(world).pop())
    else:
        world.run(25 * SECOND)
        assert "agreement of 1 " in str(lineages(world).pop())
    assert value(world, number)


def test_two_networks_that_allocated_before_they_met() -> None:
    world = World(configs("ab"))
    world.partition("a", "b")
    world.notice("a")
    world.notice("b")
    for name in world.names:
        world.crash(name)
    world.launch("a")
    world.launch("b")
    both = [value(world, world.allocate(name, f"{name}-{index}")) for name in "ab" for index in (1, 2)]
    assert sorted(both) == ["10.2.0.1/24"] * 2 + ["10.2.0.2/24"] * 2
    alone = value(world, world.claim("a", "a-alone", "10.2.0.77/24"))
    alone_too = value(world, world.claim("b", "b-alone", "10.2.0.78/24"))
    world.heal()
    world.run(5 * SECOND)
    world.check_agreed()
    assert len(lineages(world)) == 1
    winner = next(name for name in "ab" if not world.peers[name].report(world.now)["conflicts"])
    loser = "b" if winner == "a" else "a"
    conflicts = world.peers[loser].report(world.now)["conflicts"]
    assert isinstance(conflicts, list)
    assert [(c["address"], c["kind"], c["holder"]) for c in conflicts] == [
        ("10.2.0.1", "quarantined", f"{winner}-1"),
        ("10.2.0.2", "quarantined", f"{winner}-2"),
    ]
    assert conflicts[0]["remedy"].startswith(f"`weave detach 10.2.0.1/24 {loser}-1`")
    assert any(log.level == "error" and f"{winner}-1" in log.text and f"{loser}-1" in log.text for _, log in world.logs)
    for name in "ab":
        holders = [(loser, f"{loser}-1"), (winner, f"{winner}-1")]
        assert world.peers[name].rightful_holder("10.2.0.1", holders) == (winner, f"{winner}-1")
    # What only one of them holds is its own in the new ring, and stays.
    assert world.holders()[alone.split("/")[0]] and world.holders()[alone_too.split("/")[0]]
    # The command that mends it, for the first; the other one ends when the winner's container goes.
    world.release(loser, f"{loser}-1")
    again = world.allocate(loser, f"{loser}-1")
    world.run(2 * SECOND)
    assert value(world, again) not in ("10.2.0.1/24", "10.2.0.2/24")
    world.release(winner, f"{winner}-2")
    world.run(15 * SECOND)
    assert world.peers[loser].report(world.now)["conflicts"] == []
    world.check_no_duplicates()


def test_the_loser_without_addresses_just_joins() -> None:
    world = World(configs("ab"))
    world.partition("a", "b")
    for name in world.names:
        world.crash(name)
    for name in "ab":
        world.launch(name)
        world.prime(name)
    assert len(lineages(world)) == 2
    world.heal()
    world.run(2 * SECOND)
    world.check_agreed()
    assert all(peer.report(world.now)["conflicts"] == [] for peer in world.peers.values())


def test_seeded_peers_agree_without_a_word() -> None:
    world = World(configs("abc", ipam_init="seed", seed=("c", "a", "b")))
    assert len({peer.ring_digest for peer in world.peers.values()}) == 1
    world.partition("a", "b", "c")
    found = {value(world, world.allocate(name, name)) for name in "abc"}
    assert len(found) == 3


def test_an_observer_starts_the_agreement_but_has_no_part_in_it() -> None:
    world = World([*configs("bc", initial_peer_count=2), *configs("a", ipam_init="observer")])
    world.heal()
    number = world.allocate("a", "x")
    world.run(3 * SECOND)
    assert value(world, number)
    assert "agreement of 2 " in str(lineages(world).pop())


def test_without_a_quorum_the_request_waits_and_says_for_what() -> None:
    world = World(configs("abc", initial_peer_count=3))
    world.partition("a", "bc")
    for name in world.names:
        world.crash(name)
    world.launch("a")
    number = world.allocate("a", "x")
    world.run(8 * SECOND)
    assert number not in world.replies
    assert "needs 2 peers and 1 can be reached" in str(world.peers["a"].report(world.now)["waiting"])
    assert any("needs 2 peers" in log.text for _, log in world.logs)
    world.launch("b")
    world.heal()
    world.run(2 * SECOND)
    assert value(world, number)


def test_peers_of_another_range_are_told_apart() -> None:
    other = Config(name="b", nickname="b", iprange="10.3.0.0/24", initial_peer_count=2)
    world = World([*configs("a", initial_peer_count=2), other])
    world.heal()
    world.prime("a")
    world.run(3 * SECOND)
    report = world.peers["a"].report(world.now)
    assert "10.3.0.0/24" in str(report["waiting"])
    assert isinstance(report["conflicts"], list)
    assert report["conflicts"][0]["kind"] == "range"
