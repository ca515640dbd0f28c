"""Nobody gets onto the overlay by the kernel's VXLAN port alone: forged packets reach no container."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from forged_vxlan import heard
from overlay_hosts import IMAGE, Underlay, eventually, underlay


@contextmanager
def overlay(*options: str) -> Iterator[Underlay]:
    """Two peers with a container each, and a host on the same switch that is none."""
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook")):
            made.host(name, number).weave("launch", *options)
        made.host("stranger", 9)
        orion, macbook = made.hosts["orion"], made.hosts["macbook"]
        orion.weave("connect", "192.168.0.3")
        orion.weave("run", "10.0.1.1/24", "--name", "left", IMAGE, "left")
        macbook.weave("run", "10.0.1.2/24", "--name", "right", IMAGE, "right")
        eventually(lambda: orion.pings("left", "10.0.1.2"), what="ping left -> right")
        yield made


def test_with_a_password_nothing_comes_in_clear() -> None:
    with overlay("--password", "correct horse") as made:
        assert heard(made, (made.hosts["stranger"], "stranger"), (made.hosts["macbook"], "peer")) == []
        assert "6784" not in made.hosts["orion"].run("ss", "-H", "-u", "-n", "-l", "-a").stdout
        assert "Encryption: enabled" in made.hosts["orion"].weave("status").stdout


def test_with_trusted_subnets_only_those_are_let_in() -> None:
    with overlay("--password", "correct horse", "--trusted-subnets", "192.168.0.0/29") as made:
        assert heard(made, (made.hosts["stranger"], "stranger")) == []
        stranger, macbook = made.hosts["stranger"], made.hosts["macbook"]
        assert heard(made, (stranger, "stranger"), (macbook, "peer")) == ["peer"]
        # A container of the same host that pretends to be the peer, towards both addresses of its host.
        orion = made.hosts["orion"]
        assert heard(made, (macbook, "peer"), source=macbook.address) == ["peer"]
        for at in (orion.address, orion.sh("ip -4 -br address show docker0").split()[2].partition("/")[0]):
            forger = (orion, "container")
            assert heard(made, forger, within="left", source=macbook.address, at=at) == []


def test_no_container_is_let_in_by_a_bridge_of_the_engine_or_of_another_program() -> None:
    with overlay() as made:
        orion, macbook = made.hosts["orion"], made.hosts["macbook"]
        pid = orion.container("left")["State"]["Pid"]
        # One as the engine makes it for a network of a user, one with a name that nobody can guess.
        for number, bridge in enumerate(("br-0123456789ab", "mynet"), 30):
            orion.sh(
                f"ip link add {bridge} type bridge; ip addr add 172.30.{number}.1/24 dev {bridge}; "
                f"ip link set {bridge} up; ip link add v{number} type veth peer name e{number} netns {pid}; "
                f"ip link set v{number} master {bridge} up; nsenter -t {pid} -n sh -ec "
                f"'ip addr add 172.30.{number}.2/24 dev e{number}; ip link set e{number} up; "
                f"ip route replace {orion.address}/32 via 172.30.{number}.1'"
            )
            for at in (orion.address, f"172.30.{number}.1"):
                assert heard(made, (orion, "container"), within="left", source=macbook.address, at=at) == []
        # A host whose uplink is a bridge hears its peers.
        orion.sh(
            "ip link add br0 type bridge; ip link set br0 up; ip addr flush dev eth0; ip link set eth0 master br0; "
            f"ip addr add {orion.address}/24 dev br0"
        )
        eventually(lambda: orion.pings("left", "10.0.1.2"), what="ping left -> right by br0")
        assert heard(made, (macbook, "peer")) == ["peer"]


@pytest.fixture(scope="module")
def clear() -> Iterator[Underlay]:
    with overlay() as made:
        yield made


def test_without_a_password_only_peers_are_let_in(clear: Underlay) -> None:
    assert heard(clear, (clear.hosts["stranger"], "stranger"), (clear.hosts["macbook"], "peer")) == ["peer"]


def test_the_port_is_guarded_while_no_daemon_runs_and_after(clear: Underlay) -> None:
    orion, stranger = clear.hosts["orion"], clear.hosts["stranger"]
    orion.kill_daemon()
    assert heard(clear, (stranger, "stranger"), (clear.hosts["macbook"], "peer")) == ["peer"]
    orion.weave("launch")
    assert heard(clear, (stranger, "stranger")) == []


def test_a_password_ends_what_was_in_clear_and_reset_takes_the_filter_away(clear: Underlay) -> None:
    orion, macbook, stranger = clear.hosts["orion"], clear.hosts["macbook"], clear.hosts["stranger"]
    for host in (orion, macbook):
        host.kill_daemon()
        host.weave("launch", "--password", "correct horse")
    orion.weave("connect", "192.168.0.3")
    eventually(lambda: orion.pings("left", "10.0.1.2"), what="ping left -> right")
    assert heard(clear, (stranger, "stranger"), (macbook, "peer")) == []
    orion.weave("stop")
    assert "weave-vxlan" in orion.run("nft", "list", "tables").stdout
    orion.weave("reset")
    assert "weave-vxlan" not in orion.run("nft", "list", "tables").stdout
