"""Address management under random partitions, losses, reorderings and crashes at any effect.

Two explorers of the same machines: Hypothesis, which shrinks what it finds, and seeded schedules, which go deeper.

`OneLineage` is the promise: with a proper quorum no schedule gives one address to two live containers. `ManyNetworks`
is its complement: lone launches and `rmpeer` of living peers make duplicates that nothing can prevent, and all of them
must end quarantined, the same way everywhere.
"""

from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ipam_world import World

from overlay.config import Config
from overlay.env import MILLISECOND, SECOND

NAMES = ("a", "b", "c", "d")
CONTAINERS = ("x", "y", "z")
SUBNETS = ("", "10.0.0.16/29", "10.0.0.8/30")

peers = st.sampled_from(NAMES)
containers = st.sampled_from(CONTAINERS)


class Machine(RuleBasedStateMachine):
    """What may happen to any set of peers."""

    configs: ClassVar[dict[str, dict[str, Any]]]

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        common: dict[str, Any] = {"iprange": "10.0.0.0/27"}
        self.world = World([Config(name=name, nickname=name, **common, **self.configs[name]) for name in NAMES], seed)

    @rule(peer=peers, container=containers, subnet=st.sampled_from(SUBNETS))
    def allocate(self, peer: str, container: str, subnet: str) -> None:
        self.world.allocate(peer, f"{peer}-{container}", subnet)

    @rule(peer=peers, container=containers, host=st.integers(1, 30))
    def claim(self, peer: str, container: str, host: int) -> None:
        self.world.claim(peer, f"{peer}-{container}", f"10.0.0.{host}/27")

    @rule(peer=peers, container=containers)
    def release(self, peer: str, container: str) -> None:
        self.world.release(peer, f"{peer}-{container}")

    @rule(peer=peers, container=containers)
    def stop(self, peer: str, container: str) -> None:
        self.world.stop(peer, f"{peer}-{container}")

    @rule(peer=peers)
    def prime(self, peer: str) -> None:
        self.world.prime(peer)

    @precondition(lambda self: self.world.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(sorted(self.world.requests))))

    @precondition(lambda self: self.world.flight)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        self.world.deliver(data.draw(st.integers(0, len(self.world.flight) - 1)), keep)

    @precondition(lambda self: self.world.flight)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.world.flight[data.draw(st.integers(0, len(self.world.flight) - 1))]

    @rule()
    def deliver_all(self) -> None:
        self.world.deliver_all()

    @rule(first=peers, second=peers)
    def exchange(self, first: str, second: str) -> None:
        self.world.exchange(first, second)

    @rule(duration=st.sampled_from((10 * MILLISECOND, 150 * MILLISECOND, 1 * SECOND, 6 * SECOND)))
    def pass_time(self, duration: int) -> None:
        self.world.stand_still(duration)

    @rule(duration=st.sampled_from((200 * MILLISECOND, 3 * SECOND)))
    def run_undisturbed(self, duration: int) -> None:
        self.world.run(duration)

    @rule(groups=st.tuples(*[st.integers(0, 1) for _ in NAMES]))
    def partition(self, groups: tuple[int, ...]) -> None:
        self.world.groups = dict(zip(NAMES, groups, strict=True))

    @rule(peer=peers)
    def notice(self, peer: str) -> None:
        self.world.notice(peer)

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @rule(peer=peers, effects=st.integers(0, 4))
    def crash_soon(self, peer: str, effects: int) -> None:
        if peer in self.world.peers:
            self.world.crash_at[peer] = effects

    @rule(peer=peers)
    def restart(self, peer: str) -> None:
        self.world.crash(peer)
        self.world.launch(peer)

    def quiet(self) -> None:
        """Everybody is up, everything is connected, and time passes without faults."""
        world = self.world
        world.crash_at.clear()
        for name in NAMES:
            if name not in world.peers:
                world.launch(name)
        world.heal()
        world.run(40 * SECOND, 100 * MILLISECOND)
        world.check_agreed()
        world.check_nothing_lost()
        assert not world.requests, f"never answered: {world.requests}"


class OneLineage(Machine):
    """Three electors who know their number, and an observer."""

    configs: ClassVar[dict[str, dict[str, Any]]] = {
        **{name: {"initial_peer_count": 3} for name in "abc"},
        "d": {"ipam_init": "observer", "initial_peer_count": 3},
    }

    @invariant()
    def nothing_twice(self) -> None:
        if hasattr(self, "world"):
            self.world.check_no_duplicates()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.quiet()
        world = self.world
        world.check_no_duplicates()
        for name in NAMES:
            assert not world.peers[name].report(world.now)["conflicts"]
        for name in NAMES:
            satisfiable = len(world.booked()) < 30
            number = world.allocate(name, f"{name}-last")
            world.run(7 * SECOND, 100 * MILLISECOND)
            error = world.replies[number].error
            assert "no free address" in error if not satisfiable else not error
        world.check_no_duplicates()


