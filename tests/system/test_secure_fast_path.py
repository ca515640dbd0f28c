"""VXLAN within WireGuard on real kernels, by `wireguard-go` where the kernel itself has none."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from forged_vxlan import heard
from overlay_hosts import IMAGE, PYTHON, Host, Underlay, eventually, underlay
from tiers import cannot_run

WORD = "correct horse"
KERNEL = subprocess.run(
    ["unshare", "--map-root-user", "--net", "ip", "link", "add", "type", "wireguard"], capture_output=True, check=False
)
"""Has this machine's kernel WireGuard? Then it is tested, and `wireguard-go` beside it."""
BLOCK = "nft 'table bridge blocked { chain forward { type filter hook forward priority -100; udp dport 6785 drop; }; }'"
UNBLOCK = "nft delete table bridge blocked"
WATCH = """
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind(("h2", 0))
sock.settimeout(90)
print("ready", flush=True)
ports, told = set(), False
while 6785 not in ports or not told:
    frame = sock.recv(65536)
    if frame[12:14] == b"\\x08\\x00" and frame[23] == 17:
        ports.add(int.from_bytes(frame[36:38], "big"))
    if b"Hi! I'm" in frame:
        print("in clear", flush=True)
        break
    told = told or b"the end" in frame
else:
    print("secret", flush=True)
"""


class ByKernel(Host):
    """A host that takes its kernel's WireGuard."""

    mode = "auto"

    def launch(self) -> None:
        self.weave("launch", "--password", WORD, "--wireguard", self.mode)


class ByProgram(ByKernel):
    """A host that takes the program."""

    mode = "wireguard-go"


@pytest.fixture(scope="module", params=[ByProgram] if KERNEL.returncode else [ByKernel, ByProgram])
def net(request: pytest.FixtureRequest) -> Iterator[Underlay]:
    if request.param is ByProgram and shutil.which("wireguard-go") is None:
        cannot_run("no wireguard-go: `apt-get install wireguard-go`")
    if request.param is ByProgram and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        cannot_run("/dev/net/tun cannot be opened: `modprobe tun`, and run as root or let users open it")
    with underlay(request.param) as made:
        one, two = (guarded(made.host(name, number)) for number, name in ((2, "one"), (3, "two")))
        for host in (one, two):
            host.sh("mount -t tmpfs run /run")  # the program's socket has a fixed place, and these hosts share a disk
            host.launch()
        made.host("stranger", 9)
        one.weave("connect", "192.168.0.3")
        one.weave("run", "10.0.1.1/24", "--name", "left", IMAGE, "left")
        two.weave("run", "10.0.1.2/24", "--name", "right", IMAGE, "right")
        eventually(lambda: one.pings("left", "10.0.1.2"), what="ping left -> right")
        eventually(lambda: path(one) == path(two) == "wireguard", what="WireGuard carries")
        yield made


def guarded(host: Host) -> ByKernel:
    assert isinstance(host, ByKernel)
    return host


def report(host: Host) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(host.weave("report").stdout)
    return found


def path(host: Host) -> str:
    """Of the one neighbour; empty without one."""
    return "".join(str(entry["path"]) for entry in json.loads(host.weave("report").stdout)["paths"].values())


def peers(host: Host) -> int:
    return int(json.loads(host.weave("report").stdout)["driver"]["wireguard"]["peers"])


def asks(host: Host) -> bool:
    answer = host.inside("left", "curl", "-sS", "--max-time", "5", "http://10.0.1.2:8080/").stdout
    return answer.startswith("Hi! I'm [right] service")


def test_it_carries_full_packets_and_nothing_is_readable(net: Underlay) -> None:
    one = net.hosts["one"]
    assert "encrypted   wireguard" in one.weave("status", "connections").stdout
    kind = "kernel" if guarded(one).mode == "auto" else guarded(one).mode
    assert f"WireGuard: {kind} (weave-wg, UDP port 6785, 1 peers)" in one.weave("status").stdout
    mtu = int(str(report(one)["driver"]["mtu"]))
    assert mtu == 1350
    full = one.inside("left", "ping", "-c1", "-W30", "-M", "do", "-s", str(mtu - 28), "10.0.1.2")
    assert full.returncode == 0, full.stdout
    sniffer = subprocess.Popen([*net.enter(), PYTHON, "-c", WATCH], stdout=subprocess.PIPE, text=True)
    try:
        assert sniffer.stdout is not None and sniffer.stdout.readline() == "ready\n"
        assert asks(one)
        net.hosts["stranger"].run("bash", "-c", "echo the end > /dev/udp/192.168.0.2/9")
        assert sniffer.stdout.readline() == "secret\n"
    finally:
        sniffer.kill()
        sniffer.wait()


def test_nobody_else_gets_in(net: Underlay) -> None:
    assert heard(net, (net.hosts["stranger"], "stranger"), (net.hosts["two"], "peer"), to="one", by="two") == []


def test_blocked_the_tunnel_takes_over_still_encrypted_and_gives_back(net: Underlay) -> None:
    one, two = net.hosts["one"], net.hosts["two"]
    net.run(BLOCK)
    try:
        eventually(lambda: one.pings("left", "10.0.1.2"), what="the tunnel carries")
        eventually(lambda: path(one) == path(two) == "sleeve", what="both say so")
        assert "encrypted   sleeve" in one.weave("status", "connections").stdout
        assert asks(one)
    finally:
        net.run(UNBLOCK)
    eventually(lambda: path(one) == path(two) == "wireguard", what="WireGuard carries again")
    assert asks(one)


def test_it_outlives_a_daemon_and_comes_back_with_new_keys(net: Underlay) -> None:
    one, two = net.hosts["one"], net.hosts["two"]
    two.kill_daemon()
    assert one.pings("left", "10.0.1.2", wait=30), "what forwards needs no daemon"
    guarded(two).launch()
    eventually(lambda: path(one) == path(two) == "wireguard", what="WireGuard carries again")
    assert asks(one) and peers(one) == peers(two) == 1


def test_who_leaves_is_no_end_of_it_any_more_and_who_has_none_is_reached_by_the_tunnel(net: Underlay) -> None:
    one, two = net.hosts["one"], net.hosts["two"]
    two.weave("stop")
    eventually(lambda: peers(one) == 0, what="the peer is gone")
    assert "weave-wg" not in two.run("ip", "-br", "link").stdout
    two.weave("launch", "--password", WORD, "--wireguard", "off")
    one.weave("connect", "192.168.0.3")
    eventually(lambda: path(one) == path(two) == "sleeve", what="the tunnel carries")
    assert "WireGuard: none: switched off" in two.weave("status").stdout
    eventually(lambda: asks(one), what="answers")
    assert peers(one) == 0


def test_a_program_that_is_not_there_is_asked_for_in_vain(net: Underlay) -> None:
    stranger = net.hosts["stranger"]
    words = ("env", "PATH=/usr/sbin:/sbin", PYTHON, "-m", "overlay.cli.main", "launch", "--password", WORD)
    refused = stranger.run(*words, "--wireguard", "wireguard-go", check=False)
    assert refused.returncode == 1 and "apt-get install wireguard-go" in refused.stderr
    wrong = stranger.weave("launch", "--wireguard", "wiregard-go", check=False)
    assert wrong.returncode == 2 and "did you mean" in wrong.stderr.lower(), wrong.stderr
