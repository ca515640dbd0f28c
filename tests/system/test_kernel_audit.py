"""Whatever other programs do to the kernel's tables under a running daemon is noticed, mended and said."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, two_peers
from spoofed_frames import mac_of

LOOK = """
bridge fdb show br weave | grep -v ' self permanent' | sort
ip neigh show dev weave nud permanent | sort
ip -o link show | grep -E 'weave|vxlan|vethwe' | sed 's/^[0-9]*: //; s/@[^:]*//; s/ qlen.*//' | sort
ip -o -d link show weave | grep -oE '(link/ether [^ ]*|stp_state .|vlan_filtering .|mcast_snooping .) '
bridge -d -o link show | sed 's/^[0-9]*: //; s/@[^:]*//' | sort
ip -o addr show dev weave | grep -o 'inet [^ ]*'
nft list table bridge weave-ports | sed 's/counter packets.*//'
nft list table inet weave-vxlan | sed 's/counter packets.*//'
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with two_peers() as made:
        orion, macbook = made.hosts["orion"], made.hosts["macbook"]
        orion.weave("run", "10.0.1.1/24", "--name", "svc1", IMAGE, "svc1")
        orion.weave("run", "--allow-spoofing", "10.0.1.2/24", "--name", "svc2", IMAGE, "svc2")
        macbook.weave("run", "10.0.1.3/24", "--name", "svc3", IMAGE, "svc3")
        orion.weave("expose", "10.0.1.100/24")
        eventually(lambda: orion.pings("svc1", "10.0.1.3") and macbook.pings("svc3", "10.0.1.100"))
        yield made


def port(host: Host, container: str) -> str:
    mac = mac_of(host, container)
    return next(line.split()[2] for line in host.sh("bridge fdb show br weave").splitlines() if line.startswith(mac))


def tables(host: Host) -> list[str]:
    """What stands in the kernel, whichever path frames for other hosts take: a fault may have cost one."""
    lines = [
        re.sub("dev (vxlan-6784|vethwesleeve) sticky", "dev remote sticky", each) for each in host.sh(LOOK).split("\n")
    ]
    return sorted(line for line in lines if " dst " not in line and "192.168.0." not in line)


def as_before(host: Host, before: list[str]) -> None:
    """All tables are again what they were."""
    with suppress(AssertionError):
        eventually(lambda: tables(host) == before, 30)
    assert tables(host) == before


def mended(host: Host, *words: str) -> None:
    """All these words come by in what the log says was mended, and nothing is left."""

    def done() -> bool:
        log = "\n".join(line for line in host.log.splitlines() if "mended in the kernel" in line)
        return all(word in log for word in words)

    eventually(done, 30, f"mended: {words}")
    status = host.weave("status").stdout
    assert "of others mended, last " in status and "in the kernel:" not in status, status


