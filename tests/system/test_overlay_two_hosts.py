"""Two hosts with real kernels' data paths: the walk-through's commands, and what may go wrong with a daemon."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, run_services, two_peers

GARBAGE = b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 8


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with two_peers() as made:
        run_services(made)
        yield made


def test_containers_of_both_hosts_reach_each_other(orion: Host, macbook: Host) -> None:
    eventually(lambda: orion.pings("svc1", "10.0.1.3"), what="ping svc1 -> svc3")
    assert macbook.pings("svc3", "10.0.1.1", wait=30)
    answer = orion.inside("svc1", "curl", "-sS", "--max-time", "5", "http://10.0.1.3:8080/").stdout
    assert answer.startswith("Hi! I'm [svc3] service and my Docker container's IP is [172.17.3.")


def test_a_stopped_container_gives_way_to_a_claim_on_the_other_host(orion: Host, macbook: Host) -> None:
    cidr = "10.32.0.44/12"
    orion.weave("run", cidr, "--name", "blue", IMAGE, "blue")
    try:
        refused = macbook.weave("run", cidr, "--name", "green", IMAGE, "green", check=False)
        assert refused.returncode == 1 and "in use by container" in refused.stderr
        orion.engine("POST", "/containers/blue/stop?t=0")
        words = ("run", cidr, "--name", "green", IMAGE, "green")
        eventually(lambda: macbook.weave(*words, check=False).returncode == 0, 60, "its address is to be had")
        assert cidr in macbook.weave("ps", "green").stdout
        again = orion.weave("start", cidr, "blue", check=False)
        assert again.returncode == 1 and "in use by container" in again.stderr
        eventually(lambda: cidr not in orion.weave("ps").stdout, 60, "it is told what it lost")
        orion.weave("run", "10.32.0.45/12", "--name", "asker", IMAGE, "asker")
        eventually(lambda: orion.pings("asker", "10.32.0.44"), 60, "the new holder answers")
    finally:
        for host, names in ((orion, ("blue", "asker")), (macbook, ("green",))):
            for name in names:
                host.run(
                    "sh", "-c", f"curl -sS -X DELETE --unix-socket {host.disk}/d http://e/containers/{name}?force=1"
                )


def test_a_full_packet_of_the_overlays_mtu_passes(orion: Host) -> None:
    eventually(lambda: orion.pings("svc1", "10.0.1.3"))
    mtu = json.loads(orion.weave("report").stdout)["driver"]["mtu"]
    assert 1380 <= mtu <= 1400
    full = orion.inside("svc1", "ping", "-c1", "-W30", "-M", "do", "-s", str(mtu - 28), "10.0.1.3")
    assert full.returncode == 0, full.stdout


def test_known_containers_are_found_without_a_broadcast(orion: Host, macbook: Host) -> None:
    eventually(lambda: "10.0.1.3" in orion.sh("ip neigh show dev weave"))
    entry = "00:00:00:00:00:00 dev vxlan-6784 dst 192.168.0.3 self"
    orion.sh(f"bridge fdb del {entry}")
    try:
        # Nothing can be flooded now: the kernel of the asking host itself answers "who has 10.0.1.3?".
        orion.inside("svc1", "ip", "neigh", "flush", "all")
        assert orion.pings("svc1", "10.0.1.3", wait=30)
    finally:
        orion.sh(f"bridge fdb append {entry} permanent")


def test_names_resolve_on_both_hosts(orion: Host, macbook: Host) -> None:
    eventually(lambda: macbook.weave("dns-lookup", "svc1", check=False).stdout == "10.0.1.1\n", what="svc1 by DNS")
    resolver = orion.container("svc1")["HostConfig"]["Dns"]
    assert resolver == ["172.17.2.1"]
    asked = orion.inside(
        "svc1", sys.executable, "-c",
        "import socket, dnslib;"
        "q = bytes(dnslib.DNSRecord.question('SVC3.weave.local').pack());"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60); s.sendto(q, ('172.17.2.1', 53));"
        "print(dnslib.DNSRecord.parse(s.recv(4096)).short())",
    )  # fmt: skip
    assert asked.stdout == "10.0.1.3\n", asked.stderr
    orion.weave("dns-add", "svc1", "-h", "alias")
    eventually(lambda: macbook.weave("dns-lookup", "alias", check=False).stdout == "10.0.1.1\n")
    orion.weave("dns-remove", "svc1", "-h", "alias")
    eventually(lambda: macbook.weave("dns-lookup", "alias", check=False).returncode == 1)


def test_kill_9_keeps_traffic_addresses_and_names(orion: Host, macbook: Host) -> None:
    given = orion.weave("run", "--name", "kept", "-ti", "tutum/curl").stdout.strip()
    before = orion.weave("ps", given).stdout
    eventually(lambda: orion.pings("svc1", "10.0.1.3"))
    orion.kill_daemon()
    assert orion.weave("status", check=False).returncode == 1
    assert orion.pings("svc1", "10.0.1.3", wait=30), "the kernel forwards without a daemon"
    assert macbook.pings("svc3", "10.0.1.1", wait=30)
    assert "the router runs" in orion.weave("launch").stderr
    assert orion.weave("ps", given).stdout == before
    assert orion.pings("svc1", "10.0.1.3", wait=30), "adopted, not torn down"
    eventually(lambda: "established" in orion.weave("status", "connections").stdout, what="reconnected")
    eventually(lambda: macbook.weave("dns-lookup", "kept", check=False).stdout.strip() in before)
    assert macbook.pings("svc3", "10.0.1.1", wait=30)
    orion.engine("DELETE", "/containers/kept?force=1")
    eventually(lambda: given[:12] not in orion.weave("ps").stdout, what="destroyed container is off")


def test_a_container_that_restarts_keeps_its_address(orion: Host, macbook: Host) -> None:
    orion.engine("POST", "/containers/svc1/kill")
    eventually(lambda: macbook.weave("dns-lookup", "svc1", check=False).returncode == 1, what="name of the dead gone")
    orion.engine("POST", "/containers/svc1/start")
    eventually(lambda: macbook.pings("svc3", "10.0.1.1"), what="back at its address")
    eventually(lambda: macbook.weave("dns-lookup", "svc1", check=False).stdout == "10.0.1.1\n")


def test_a_second_launch_with_the_same_options_succeeds_and_with_others_names_them(orion: Host) -> None:
    again = orion.weave("launch")
    assert "already" in again.stderr
    assert "already" not in orion.weave("launch-dns").stderr
    other = orion.weave("launch", "-iprange", "10.2.3.0/24", check=False)
    assert other.returncode == 1
    assert "--ipalloc-range is 10.32.0.0/12, asked for 10.2.3.0/24" in other.stderr


def test_garbage_is_logged_once_and_harms_nobody(net: Underlay, orion: Host) -> None:
    eventually(lambda: orion.pings("svc1", "10.0.1.3"))
    script = (
        "import socket,sys\n"
        f"for _ in range(20):\n"
        f" c=socket.create_connection(('192.168.0.2',6783)); c.settimeout(60); c.sendall({GARBAGE!r})\n"
        " try:\n"
        "  while c.recv(4096): pass\n"
        " except ConnectionError: pass\n"
        f"u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        f"for _ in range(20): u.sendto({GARBAGE!r},('192.168.0.2',6783))\n"
    )
    net.run("ip addr show dev switch | grep -q 192.168.0.9 || ip addr add 192.168.0.9/24 dev switch")
    net.run(shlex.join([sys.executable, "-c", script]))
    eventually(lambda: "udp 192.168.0.9" in orion.log, what="complaint about UDP")
    for kind in ("tcp", "udp"):
        assert orion.log.count(f"{kind} 192.168.0.9: ") == 1
    assert "1 established" in orion.weave("status").stdout
    assert orion.pings("svc1", "10.0.1.3", wait=30)


def test_attach_and_detach_by_hand(orion: Host, macbook: Host) -> None:
    (out,) = orion.weave("attach", "net:10.36.1.0/24", "svc1").stdout.split()
    assert out.startswith("10.36.1.")
    assert orion.weave("attach", "net:10.36.1.0/24", "svc1").stdout.split() == [out], "the same again"
    assert orion.weave("detach", f"{out}/24", "svc1").stdout.split() == [out]
    assert out not in orion.inside("svc1", "ip", "addr").stdout
    eventually(lambda: macbook.pings("svc3", "10.0.1.1"))
    wrong = orion.weave("detach", "10.0.1.77/24", "svc1")
    assert wrong.stdout == "" and "has no such address" in wrong.stderr


def test_wrong_requests_get_one_sentence(orion: Host) -> None:
    for words, expected in (
        (("attach", "10.0.1.9/24", "nosuch"), "nosuch"),
        (("run", "10.0.1.0/24", IMAGE), "network address"),
        (("run", "10.0.1.9/24", "nosuch/image"), "nosuch/image"),
        (("run", "10.0.1.3/24", "--name", "svc1", IMAGE, "x"), "svc1"),
        (("connect", "no.such.host.invalid"), "no.such.host.invalid"),
        (("rmpeer", "nobody"), "nobody"),
    ):
        done = orion.weave(*words, check=False)
        assert done.returncode == (2 if "network address" in expected else 1), words
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert (
        orion.run("curl", "-sS", "--unix-socket", f"{orion.disk}/w", "http://w/nosuch").stdout
        == "there is no /nosuch here"
    )


def test_the_original_http_paths(orion: Host) -> None:
    def call(method: str, path: str, *more: str) -> str:
        words = ("-H", f"@{orion.disk}/w.token", "-X", method, *more)
        return orion.run("curl", "-sS", *words, f"http://127.0.0.1:6784{path}").stdout

    assert "Service: router" in call("GET", "/status")
    first = call("POST", "/ip/mine")
    assert call("POST", "/ip/mine") == first
    assert call("GET", "/ip/mine") == first and '"containerid":"mine"' in call("GET", "/ip")
    call("DELETE", "/ip/mine")
    claimed = call("PUT", "/ip/mine/10.32.0.77/12")
    assert claimed in ("", "10.32.0.77/12")
    call("DELETE", "/ip/mine/10.32.0.77")
    assert json.loads(call("GET", "/report"))["mesh"]["nickname"] == "orion"
    assert "expected" in call("PUT", "/ip/mine/10.32.0/12")


def test_watch_tells_every_change(orion: Host, macbook: Host) -> None:
    with orion.popen("curl", "-sSN", "--unix-socket", f"{orion.disk}/w", "http://w/watch") as watch:
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        assert first["view"]["neighbours"] == ["macbook"]
        macbook.weave("dns-add", "10.9.9.9", "-h", "watched")
        second = json.loads(watch.stdout.readline())
        assert second["view"]["dns"] != first["view"]["dns"]
        assert second["t"] > first["t"]
        macbook.weave("dns-remove", "10.9.9.9", "-h", "watched")
        watch.kill()


def test_a_full_disk_refuses_new_addresses_and_keeps_the_old(net: Underlay) -> None:
    third = net.host("third", 4)
    third.sh(f"mount -t tmpfs -o size=1m none {third.disk}/db")
    third.weave("launch", "192.168.0.2")
    third.weave("run", "10.0.1.4/24", "--name", "early", IMAGE, "early")
    third.sh(f"cat /dev/zero > {third.disk}/db/filler 2>/dev/null || true")
    for number in range(4):  # what is left of the last block may take a few more
        full = third.weave("run", f"10.0.1.{60 + number}/24", IMAGE, "late", check=False)
    assert full.returncode == 1
    assert "full" in full.stderr
    assert "full" in third.weave("status").stdout
    eventually(lambda: third.pings("early", "10.0.1.1"))
    third.sh(f"rm {third.disk}/db/filler")
    third.weave("run", "10.0.1.80/24", IMAGE, "fits")
    third.kill_daemon()
    third.weave("launch", "192.168.0.2")
    assert "10.0.1.4/24" in third.weave("ps", "early").stdout
    third.weave("reset")


def test_stop_says_farewell_and_reset_leaves_nothing(net: Underlay, macbook: Host) -> None:
    fourth = net.host("fourth", 5)
    fourth.weave("launch", "192.168.0.2")
    given = fourth.weave("run", "--name", "last", IMAGE, "last").stdout.strip()
    eventually(lambda: "fourth" in macbook.weave("status", "peers").stdout)
    fourth.weave("stop")
    eventually(lambda: "established" not in _line(macbook.weave("status", "peers").stdout, "fourth"))
    assert fourth.weave("status", check=False).stderr == "weave is not running: start it with `weave launch`\n"
    fourth.weave("launch", "192.168.0.2")
    assert given[:12] in fourth.weave("ps").stdout
    eventually(lambda: "fourth" in macbook.weave("status", "ipam").stdout)
    fourth.weave("reset")
    assert "weave" not in fourth.sh("ip link")
    assert not list((fourth.disk / "db").glob("*.state"))
    assert "ethwe" not in fourth.inside("last", "ip", "link").stdout
    eventually(lambda: "fourth" not in macbook.weave("status", "ipam").stdout, what="its space is taken over")


def _line(text: str, word: str) -> str:
    return next((line for line in text.splitlines() if word in line and "established" in line), "")
