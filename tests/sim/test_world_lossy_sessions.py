"""Sessions over bad links: a chain of peers with a password, lost, late, doubled and overtaken packets, restarts."""

import pytest

from lab.links import Link, Links
from lab.sim.world import World
from overlay.config import Address, Config
from overlay.env import MILLISECOND, SECOND

BAD = Link(delay=30 * MILLISECOND, jitter=10 * MILLISECOND, loss=0.05, duplicate=0.05, reorder=0.1)


def config(index: int, discovery: bool) -> Config:
    before = (Address(f"192.168.0.{index + 1}", 6783),) if index else ()
    return Config(
        name=f"02:00:00:00:00:0{index}",
        nickname=f"h{index}",
        peers=before,
        password="correct horse",
        discovery=discovery,
    )


@pytest.mark.parametrize("discovery", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_peers_meet_over_bad_links_and_again_after_restarts(seed: int, discovery: bool) -> None:
    world = World(seed, Links(BAD))
    for index in range(6):
        world.add(f"h{index}", f"192.168.0.{index + 2}").start(config(index, discovery))
    world.run(40 * SECOND)
    assert world.converged()
    for index in (2, 0):
        peer = world.peers[f"h{index}"]
        peer.power_off() if index else peer.kill()
        world.run(15 * SECOND)
        peer.power_on()
        node = peer.start(config(index, discovery))
        world.run(40 * SECOND)
        assert world.converged()
        assert node.mesh.connections.proofs is not None
        assert node.mesh.connections.proofs.computed_pakes == 0, "its neighbours knew it"
    for peer in world.running():
        assert peer.node is not None
        peer.node.check_invariants()
        if not discovery:
            assert len(peer.node.mesh.neighbours) <= 2
