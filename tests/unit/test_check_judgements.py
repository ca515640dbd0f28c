"""`weave check` without a host: each check is a judgement of facts. What is wrong is named by one check alone, every
remedy has its commands, and the table fits into 80 columns whatever words of others are in it."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from overlay.check import CHECKS, Facts, Finding, HostFacts, Level, judge
from overlay.check.facts import (
    BlockingRule,
    BridgeEntry,
    ContainerFacts,
    Forward,
    KernelFeature,
    ProgramFacts,
    StateDirectoryFacts,
)
from overlay.check.table import as_json, text
from overlay.env import SECOND

ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"


def report(**changes: Any) -> dict[str, Any]:
    """What a healthy router with one neighbour and one container says."""
    connection = {
        "peer": TWO,
        "nickname": "macbook",
        "address": "192.168.0.3:6783",
        "outbound": True,
        "state": "established",
        "encrypted": False,
        "udp_heartbeat_age": SECOND,
        "udp_heard_us_age": SECOND,
        "beat_interval": SECOND,
        "age": 100 * SECOND,
    }
    path = {
        "path": "fastdp",
        "fastdp": "trusted",
        "sleeve": "confirmed",
        "encrypted": False,
        "mtu": 1398,
        "fast_heard_age": SECOND,
    }
    target = {"address": "192.168.0.3:6783", "explicit": True, "state": "connected", "reason": ""}
    made: dict[str, Any] = {
        "mesh": {
            "name": ONE,
            "nickname": "orion",
            "encrypted": False,
            "name_conflict": False,
            "connections": [{**connection, **changes.get("connection", {})}],
            "targets": [{**target, **changes.get("target", {})}],
            "peers": [{"name": ONE, "nickname": "orion"}, {"name": TWO, "nickname": "macbook"}],
            "channel_conflicts": [],
            "refused": [],
            **changes.get("mesh", {}),
        },
        "paths": {TWO: {**path, **changes.get("path", {})}},
        "ipam": {"peers": [], "conflicts": [], **changes.get("ipam", {})},
        "endpoints": {
            "entries": [{"peer": ONE, "container": "c" * 64, "addresses": ["10.32.0.1/12"], "state": "local"}],
            "quarantine": [],
            **changes.get("endpoints", {}),
        },
        "dns": {"domain": "weave.local."},
        "policy": {"policies": [], "default": "allow", "problem": "", "peers": [], **changes.get("policy", {})},
        "driver": {
            "mtu": 1398,
            "filter": "",
            "dns_address": "172.17.0.1",
            "dns_problem": "",
            "disk": "",
            "stalled": False,
            "ports": {"guarded": 1, "free": 0, "problem": ""},
            "audit": {"mended": 0, "age": None, "what": [], "left": []},
            **changes.get("driver", {}),
        },
    }
    return made


CONTAINER = ContainerFacts(
    id="c" * 64,
    name="c1",
    pid=7,
    addresses=("10.32.0.1/12",),
    found=("10.32.0.1/12",),
    servers=("172.17.0.1",),
    asked=("172.17.0.1",),
)
ENTRY = BridgeEntry(port="vethwe1", mac="02:aa:00:00:00:01", at="vethwe1", manner="sticky")
FORWARD = Forward(
    command="iptables",
    called=True,
    filters=True,
    jumps=True,
    policy="DROP",
    rules=("-A FORWARD -j WEAVE", "-A FORWARD -j DOCKER-USER"),
)
HOST = HostFacts(
    kernel=(KernelFeature("bridge, VXLAN and veth devices"), KernelFeature("nftables", needed=False)),
    settings={"net.ipv4.ip_forward": "1"},
    underlay="eth0",
    underlay_mtu=1500,
    routes=(("192.168.0.0/24", "eth0"),),
    forward=(FORWARD,),
    entries=(ENTRY,),
    bridge=True,
    engine="engine 24 answers",
    containers=(CONTAINER,),
    dns=(("UDP", ""), ("TCP", "")),
    router=ProgramFacts(state="running", pid=5, version="1"),
    state=StateDirectoryFacts(directory="/var/lib/weave", free=1 << 40),
)
CLOCKS = ({"peer": TWO, "offset": 1000, "error": 1000},)
FACTS = Facts(program="1", version="1", report=report(), host=HOST, clocks=CLOCKS)


def host(**changes: Any) -> Facts:
    return replace(FACTS, host=replace(HOST, **changes))


def said(**changes: Any) -> Facts:
    return replace(FACTS, report=report(**changes))


EXPOSED = {"peer": ONE, "container": "weave:expose", "addresses": [], "state": "local"}
CASES: Mapping[str, tuple[Facts, str, str]] = {
    "no router": (replace(FACTS, report=None, options={}), "router", "does not run"),
    "a dead router": (replace(host(router=ProgramFacts(state="died", pid=5)), report=None), "router", "has died"),
    "a stopped router": (
        replace(host(router=ProgramFacts(state="stopped", pid=5)), report=None),
        "router",
        "by a signal",
    ),
    "an old router": (replace(FACTS, version="0"), "router", "version 0"),
    "a dead proxy": (host(proxy=ProgramFacts(state="died", pid=6)), "proxy", "has died"),
    "an old proxy": (host(proxy=ProgramFacts(state="running", pid=6)), "proxy", "unknown"),
    "a silent plugin": (
        replace(host(plugin=(("/run/w.sock", "Connection refused"),)), options={"plugin": True}),
        "plugin",
        "refused",
    ),
    "no engine": (host(engine="", engine_problem="the engine does not answer"), "engine", "does not answer"),
    "no bridges": (host(kernel=(KernelFeature("bridges", "no bridge: `modprobe bridge`"),)), "kernel", "no bridge"),
    "no forwarding": (
        replace(
            said(
                endpoints={"entries": [{"peer": ONE, "container": "weave:expose", "addresses": [], "state": "local"}]}
            ),
            host=replace(HOST, settings={"net.ipv4.ip_forward": "0"}, containers=()),
        ),
        "sysctl",
        "ip_forward is 0",
    ),
    "a flushed FORWARD": (host(forward=(replace(FORWARD, jumps=False),)), "firewall", "jump to chain WEAVE is gone"),
    "a rule before the jump": (
        host(forward=(replace(FORWARD, rules=("-A FORWARD -i weave -j DROP", "-A FORWARD -j WEAVE")),)),
        "firewall",
        "-i weave -j DROP",
    ),
    "a filter that cannot be set": (said(driver={"filter": "no iptables on this host"}), "firewall", "no iptables"),
    "a route in the range": (host(routes=(("10.40.0.0/16", "tun0"),)), "routes", "by tun0"),
    "two of one name": (said(mesh={"name_conflict": True}), "peers", "this peer's name"),
    "a target that refuses": (
        said(target={"state": "waiting", "address": "10.0.0.9:6783", "reason": "Connection refused"}),
        "peers",
        "10.0.0.9:6783 is not reached",
    ),
    "a target behind a firewall": (
        said(target={"state": "waiting", "address": "10.0.0.9:6783", "reason": "no answer"}),
        "peers",
        "no answer",
    ),
    "a stranger": (
        said(mesh={"refused": [{"peer": "", "address": "10.0.0.8", "reason": "wrong password", "age": SECOND}]}),
        "peers",
        "10.0.0.8 is refused",
    ),
    "no datagrams in": (said(connection={"udp_heartbeat_age": 60 * SECOND}), "ports", "port 6783 of this host"),
    "no datagrams out": (said(connection={"udp_heard_us_age": 60 * SECOND}), "ports", "port 6783 of macbook"),
    "VXLAN blocked here": (
        said(path={"path": "sleeve", "fastdp": "failed", "fast_heard_age": None}),
        "ports",
        "port 6784 of this host",
    ),
    "VXLAN blocked there": (
        said(path={"path": "sleeve", "fastdp": "failed", "fast_heard_age": SECOND}),
        "ports",
        "port 6784 of macbook",
    ),
    "a narrow path": (said(path={"path": "sleeve", "fastdp": "failed", "mtu": 1334}), "mtu", "1400 bytes at the most"),
    "a narrow underlay": (host(underlay_mtu=1400), "mtu", "eth0 has MTU 1400"),
    "a wrong clock": (
        replace(FACTS, clocks=({"peer": TWO, "offset": -90 * SECOND, "error": SECOND},)),
        "clocks",
        "macbook is 90 s behind",
    ),
    "an entry that is gone": (host(entries=(replace(ENTRY, at="", manner=""),)), "bridge", "no entry for 02:aa"),
    "an entry that was moved": (host(entries=(replace(ENTRY, at="vethwe2"),)), "bridge", "go to vethwe2"),
    "an entry that can move": (host(entries=(replace(ENTRY, manner="learned"),)), "bridge", "is learned"),
    "what cannot be mended": (
        said(driver={"audit": {"mended": 0, "age": None, "what": [], "left": ["filter weave-ports was missing"]}}),
        "bridge",
        "weave-ports was missing",
    ),
    "a stolen address": (
        host(containers=(replace(CONTAINER, found=("10.32.0.1/12", "10.32.0.2/12")),)),
        "addresses",
        "has 10.32.0.2/12",
    ),
    "a lost address": (host(containers=(replace(CONTAINER, found=()),)), "addresses", "lacks 10.32.0.1/12"),
    "a quarantine": (
        said(endpoints={"quarantine": [{"what": "10.32.0.1 of c2", "mend": "`weave detach 10.32.0.1/12 c2`"}]}),
        "addresses",
        "is quarantined",
    ),
    "DNS that is silent": (host(dns=(("UDP", "no answer in time"), ("TCP", ""))), "dns", "over UDP: no answer"),
    "DNS without an address": (
        said(driver={"dns_address": "", "dns_problem": "not served: no address on `docker0`"}),
        "dns",
        "not served",
    ),
    "a changed resolv.conf": (host(containers=(replace(CONTAINER, servers=("8.8.8.8",)),)), "dns", "asks 8.8.8.8"),
    "a policy that is not kept": (
        said(policy={"problem": "no conntrack"}),
        "policy",
        "no conntrack",
    ),
    "a full disk": (said(driver={"disk": "/var/lib/weave is full: make room"}), "state", "is full"),
    "little room": (
        host(state=StateDirectoryFacts(directory="/var/lib/weave", free=1 << 20)),
        "state",
        "1 MiB are free",
    ),
    "a damaged file": (
        host(state=StateDirectoryFacts(directory="/var/lib/weave", free=1 << 40, damaged=("ring.state",))),
        "state",
        "ring.state is damaged",
    ),
}


def bad(facts: Facts) -> list[Finding]:
    return [found for found in judge(facts) if found.level in (Level.WRONG, Level.NOTE)]


def test_nothing_is_wrong_with_healthy_facts() -> None:
    assert bad(FACTS) == []
    assert [found.check for found in judge(FACTS)] == list(CHECKS)
    assert "nothing is wrong" in text(judge(FACTS))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named_by_one_check_with_what_to_type(case: str) -> None:
    facts, check, words = CASES[case]
    found = bad(facts)
    assert [each.check for each in found] == [check], found
    assert found[0].level is Level.WRONG
    assert words in found[0].found
    assert found[0].expected
    assert found[0].commands, found[0].remedy
    assert as_json(judge(facts))["wrong"] == 1


@pytest.mark.parametrize("case", CASES)
def test_the_table_fits_into_80_columns(case: str) -> None:
    told = text(judge(CASES[case][0]))
    assert max(map(len, told.splitlines())) <= 80, told
    assert "1 wrong" in told


def test_without_a_host_the_routers_own_report_is_judged() -> None:
    found = judge(replace(FACTS, host=None))
    assert [each.check for each in found] == list(CHECKS)
    assert {each.level for each in found} == {Level.FINE, Level.UNSEEN}
    facts, check, _ = CASES["VXLAN blocked there"]
    assert [each.check for each in bad(replace(facts, host=None))] == [check]


def test_a_rule_of_this_host_is_named_where_it_blocks_a_port() -> None:
    facts = CASES["VXLAN blocked here"][0]
    block = BlockingRule(protocol="udp", port=6784, rule="iptables -A INPUT -j DROP", undo="iptables -D INPUT -j DROP")
    (found,) = bad(replace(facts, host=replace(HOST, blocks=(block,))))
    assert found.commands == ("iptables -D INPUT -j DROP",)
    assert block.rule in found.found
    other = replace(block, port=6783)
    (found,) = bad(replace(facts, host=replace(HOST, blocks=(other,))))
    assert found.commands == ("iptables -I INPUT -p udp --dport 6784 -j ACCEPT",)


def test_young_connections_and_wireguard_that_begins_are_not_judged() -> None:
    silent = {"udp_heartbeat_age": 60 * SECOND}
    assert bad(said(connection={**silent, "age": SECOND})) == []
    begins = {"path": "sleeve", "wireguard": "recovering", "encrypted": True}
    assert bad(said(connection={"age": 8 * SECOND}, path=begins)) == []
    assert [each.check for each in bad(said(path=begins))] == ["ports"]


@pytest.mark.parametrize(
    ("rule", "stops"),
    [
        ("-A FORWARD -j DROP", True),
        ("-A FORWARD -i weave -o weave -j REJECT --reject-with icmp-port-unreachable", True),
        ("-A FORWARD -i we+ -j DROP", True),
        ("-A FORWARD -i docker0 -j DROP", False),
        ("-A FORWARD -m conntrack --ctstate INVALID -j DROP", False),
        ("-A FORWARD -s 10.0.0.0/8 -j DROP", False),
        ("-A FORWARD -j DOCKER-USER", False),
        ("-A FORWARD ! -i weave -j DROP", False),
    ],
)
def test_only_rules_that_stop_every_frame_are_complained_of(rule: str, stops: bool) -> None:
    found = bad(host(forward=(replace(FORWARD, rules=(rule, "-A FORWARD -j WEAVE")),)))
    assert bool(found) is stops


def test_containers_with_servers_of_their_own_are_a_note_and_user_networks_are_fine() -> None:
    (found,) = bad(host(containers=(replace(CONTAINER, servers=("8.8.8.8",), asked=()),)))
    assert (found.level, found.check) == (Level.NOTE, "dns")
    assert bad(host(containers=(replace(CONTAINER, servers=("127.0.0.11",)),))) == []
