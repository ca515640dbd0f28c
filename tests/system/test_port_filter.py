"""What a container can send: its own MAC and its own addresses, and nothing that takes over the traffic of another."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, two_peers
from spoofed_frames import ethernet, foreign_frames, heard, ipv4, mac_of, own_frames, send, udp

EVIL, VICTIM, FREE, FAR = ("10.0.1.1", "fd00:1::1"), ("10.0.1.2", "fd00:1::2"), ("10.0.1.4", "fd00:1::4"), "10.0.1.3"


def run(host: Host, name: str, *words: str) -> None:
    host.weave("run", *words, "--name", name, IMAGE, name)


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with two_peers() as made:
        orion, macbook = made.hosts["orion"], made.hosts["macbook"]
        for name, (v4, v6), *flags in (("evil", EVIL), ("victim", VICTIM), ("free", FREE, "--allow-spoofing")):
            run(orion, name, *flags, f"{v4}/24", f"{v6}/64")
        run(macbook, "far", f"{FAR}/24")
        eventually(lambda: orion.pings("evil", FAR) and orion.pings("victim", FAR))
        yield made


def entry(host: Host, mac: str) -> str:
    """Where the bridge sends frames for a MAC."""
    return next(line for line in host.sh("bridge fdb show br weave").splitlines() if mac in line and "master" in line)


def test_a_port_lets_out_its_own_frames_and_no_others(orion: Host, macbook: Host) -> None:
    mac = mac_of(orion, "evil")
    own, foreign = own_frames(mac, *EVIL), foreign_frames(mac, *EVIL, *VICTIM)
    assert heard(orion, "evil", own | foreign, orion, "victim") == list(own)
    assert heard(orion, "evil", {"own": own["own4"], "stolen": foreign["ip4"]}, macbook, "far") == ["own"]


def test_with_allow_spoofing_it_lets_out_all(orion: Host) -> None:
    mac = mac_of(orion, "free")
    frames = own_frames(mac, *FREE) | foreign_frames(mac, *FREE, "10.0.1.77", "fd00:1::77")
    assert heard(orion, "free", frames, orion, "victim") == list(frames)
    lines = {line.split()[1]: line for line in orion.weave("ps").stdout.splitlines()}
    assert lines[mac].endswith(" spoofing-allowed")
    assert "spoofing" not in lines[mac_of(orion, "evil")]
    assert "Ports: 2 guarded against spoofing, 1 with --allow-spoofing" in orion.weave("status").stdout


@pytest.mark.parametrize("sender", ["evil", "free"])
def test_no_frame_takes_over_the_traffic_of_another(orion: Host, macbook: Host, sender: str) -> None:
    """Without the filter too (`free`): the entries are sticky."""
    for mac, port in ((mac_of(macbook, "far"), "dev vxlan-6784"), (mac_of(orion, "victim"), "dev vethwel")):
        before = entry(orion, mac)
        assert port in before and "sticky" in before and "static" in before
        send(orion, sender, {"take": ethernet(mac, 0x88B5, bytes(46))})
        assert entry(orion, mac) == before
    assert orion.pings("victim", FAR, wait=30) and orion.pings("victim", EVIL[0], wait=30)


def test_the_filter_follows_addresses_as_they_come_and_go(orion: Host) -> None:
    mac = mac_of(orion, "evil")
    frame = {"second": ethernet(mac, 0x0800, ipv4("10.0.2.1", 17, udp(5000, 5001)))}
    assert heard(orion, "evil", frame, orion, "victim") == []
    orion.weave("attach", "10.0.2.1/24", "evil")
    assert heard(orion, "evil", frame, orion, "victim") == ["second"]
    orion.weave("detach", "10.0.2.1/24", "evil")
    assert heard(orion, "evil", frame, orion, "victim") == []
    orion.weave("detach", "--all", "evil")
    assert mac not in orion.sh("nft list table bridge weave-ports")
    orion.weave("attach", f"{EVIL[0]}/24", f"{EVIL[1]}/64", "evil")


def test_it_stands_while_the_daemon_is_dead_and_the_next_one_adopts_it(orion: Host) -> None:
    mac = mac_of(orion, "evil")
    frames = {"own": own_frames(mac, *EVIL)["own4"], **foreign_frames(mac, *EVIL, *VICTIM)}
    table = orion.sh("nft -j list table bridge weave-ports")
    orion.kill_daemon()
    assert heard(orion, "evil", frames, orion, "victim") == ["own"]
    orion.run("env", "DOCKER_HOST=unix:///nowhere", sys.executable, "-m", "overlay.cli.main", "launch")
    assert heard(orion, "evil", frames, orion, "victim") == ["own"], "before it has asked the engine"
    assert sets(orion.sh("nft -j list table bridge weave-ports")) == sets(table)
    orion.kill_daemon()
    orion.weave("launch")
    eventually(lambda: orion.pings("evil", FAR), what="reconnected")
    assert heard(orion, "evil", frames, orion, "victim") == ["own"]


def sets(listing: str) -> list[str]:
    return [
        json.dumps(sorted(map(json.dumps, part["set"].get("elem", ()))))
        for part in json.loads(listing)["nftables"]
        if "set" in part
    ]


def test_a_virtual_router_needs_allow_spoofing(orion: Host, macbook: Host) -> None:
    """VRRP (RFC 9568): a MAC and an address that move between containers."""
    virtual = "00:00:5e:00:01:07"
    for name in ("evil", "free"):
        orion.inside(name, "ip", "link", "add", "link", "ethwe", "name", "vrrp", "type", "macvlan", "mode", "bridge")
        orion.inside(name, "ip", "link", "set", "vrrp", "address", virtual, "up")
        orion.inside(name, "ip", "address", "add", "10.0.1.50/24", "dev", "vrrp")
        orion.inside(name, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
        reached = [host.pings(one, "10.0.1.50") for host, one in ((orion, "victim"), (macbook, "far"))]
        orion.inside(name, "ip", "link", "delete", "vrrp")
        macbook.inside("far", "ip", "neigh", "flush", "all")
        orion.inside("victim", "ip", "neigh", "flush", "all")
        assert reached == [name == "free"] * 2, name


def test_a_router_needs_allow_spoofing(orion: Host, macbook: Host) -> None:
    orion.weave("attach", "10.0.3.1/24", "evil")
    orion.weave("attach", "10.0.3.4/24", "free")
    run(macbook, "inner", "10.0.3.9/24")
    eventually(lambda: orion.pings("evil", "10.0.3.9"))
    for name, address in (("evil", "1"), ("free", "4")):
        orion.inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0")
        orion.inside("victim", "ip", "route", "replace", "10.0.3.0/24", "via", f"10.0.1.{address}")
        macbook.inside("inner", "ip", "route", "replace", "10.0.1.0/24", "via", f"10.0.3.{address}")
        assert orion.pings("victim", "10.0.3.9", wait=30 if name == "free" else 1) == (name == "free"), name


def test_where_the_filter_cannot_be_made_the_sticky_entries_stand_alone(net: Underlay) -> None:
    """As on a kernel without nftables for bridges; here another program owns a table of that name."""
    host = net.host("poor", 4)
    owner = host.popen("nft", "-i", stdin=subprocess.PIPE)
    assert owner.stdin is not None
    owner.stdin.write("add table bridge weave-ports { flags owner; }\n")
    owner.stdin.flush()
    eventually(lambda: "weave-ports" in host.sh("nft list tables"), what="the table is there")
    try:
        host.weave("launch")
        run(host, "one", "10.0.1.41/24")
        run(host, "two", "10.0.1.42/24")
        status = host.weave("status").stdout
        assert "Ports: not guarded" in status
        assert "Trouble: containers can send with foreign addresses: no nftables for bridges" in status
        mac = mac_of(host, "two")
        before = entry(host, mac)
        send(host, "one", {"take": ethernet(mac, 0x88B5, bytes(46))})
        assert entry(host, mac) == before and "sticky" in before
        assert host.pings("one", "10.0.1.42", wait=30)
    finally:
        owner.kill()
        owner.communicate()


def test_reset_takes_the_filter_away(orion: Host) -> None:
    orion.weave("stop")
    assert "weave-ports" in orion.sh("nft list tables")
    orion.weave("reset")
    assert "weave" not in orion.sh("nft list tables")
