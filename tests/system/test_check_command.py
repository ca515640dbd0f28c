"""`weave check` on real hosts: each thing is broken for real, is named and nothing else is, and its remedy is typed.

A healthy pair of hosts has no finding. What a test breaks it mends by what `weave check` said, so that the next one
begins with healthy hosts.
"""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, underlay

PATIENCE = 90.0
Finding = dict[str, Any]


def checked(host: Host) -> tuple[int, list[Finding]]:
    """Exit code, and all rows that are not `ok`."""
    done = host.weave("check", "--json", check=False, timeout=PATIENCE)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert (told["wrong"] > 0) == (done.returncode == 1)
    return done.returncode, [found for found in told["findings"] if found["level"] != "ok"]


def wrong(host: Host) -> list[Finding]:
    """What is wrong or worth knowing. Where somebody changed the kernel's tables is said for a minute more."""
    return [
        found
        for found in checked(host)[1]
        if found["level"] in ("wrong", "note") and "mended" not in found["found"] and found["check"] != "router"
    ]


def names(host: Host, check: str, *words: str) -> Callable[[], bool]:
    """Findings of this check, with these words, are there, and of no other check."""

    def look() -> bool:
        found = wrong(host)
        told = " ".join(each["found"] for each in found)
        return {each["check"] for each in found} == {check} and all(word in told for word in words)

    return look


def type_remedy(host: Host, check: str) -> None:
    """Type what `check` says, word by word."""
    found = [each for each in wrong(host) if each["check"] == check]
    assert found
    for each in found:
        assert (each["level"], each["where"]) == ("wrong", ""), each
        typed(host, each["commands"])


def typed(host: Host, commands: Sequence[str]) -> None:
    for command in commands:
        words = shlex.split(command)
        if words[0] == "weave":
            host.weave(*words[1:])
        else:
            host.run(*words)


def healthy(hosts: Sequence[Host]) -> bool:
    return not any(wrong(host) for host in hosts)


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with underlay() as made:
        first, second = made.host("orion", 2), made.host("macbook", 3)
        for host in (first, second):
            host.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true")
            host.weave("launch")
        second.weave("connect", first.address)
        first.weave("run", "--name", "c1", IMAGE, "c1")
        second.weave("run", "--name", "c2", IMAGE, "c2")
        first.weave("run", "--name", "c3", IMAGE, "c3")
        eventually(lambda: settled(first) and settled(second), PATIENCE, "the connection is old enough to be judged")
        yield made


def settled(host: Host) -> bool:
    """Paths are judged by now."""
    return "passes to and from" in host.weave("check", check=False).stdout


@pytest.fixture
def hosts(net: Underlay) -> Iterator[list[Host]]:
    made = [net.hosts["orion"], net.hosts["macbook"]]
    eventually(lambda: healthy(made), PATIENCE, "hosts without a finding")
    yield made


def test_healthy_hosts_have_no_finding(hosts: list[Host]) -> None:
    for host in hosts:
        eventually(lambda host=host: checked(host)[0] == 0, PATIENCE, "exit code 0")
        table = host.weave("check", check=False).stdout
        assert max(map(len, table.splitlines())) <= 80


def test_a_packet_filter_that_was_flushed_is_named_while_no_router_mends_it(hosts: list[Host]) -> None:
    host = hosts[0]
    if host.run("sysctl", "-n", "net.bridge.bridge-nf-call-iptables", check=False).stdout.strip() != "1":
        pytest.skip("bridged frames pass no packet filter here: `modprobe br_netfilter`")
    host.kill_daemon()
    host.sh("iptables -P FORWARD DROP; iptables -F FORWARD")
    eventually(names(host, "firewall", "iptables FORWARD drops", "jump to chain WEAVE"), PATIENCE, "it is named")
    code, found = checked(host)
    assert code == 1
    assert "router" in {each["check"] for each in found if each["level"] == "wrong"}
    type_remedy(host, "firewall")
    eventually(names_nothing(host), PATIENCE, "launched again, all is well")


def names_nothing(host: Host) -> Callable[[], bool]:
    return lambda: not wrong(host)


def test_a_rule_before_the_jump_is_named(hosts: list[Host]) -> None:
    host = hosts[0]
    if host.run("sysctl", "-n", "net.bridge.bridge-nf-call-iptables", check=False).stdout.strip() != "1":
        pytest.skip("bridged frames pass no packet filter here: `modprobe br_netfilter`")
    host.sh("iptables -P FORWARD DROP")
    eventually(lambda: "-j WEAVE" in host.sh("iptables -S FORWARD"), PATIENCE, "the router's jump")
    host.sh("iptables -I FORWARD -i weave -j DROP")
    assert not host.pings("c1", address(host, "c3"))
    eventually(names(host, "firewall", "-A FORWARD -i weave -j DROP"), PATIENCE, "it is named")
    type_remedy(host, "firewall")
    eventually(names_nothing(host), PATIENCE, "mended")
    assert host.pings("c1", address(host, "c3"), wait=30)
    host.sh("iptables -D FORWARD -i weave -j DROP")


def address(host: Host, container: str) -> str:
    return host.weave("ps", container).stdout.split()[2].partition("/")[0]


