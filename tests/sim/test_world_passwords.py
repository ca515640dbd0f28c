"""Peers of a simulated world prove passwords by the messages of the real handshake, with a stub for the mathematics."""

import pytest

from lab.sim.world import World
from overlay.config import Address, Config
from overlay.env import SECOND


def world(passwords: dict[str, str], seed: int = 1) -> World:
    made = World(seed)
    for number, (name, password) in enumerate(passwords.items(), 1):
        peer = made.add(name, f"192.168.0.{number + 1}")
        others = tuple(Address("192.168.0.2", 6783) for _ in range(number > 1))
        peer.start(Config(name=f"02:00:00:00:00:0{number}", nickname=name, peers=others, password=password))
    return made


def neighbours(made: World, name: str) -> int:
    node = made.peers[name].node
    assert node is not None
    return len(node.mesh.neighbours)


@pytest.mark.parametrize(
    ("first", "second", "connected"),
    [("secret", "secret", 1), ("secret", "Secret", 0), ("secret", "", 0), ("", "", 1)],
)
def test_equal_passwords_connect_and_others_do_not(first: str, second: str, connected: int) -> None:
    made = world({"a": first, "b": second})
    made.run(20 * SECOND)
    assert (neighbours(made, "a"), neighbours(made, "b")) == (connected, connected)


def test_three_peers_with_a_password_agree_after_a_cut() -> None:
    made = world({"a": "x", "b": "x", "c": "x"})
    made.run(10 * SECOND)
    assert made.converged()
    made.network.split([["a"], ["b", "c"]])
    made.run(10 * SECOND)
    assert neighbours(made, "a") == 0 and neighbours(made, "b") == 1
    made.network.heal()
    made.run(10 * SECOND)
    assert made.converged() and neighbours(made, "a") == 2


def test_the_tunnel_goes_on_to_a_peer_that_was_lost_and_not_to_one_that_left() -> None:
    made = world({"a": "x", "b": "x", "c": "x"})
    made.run(10 * SECOND)

    def resting(name: str) -> list[str]:
        node = made.peers[name].node
        assert node is not None
        found: list[str] = node.tunnel.report()["resting"]
        return [peer[-1] for peer in found]

    made.network.split([["a"], ["b", "c"]])
    made.run(10 * SECOND)
    assert (resting("a"), resting("b"), resting("c")) == (["2", "3"], ["1"], ["1"])
    made.network.heal()
    made.run(10 * SECOND)
    assert resting("a") == resting("b") == resting("c") == []
    made.peers["b"].kill()
    made.run(10 * SECOND)
    assert resting("a") == resting("c") == ["2"]
    made.peers["c"].leave()
    made.run(10 * SECOND)
    assert resting("a") == ["2"]
    made.run(300 * SECOND)
    assert resting("a") == []
