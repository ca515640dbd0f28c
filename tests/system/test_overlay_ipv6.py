"""IPv6 on real kernels: hosts that reach each other by it, containers' addresses, names, and hosts on the overlay."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, underlay

OUTSIDE = ("192.168.7.9", "fd77::9")
"""Addresses that nobody on the overlay has a route to, but by a host that is exposed."""


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    """Two hosts whose control connection goes over IPv6, and one that has no overlay."""
    with underlay() as made:
        for number, name in ((2, "one"), (3, "two"), (4, "outside")):
            made.host(name, number)
        one, two, outside = made.hosts.values()
        for host in made.hosts.values():
            host.sh(f"ip addr add fd11::{host.address[-1]}/64 dev eth0 nodad")
        for literal, length in zip(OUTSIDE, (32, 128), strict=True):
            outside.sh(f"ip addr add {literal}/{length} dev lo")
        one.weave("launch", "--ipalloc-range", "fd10::/64")
        two.weave("launch", "--ipalloc-range", "fd10::/64", "fd11::2")
        one.weave("run", "10.0.1.1/24", "fd00::1/64", "--name", "left", IMAGE, "left")
        two.weave("run", "10.0.1.2/24", "fd00::2/64", "--name", "right", IMAGE, "right")
        eventually(lambda: one.pings("left", "fd00::2"), what="ping left -> right")
        yield made


@pytest.fixture
def one(net: Underlay) -> Host:
    return net.hosts["one"]


@pytest.fixture
def two(net: Underlay) -> Host:
    return net.hosts["two"]


def test_a_full_packet_of_ipv6_passes(one: Host) -> None:
    mtu = json.loads(one.weave("report").stdout)["driver"]["mtu"]
    full = one.inside("left", "ping", "-6", "-c1", "-W30", "-M", "do", "-s", str(mtu - 48), "fd00::2")
    assert full.returncode == 0, full.stdout


def test_containers_have_addresses_of_both_families_and_names_lead_to_both(one: Host, two: Host) -> None:
    for url in ("http://[fd00::2]:8080/", "http://10.0.1.2:8080/"):
        assert "right" in one.inside("left", "curl", "-sS", "--max-time", "5", url).stdout
    eventually(lambda: one.weave("dns-lookup", "right").stdout.split() == ["10.0.1.2", "fd00::2"], what="both known")
    assert "fd00::2/64" in two.weave("ps", "right").stdout


def test_a_container_whose_engine_has_switched_ipv6_off_gets_an_address_all_the_same(one: Host, two: Host) -> None:
    two.weave("run", "10.0.1.9/24", "--name", "plain", IMAGE, "plain")
    two.inside(
        "plain", "sh", "-c", "for c in all default ethwe; do echo 1 > /proc/sys/net/ipv6/conf/$c/disable_ipv6; done"
    )
    assert "fd00::9" in two.weave("attach", "fd00::9/64", "plain").stdout
    eventually(lambda: one.pings("left", "fd00::9"), what="reached by IPv6")


def test_addresses_of_an_ipv6_range_are_allocated(one: Host, two: Host) -> None:
    found = []
    for host in (one, two):
        host.weave("run", "--name", f"auto-{host.name}", IMAGE, "auto")
        found.append(host.weave("ps", f"auto-{host.name}").stdout.split()[2])
    assert len(set(found)) == 2 and all(cidr.startswith("fd10::") and cidr.endswith("/64") for cidr in found)
    eventually(lambda: one.pings("auto-one", found[1].partition("/")[0]), what="they reach each other")


def test_an_exposed_host_masquerades_for_both_families_until_it_is_hidden(net: Underlay, one: Host, two: Host) -> None:
    one.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    one.sh(f"ip route add {OUTSIDE[0]} via 192.168.0.4; ip route add {OUTSIDE[1]} via fd11::4")
    one.weave("expose", "10.0.1.100/24", "fd00::100/64")
    assert (
        one.run("ping", "-c1", "-W30", "10.0.1.2").returncode
        == one.run("ping", "-c1", "-W30", "fd00::2").returncode
        == 0
    )
    for literal, via in zip(OUTSIDE, ("10.0.1.100", "fd00::100"), strict=True):
        assert two.inside("right", "ip", "route", "add", literal, "via", via).returncode == 0
        # The host outside has no way back to the overlay: an answer is one to the address that stands in for it.
        eventually(lambda literal=literal: two.pings("right", literal), what=f"{literal} answers")
    rules = one.sh("iptables-save -t nat; ip6tables-save -t nat")
    assert rules.count("MASQUERADE") >= 4
    one.weave("hide", "--all")
    for literal in OUTSIDE:
        assert not two.pings("right", literal)
    assert "WEAVE -s fd00" not in one.sh("ip6tables-save")
