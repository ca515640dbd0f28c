"""Hosts with IPv6 addresses: the kernel's VXLAN carries their containers' traffic, and takes it from peers only."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from forged_vxlan import heard
from overlay_hosts import IMAGE, Host, Underlay, eventually, underlay


@pytest.fixture(scope="module")
def both() -> Iterator[Underlay]:
    """Two peers that know each other by IPv6, a third that they know by IPv4, and a host that is no peer."""
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook"), (4, "third"), (9, "stranger")):
            made.host(name, number).sh(f"ip -6 addr add fd00:1::{number}/64 dev eth0 nodad")
        orion, macbook, third = (made.hosts[name] for name in ("orion", "macbook", "third"))
        for host in (orion, macbook, third):
            host.weave("launch", "--no-discovery")
        orion.weave("connect", "fd00:1::3")
        orion.weave("connect", "192.168.0.4")
        for host, name, address in ((orion, "left", 1), (macbook, "right", 2), (third, "other", 3)):
            host.weave("run", f"10.0.1.{address}/24", "--name", name, IMAGE, name)
        eventually(lambda: orion.pings("left", "10.0.1.2") and orion.pings("left", "10.0.1.3"), what="pings")
        yield made


def _sent(host: Host, device: str) -> int:
    """Packets that have left by a device."""
    (found,) = json.loads(host.run("ip", "-json", "-statistics", "link", "show", "dev", device).stdout)
    return int(found["stats64"]["tx"]["packets"])


def test_each_neighbour_by_the_kernel_and_its_own_kind_of_address(both: Underlay) -> None:
    orion = both.hosts["orion"]
    status = orion.weave("status", "connections").stdout
    assert re.search(r"fd00:1::3.*fastdp", status) and re.search(r"192\.168\.0\.4.*fastdp", status)
    before = {device: _sent(orion, device) for device in ("vxlan-6784", "vxlan6-6784", "vethwesleeve")}
    for address in ("10.0.1.2", "10.0.1.3"):
        orion.inside("left", "ping", "-c", "20", "-i", "0.01", "-q", address)
    after = {device: _sent(orion, device) - count for device, count in before.items()}
    assert after["vxlan6-6784"] >= 20 and after["vxlan-6784"] >= 20 and after["vethwesleeve"] < 5


def test_forged_packets_are_not_taken_by_this_way_either(both: Underlay) -> None:
    stranger, macbook = both.hosts["stranger"], both.hosts["macbook"]
    assert heard(both, (stranger, "stranger"), (macbook, "peer"), at="fd00:1::2") == ["peer"]


def test_it_forwards_on_while_no_daemon_runs_and_is_adopted(both: Underlay) -> None:
    orion = both.hosts["orion"]
    orion.kill_daemon()
    assert orion.pings("left", "10.0.1.2", wait=30)
    orion.weave("launch", "--no-discovery", "--resume")
    assert orion.pings("left", "10.0.1.2", wait=30)
    eventually(
        lambda: re.search(r"fd00:1::3.*fastdp", orion.weave("status", "connections").stdout), what="fastdp again"
    )
    orion.weave("reset")
    links = orion.run("ip", "-br", "link").stdout
    assert "vxlan" not in links and "weave" not in links
