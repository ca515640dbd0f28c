"""How many password proofs a mesh computes until all are joined: one for each newcomer, if nobody else can spare it."""

import pytest

from lab.sim.world import World
from overlay.config import Address, Config
from overlay.env import MILLISECOND, SECOND

STEPS = 3
"""Computations of one proof: two of the side that dials, one of the other."""


def joined(count: int, targets: dict[int, range]) -> tuple[float, int]:
    """Seconds until all know each other, and the computations up to then."""
    world = World(1)
    for number in range(count):
        world.add(f"h{number}", f"192.168.0.{number + 2}")
    for number in range(count):
        peers = tuple(Address(f"192.168.0.{other + 2}", 6783) for other in targets.get(number, range(0)))
        name = f"02:00:00:00:00:{number:02x}"
        world.peers[f"h{number}"].start(Config(name=name, nickname=f"h{number}", peers=peers, password="x"))
    nodes = [peer.node for peer in world.running()]
    while any(node is None or len(node.mesh.reachable) < count for node in nodes):
        world.run(50 * MILLISECOND)
        assert world.now < 60 * SECOND
    proofs = [node.mesh.connections.proofs for node in nodes if node is not None]
    return world.now / SECOND, sum(each.computed_pakes for each in proofs if each is not None)


@pytest.mark.parametrize("count", [8, 32])
def test_a_peer_that_dials_all_others_does_not_join_them_one_by_one(count: int) -> None:
    seconds, computed = joined(count, {0: range(1, count)})
    assert seconds < 2
    assert computed <= 2 * STEPS * count


@pytest.mark.parametrize("count", [8, 32])
def test_peers_that_all_dial_one_another_spare_many_proofs(count: int) -> None:
    seconds, computed = joined(count, {number: range(count) for number in range(count)})
    assert seconds < 2
    assert computed < STEPS * count * (count - 1) / 3
