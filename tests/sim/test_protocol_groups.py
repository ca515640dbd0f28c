"""Groups of members in virtual time: the published results in small, and what each protocol promises."""

from typing import Any

import pytest

from benchmarks.published import plumtree, swim
from lab.links import Link, Links
from lab.protocols.plumtree import Plumtree
from lab.protocols.push_pull import PushPull
from lab.protocols.swim import Swim
from lab.sim.group import MemberGroup
from lab.sim.member_world import MemberWorld
from overlay.env import MILLISECOND, SECOND


def met(world: MemberWorld, limit: int = 60) -> None:
    """Let all begin and meet."""
    world.begin(world.names)
    for name in world.names[1:]:
        world.join(name, "host1")
    until(world, lambda: sizes(world) == {len(world.names)}, limit)


def sizes(world: MemberWorld) -> set[int]:
    """Of the group, as those have it that run."""
    return {world.group.view(name)[0] for name in world.group.standing}


def until(world, condition, limit: int = 60) -> None:
    for _ in range(10 * limit):
        if condition():
            return
        world.run(SECOND // 10)
    raise AssertionError("not in time")


def test_swim_notices_first_after_the_periods_of_the_paper() -> None:
    found = [swim.detections(16, 200, seed) for seed in (1, 2)]
    assert [one.missed for one in found] == [0, 0]
    # The standard error of 400 is 3 %: one of 150 is 5 %, and 10 % would be too near.
    assert sum(one.mean for one in found) / 2 == pytest.approx(swim.EXPECTED, rel=0.10)


def test_the_load_of_a_swim_member_does_not_grow_with_the_group() -> None:
    small, large = swim.load(12, 20), swim.load(48, 20)
    assert small == pytest.approx(large, rel=0.10)
    assert small[0] == pytest.approx(2, rel=0.10)  # a ping and an ack


def test_plumtree_sends_nothing_twice_where_flooding_sends_all_three_times_more() -> None:
    flood, tree = (plumtree.series(100, 0.0, tree=tree, messages=8) for tree in (False, True))
    assert flood.means(flood.before)[0] == 1.0
    assert flood.means(flood.before)[1] == pytest.approx(3.0, rel=0.10)
    reliability, redundancy, hops = tree.means(tree.before)
    assert reliability == 1.0
    assert redundancy == pytest.approx(0, abs=0.01)
    assert hops <= flood.depth + 1


def test_plumtree_heals_after_many_have_failed() -> None:
    found = plumtree.series(100, 0.5, messages=20)
    assert found.means(found.after[:1])[1] > 0.02
    reliability, redundancy, _ = found.means(found.after[-5:])
    assert reliability == 1.0
    assert redundancy == pytest.approx(0, abs=0.02)


def test_several_shares_of_one_overlay_are_what_each_gives_by_itself() -> None:
    def told(one: plumtree.Series) -> Any:
        of_each = [(spread.id, spread.rmr, spread.last_hop, spread.reliability) for spread in one.before + one.after]
        return of_each, one.depth, one.depth_after

    together = plumtree.several(40, [0.3, 0.7], messages=6)
    assert [told(one) for one in together] == [told(plumtree.series(40, share, messages=6)) for share in (0.3, 0.7)]


def test_the_page_of_plumtree_says_which_claims_hold() -> None:
    flood, tree = plumtree.series(60, 0, tree=False, messages=3), plumtree.series(60, 0.3, messages=12)
    claims = {claim.what: claim for claim in plumtree.experiment(60, flood, [tree]).claims}
    assert claims["RMR of flooding"].holds and claims["RMR of the tree, no failures"].holds
    assert claims["reliability, healed after 30% failed"].holds
    assert claims["last delivery hop, healed after 30% failed"].holds is None, "the paper draws it only"
    flooded_by_a_tree = plumtree.experiment(60, tree, [flood._replace(after=flood.before)]).claims
    assert [claim.what for claim in flooded_by_a_tree if claim.holds is False][:2] == [
        "RMR of flooding", "RMR of the tree, no failures"]  # fmt: skip


@pytest.mark.parametrize("protocol", [Swim, PushPull, Plumtree])
def test_a_group_meets_loses_one_and_takes_it_back(protocol: type) -> None:
    world = MemberWorld(protocol, 12, seed=3)
    met(world)
    world.kill(["host5"])
    until(world, lambda: sizes(world) == {11})
    world.begin(["host5"])
    world.join("host5", "host2")
    until(world, lambda: sizes(world) == {12})


@pytest.mark.parametrize("protocol", [PushPull, Plumtree])
def test_every_member_gets_every_message_once(protocol: type) -> None:
    world = MemberWorld(protocol, 20, seed=3)
    met(world)
    for number in range(5):
        world.publish(f"host{number + 1}", f"m{number}")
        world.run(SECOND)
    until(world, lambda: all(len(one.delivered) == 20 for one in world.group.payloads))


def test_a_farewell_is_no_failure() -> None:
    world = MemberWorld(Swim, 8, seed=3)
    met(world)
    world.peers["host4"].farewell()
    until(world, lambda: sizes(world) == {7}, limit=5)
    assert "failures" not in {name for name, _, _ in world.group.figures(world.now)}


def test_lifeguard_keeps_slow_members_from_removing_others() -> None:
    """Members that get no turns most of the time take others for failed: they are slow, not those."""
    wrong = {}
    for lifeguard in (False, True):
        world = MemberWorld(Swim, 24, {"lifeguard": lifeguard, "suspicion-factor": 2}, seed=5)
        met(world)
        slow = world.names[3:7]
        wrong[lifeguard] = counted = [0]
        for peer in world.peers.values():
            changed: Any = peer
            changed.group = _Counting(peer.group, set(slow), counted)
        for _ in range(10):
            for name in slow:
                world.peers[name].stop()
            world.run(6 * SECOND)
            for name in slow:
                world.peers[name].go_on()
            world.run(SECOND)
    assert wrong[False][0] > 10
    assert wrong[True][0] < wrong[False][0] / 3


class _Counting:
    """A group's accounts that count how often members are held for gone that are neither down nor slow."""

    def __init__(self, group: MemberGroup, slow: set[str], counted: list[int]) -> None:
        self._group, self._slow, self._counted = group, slow, counted

    def __getattr__(self, name: str):
        return getattr(self._group, name)

    def believes(self, host, t, members, neighbours, suspects) -> None:
        self._counted[0] += len(self._group.standing[host].members - set(members) - self._slow)
        self._group.believes(host, t, members, neighbours, suspects)


def test_swim_keeps_its_members_on_lossy_links() -> None:
    world = MemberWorld(Swim, 16, links=Links(Link(loss=0.05, delay=5 * MILLISECOND)), seed=2)
    met(world)
    world.run(60 * SECOND)
    assert world.group.false_removals == 0


@pytest.mark.parametrize(("reconnect", "size"), [("0s", 5), ("3s", 10)])
def test_groups_that_were_apart_meet_again_where_the_gone_are_asked(reconnect: str, size: int) -> None:
    world = MemberWorld(Swim, 10, {"reconnect": reconnect}, seed=4)
    met(world)
    world.world.network.split((world.names[:5], world.names[5:]))
    until(world, lambda: sizes(world) == {5}, limit=120)
    world.world.network.heal()
    world.run(60 * SECOND)
    assert sizes(world) == {size}


def test_active_views_are_bounded_and_symmetric() -> None:
    world = MemberWorld(Plumtree, 60, seed=1)
    met(world)
    world.run(60 * SECOND)
    views = {name: set(peer.core._views.active) for name, peer in world.peers.items()}
    assert all(1 <= len(view) <= 5 for view in views.values())
    assert all(name in views[other] for name, view in views.items() for other in view)
    passive = {name: set(peer.core._views.passive) for name, peer in world.peers.items()}
    assert not any(view & passive[name] for name, view in views.items())


def test_equal_seeds_are_equal_runs() -> None:
    def told(seed: int) -> list[object]:
        world = MemberWorld(Plumtree, 30, seed=seed, traced=True)
        met(world)
        world.publish("host1", "m")
        world.kill(["host7"])
        world.run(20 * SECOND)
        assert world.tracer is not None
        return [world.tracer.tables(), list(world.group.figures(world.now))]

    assert told(1) == told(1) != told(2)
