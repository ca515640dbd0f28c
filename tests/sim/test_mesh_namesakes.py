"""Two live peers of one name, wherever they meet: both are told, once, and the mesh of the others goes on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from virtual_mesh import VirtualMesh

from overlay.effects import Log
from overlay.env import SECOND
from overlay.mesh.report import report

NAME = "00:00:00:00:00:7f"
TWICE = "bears the name 00:00:00:00:00:7f"


def told(net: VirtualMesh, index: int) -> list[str]:
    """What a peer's log says of a namesake."""
    effects = net.hosts[index].effects
    return [effect.text for effect in effects if isinstance(effect, Log) and TWICE in effect.text]


@pytest.mark.parametrize("password", ["", "wherever you go"])
@pytest.mark.parametrize("common", ["00:00:00:00:00:00", "00:00:00:00:00:ff"])
def test_namesakes_that_only_have_a_neighbour_in_common_are_both_told(common: str, password: str) -> None:
    net = VirtualMesh(3, password=password)
    net.launch(0, name=common)
    net.launch(1, [0], name=NAME)
    net.run(30 * SECOND)
    net.launch(2, [0], name=NAME)
    net.run(20 * SECOND)
    for index in (1, 2):
        (line,) = told(net, index)
        assert "--name" in line
        assert report(net.meshes[index], net.now)["name_conflict"]
    net.kill(2)
    net.run(600 * SECOND)
    assert net.converged(0, 1) and not report(net.meshes[1], net.now)["name_conflict"]


def test_a_peer_that_comes_again_with_its_clock_set_back_is_no_namesake() -> None:
    net = VirtualMesh(2)
    net.launch(0)
    net.launch(1, [0], uid=1000)
    net.run(10 * SECOND)
    net.kill(1, reset=False)
    net.launch(1, [0], uid=10)
    net.run(60 * SECOND)
    assert net.converged(0, 1)
    assert not any("bears the name" in effect.text for effect in net.hosts[1].effects if isinstance(effect, Log))