class ManyNetworks(Machine):
    """Everybody thinks to be alone at first, lost peers are soon forgotten, and living ones are removed."""

    configs: ClassVar[dict[str, dict[str, Any]]] = {name: {"hold": 1 * SECOND} for name in NAMES}

    @rule(peer=peers, victim=peers)
    def remove_peer(self, peer: str, victim: str) -> None:
        self.world.remove_peer(peer, victim)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.quiet()
        world = self.world
        conflicts: dict[tuple[str, str], str] = {}
        for name in NAMES:
            for conflict in world.peers[name].report(world.now)["conflicts"]:  # type: ignore[attr-defined]
                assert conflict["kind"] == "quarantined", conflict
                conflicts[name, conflict["address"]] = conflict["owner"]
        for address, holders in world.booked().items():
            winners = {world.peers[name].rightful_holder(address, holders) for name in NAMES}
            assert len(winners) == 1, f"the peers disagree about {address}: {winners}"
            winner = winners.pop()
            for holder in holders:
                contested = (holder[0], address) in conflicts
                assert contested == (holder[0] != winner[0]), f"{address}: {holder}, {winner} keeps it, {conflicts}"


modest = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestOneLineage = OneLineage.TestCase
TestOneLineage.settings = modest
TestManyNetworks = ManyNetworks.TestCase
TestManyNetworks.settings = modest


WEIGHTS = {
    "deliver": 60,
    "allocate": 8,
    "claim": 4,
    "release": 4,
    "stop": 4,
    "time": 8,
    "partition": 1,
    "notice": 3,
    "heal": 2,
    "exchange": 4,
    "cancel": 1,
    "prime": 1,
}


def act(machine: Machine, action: str, random: Random) -> None:
    """One step of a seeded schedule."""
    world = machine.world
    peer = random.choice(NAMES)
    container = random.choice("uvwxyz")
    if action in ("deliver", "lose", "copy"):
        if world.flight:
            index = random.randrange(len(world.flight)) if random.random() < 0.5 else 0
            if action == "lose":
                del world.flight[index]
            else:
                world.deliver(index, keep=action == "copy")
    elif action == "allocate":
        machine.world.allocate(peer, f"{peer}-{container}", random.choice(SUBNETS))
    elif action == "claim":
        machine.world.claim(peer, f"{peer}-{container}", f"10.0.0.{random.randint(1, 30)}/27")
    elif action == "release":
        machine.world.release(peer, f"{peer}-{container}")
    elif action == "stop":
        machine.world.stop(peer, f"{peer}-{container}")
    elif action == "time":
        world.stand_still(random.choice((10, 100, 300, 1000, 1000, 6000)) * MILLISECOND)
    elif action == "crash" and peer in world.peers:
        world.crash_at[peer] = random.randrange(5)
    elif action == "restart":
        world.crash(peer)
        world.launch(peer)
    elif action == "partition":
        world.groups = {name: random.randrange(2) for name in NAMES}
    elif action == "notice":
        world.notice(peer)
    elif action == "heal":
        world.heal()
    elif action == "exchange":
        world.exchange(peer, random.choice(NAMES))
    elif action == "cancel" and world.requests:
        world.cancel(random.choice(sorted(world.requests)))
    elif action == "prime":
        world.prime(peer)
    elif action == "remove" and isinstance(machine, ManyNetworks):
        world.remove_peer(peer, random.choice(NAMES))
    for name in NAMES:
        if name not in world.peers and random.random() < 0.1:
            world.launch(name)


@pytest.mark.parametrize("kind", [OneLineage, ManyNetworks])
@pytest.mark.parametrize("block", range(3))
def test_seeded_schedules(kind: type[Machine], block: int) -> None:
    """250 steps each, on gentle and on hostile networks; a failure names its seed."""
    for seed in range(block * 40, block * 40 + 40):
        run_schedule(kind, seed)


def run_schedule(kind: type[Machine], seed: int) -> None:
    random = Random(seed)
    machine = kind()
    machine.world = World(
        [Config(name=name, nickname=name, iprange="10.0.0.0/27", **machine.configs[name]) for name in NAMES], seed
    )
    loss, crashes = random.choice((0, 5, 20)), random.choice((0.5, 2, 6))
    weights = {**WEIGHTS, "lose": loss, "copy": loss / 2, "crash": crashes, "restart": crashes, "remove": 1}
    try:
        for _ in range(250):
            act(machine, random.choices(tuple(weights), tuple(weights.values()))[0], random)
            if kind is OneLineage:
                machine.world.check_no_duplicates()
        machine.teardown()
    except AssertionError as error:
        raise AssertionError(f"{kind.__name__} with seed {seed}: {error}") from error