def test_entries_filters_and_ports_that_others_change(orion: Host, net: Underlay) -> None:
    far, near = mac_of(net.hosts["macbook"], "svc3"), mac_of(orion, "svc1")
    first, second = port(orion, "svc1"), port(orion, "svc2")
    assert "KernelAudit: nothing was changed by others" in orion.weave("status").stdout
    before = tables(orion)
    changes = (
        (f"bridge fdb replace {far} dev {second} master static", f"bridge entry {far} was {second}, static"),
        (f"bridge fdb del {near} dev {first} master", f"bridge entry {near} was missing"),
        (f"bridge fdb del {far} dev vxlan-6784 self", f"VXLAN entry {far} vxlan-6784 was missing"),
        ("bridge fdb append 00:00:00:00:00:00 dev vxlan-6784 dst 192.168.0.77", "192.168.0.77 vxlan-6784 was there"),
        ("ip neigh flush dev weave nud permanent", "neighbour 10.0.1.3 was missing"),
        ("nft delete table bridge weave-ports", "filter weave-ports"),
        ("nft flush chain inet weave-vxlan input", "filter weave-vxlan"),
    )
    orion.sh("; ".join(script for script, _ in changes))
    mended(orion, *(words for _, words in changes))
    as_before(orion, before)
    # A table that is there and does nothing, and one with a chain more, which drops everything.
    more = "add chain inet weave-vxlan more { type filter hook input priority 0; policy drop; }"
    orion.sh(f"nft 'add table bridge weave-ports {{ flags dormant; }}'; nft '{more}'")
    mended(orion, *(f"chains or flags of nftables table {name}" for name in ("weave-ports", "weave-vxlan")))
    as_before(orion, before)
    orion.sh(
        f"ip link set {first} down; bridge link set dev {first} learning on isolated on;"
        f"bridge link set dev vxlan-6784 isolated off neigh_suppress off; ip link set vethwesleeve mtu 1300;"
        "ip link set weave type bridge mcast_snooping 1 stp_state 1;"
        "ip address del 10.0.1.100/24 dev weave; nft flush set bridge weave-ports own4"
    )
    mended(
        orion,
        f"port {first} was",
        "device vxlan-6784 was",
        "device vethwesleeve was",
        "device weave was",
        "STP, multicast snooping",
        "nftables set own4",
    )
    as_before(orion, before)
    eventually(lambda: orion.pings("svc1", "10.0.1.3") and net.hosts["macbook"].pings("svc3", "10.0.1.100"))


def test_a_bridge_that_is_deleted_is_made_again_with_all_that_was_on_it(orion: Host, net: Underlay) -> None:
    before = tables(orion)
    orion.sh("ip link delete weave")
    mended(orion, "device weave was missing")
    as_before(orion, before)
    assert orion.pings("svc1", "10.0.1.2", wait=30)
    eventually(lambda: orion.pings("svc1", "10.0.1.3") and net.hosts["macbook"].pings("svc3", "10.0.1.100"))


def test_who_asks_for_the_bridge_does_not_wait_for_the_next_look(orion: Host) -> None:
    orion.sh("ip link delete weave")
    orion.weave("run", "10.0.1.9/24", "--name", "svc9", IMAGE, "svc9")
    assert orion.pings("svc9", "10.0.1.1", wait=30)
    eventually(lambda: orion.pings("svc9", "10.0.1.3"))


def test_devices_and_ports_that_are_deleted_come_back(orion: Host) -> None:
    first = port(orion, "svc1")
    orion.sh(f"ip link delete vxlan-6784; ip link delete vethwesleeve; ip link delete {first}")
    mended(orion, "device vxlan-6784 was missing", "device vethwesleeve was missing", f"port {first} was missing")
    eventually(lambda: orion.pings("svc1", "10.0.1.3"), what="svc1 is back")
    assert "DataPath: fastdp" in orion.weave("status").stdout
    assert "not available" not in orion.weave("status").stdout


def test_a_new_daemon_finds_nothing_that_others_have_changed(orion: Host) -> None:
    def audit() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(orion.weave("report").stdout)["driver"]["audit"]
        return found

    orion.kill_daemon()
    orion.weave("launch")
    eventually(lambda: audit()["looks"] >= 2, 30, "it has looked twice")
    assert (audit()["mended"], audit()["what"], audit()["left"]) == (0, [], [])


def test_the_hosts_last_address_takes_no_neighbours_with_it(orion: Host) -> None:
    known = "ip neigh show dev weave nud permanent | sort"
    before = orion.sh(known)
    assert "10.0.1.3" in before
    orion.weave("hide", "--all")
    assert orion.sh(known) == before


def test_a_container_that_ends_is_no_change_of_others(orion: Host) -> None:
    told = [line for line in orion.log.splitlines() if "mended in the kernel" in line]
    pid = orion.container("svc9")["State"]["Pid"]
    orion.sh(f"kill -9 {pid}")
    eventually(lambda: "10.0.1.9" not in orion.sh("nft list table bridge weave-ports"), 30, "its port is forgotten")
    assert [line for line in orion.log.splitlines() if "mended in the kernel" in line] == told