def test_a_smaller_mtu_of_the_underlay_is_named_on_both_sides(hosts: list[Host]) -> None:
    first, second = hosts
    first.sh("ip link set eth0 mtu 1400")
    eventually(names(first, "mtu", "eth0 has MTU 1400"), PATIENCE, "it is named")
    eventually(names(second, "mtu", "the way to orion takes packets of"), PATIENCE, "the other side's path")
    said = [command for found in wrong(first) if found["check"] == "mtu" for command in found["commands"]]
    assert "weave launch --mtu 1298" in said
    first.sh("ip link set eth0 mtu 1500")


BLOCKS = {
    6784: (
        "nft 'add table inet shut; add chain inet shut in { type filter hook input priority 0; }; "
        "add rule inet shut in udp dport { 6784, 6785 } drop'",
        "chain in",
        "nft delete table inet shut",
    ),
    6783: ("iptables -A INPUT -p udp --dport 6783 -j DROP", "-A INPUT -p udp", ":"),
}
"""What blocks a port, how that is named, and what is left to do once the rule is gone."""


@pytest.mark.parametrize("port", BLOCKS)
def test_a_blocked_udp_port_is_named_with_its_rule_and_its_direction(hosts: list[Host], port: int) -> None:
    first, second = hosts
    block, named, tidy = BLOCKS[port]
    first.sh(block)
    eventually(names(first, "ports", f"UDP port {port} of this host", named), PATIENCE, "inward on the one")
    eventually(names(second, "ports", f"nothing of this host arrives at UDP port {port} of orion"), PATIENCE, "outward")
    assert {found["where"] for found in wrong(second) if found["check"] == "ports"} == {"orion"}
    type_remedy(first, "ports")
    first.sh(tidy)


def test_a_changed_resolv_conf_is_named(hosts: list[Host]) -> None:
    host = hosts[0]
    pid = host.container("c1")["State"]["Pid"]
    host.sh(f"echo nameserver 192.0.2.53 > /proc/{pid}/root/etc/resolv.conf")
    eventually(names(host, "dns", "container c1 asks 192.0.2.53"), PATIENCE, "it is named")
    assert [found["commands"] for found in wrong(host) if found["check"] == "dns"] == [["docker restart c1"]]
    host.engine("POST", "/containers/c1/restart?t=1")


def test_a_deleted_entry_of_the_bridge_is_named(hosts: list[Host]) -> None:
    host = hosts[0]
    mac = host.weave("ps", "c1").stdout.split()[1]
    port = host.sh(f"bridge fdb show br weave | awk '$1 == \"{mac}\" {{print $3}}'").strip()
    host.kill_daemon()
    host.sh(f"bridge fdb del {mac} dev {port} master")
    eventually(names(host, "bridge", f"no entry for {mac}"), PATIENCE, "it is named")
    type_remedy(host, "bridge")
    eventually(names_nothing(host), PATIENCE, "launched again, the entry is there")


def test_a_stolen_address_is_named_and_taken_away(hosts: list[Host]) -> None:
    host = hosts[0]
    stolen = host.weave("ps", "c1").stdout.split()[2]
    assert host.inside("c3", "ip", "addr", "add", stolen, "dev", "ethwe").returncode == 0
    eventually(
        names(host, "addresses", f"container c3 has {stolen} on ethwe, which belongs to"), PATIENCE, "it is named"
    )
    type_remedy(host, "addresses")
    eventually(names_nothing(host), PATIENCE, "mended")


def test_a_lost_address_is_named_and_given_back(hosts: list[Host]) -> None:
    host = hosts[0]
    cidr = host.weave("ps", "c1").stdout.split()[2]
    assert host.inside("c1", "ip", "addr", "del", cidr, "dev", "ethwe").returncode == 0
    eventually(names(host, "addresses", f"container c1 lacks {cidr}"), PATIENCE, "it is named")
    type_remedy(host, "addresses")
    eventually(names_nothing(host), PATIENCE, "mended")
    assert cidr in host.inside("c1", "ip", "addr", "show", "dev", "ethwe").stdout


def test_a_router_that_stands_still_is_named(hosts: list[Host]) -> None:
    host = hosts[0]
    host.sh(f"kill -STOP {host.daemon()}")
    done = host.weave("check", "--json", check=False, timeout=PATIENCE)
    found = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "router"]
    assert "is stopped by a signal" in found[0]["found"]
    typed(host, found[0]["commands"])
    eventually(lambda: host.weave("status", check=False).returncode == 0, PATIENCE, "it answers")


def test_check_changes_nothing(hosts: list[Host]) -> None:
    host = hosts[0]
    look = (
        "ip link; ip addr; ip route show table all; bridge fdb; ip neigh show dev weave nud permanent; "
        "iptables-save | grep -v '^[#:]'; nft list ruleset | sed 's/counter packets.*//'; ls /proc/sys/net/ipv4/conf"
    )
    before = host.sh(look)
    checked(host)
    assert host.sh(look) == before


def test_wrong_words_end_with_two(hosts: list[Host]) -> None:
    done = hosts[0].weave("check", "--jason", check=False)
    assert done.returncode == 2
    assert "did you mean `--json`?" in done.stderr


def test_a_peer_that_is_not_there_is_named(hosts: list[Host]) -> None:
    host = hosts[0]
    host.weave("connect", "192.168.0.77")
    eventually(names(host, "peers", "192.168.0.77:6783 is not reached"), PATIENCE, "the dial has failed")
    (found,) = [each for each in wrong(host) if each["check"] == "peers"]
    assert found["where"] == "192.168.0.77"
    typed(host, [command for command in found["commands"] if command.startswith("weave forget")])
    eventually(names_nothing(host), PATIENCE, "forgotten")
