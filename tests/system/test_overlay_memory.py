"""Daemons that take up an earlier life, or go on with it, find those that they met in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import Host, Underlay, eventually, underlay


@pytest.fixture
def net() -> Iterator[Underlay]:
    with underlay() as made:
        for number, name in ((2, "first"), (3, "second"), (4, "third")):
            made.host(name, number)
        yield made


def established(host: Host) -> int:
    return host.weave("status", "connections").stdout.count("established")


def remembers(host: Host, *addresses: str) -> bool:
    path = host.disk / "db" / "met.state"
    return path.exists() and all(address.encode() in path.read_bytes() for address in addresses)


def test_two_meet_again_without_the_third_through_whom_they_met(net: Underlay) -> None:
    first, second, third = net.hosts.values()
    first.weave("launch")
    for host in (second, third):
        host.weave("launch", first.address)
    eventually(lambda: established(second) == established(third) == 2, what="all connected")
    eventually(lambda: remembers(second, first.address, third.address), what="the second remembers")
    eventually(lambda: remembers(third, first.address, second.address), what="the third remembers")
    for host in net.hosts.values():
        host.kill_daemon()
    second.weave("launch", "--resume")
    third.weave("launch", "--resume")
    eventually(lambda: established(second) == established(third) == 1, what="they found each other")

    for host in (second, third):
        host.kill_daemon()
    for host in (second, third):
        host.weave("launch", "192.168.0.9")  # other peers: a launch of its own
    assert not remembers(second, third.address)
    assert second.weave("status", "targets").stdout == "192.168.0.9\n"
    assert second.weave("report", "-f", "{{len .mesh.targets}}").stdout.strip() == "1"
