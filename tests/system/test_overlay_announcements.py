"""An address with another MAC: who remembers the one before is corrected at once, on real kernels, whatever the path.

A container keeps a MAC in its own cache, out of the daemon's reach, and believes it for 15 s and longer. Each test
fills the cache of a client first; then at most one try may be lost once the new place is announced.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, PYTHON, Host, Underlay, eventually, underlay
from waiting import PATIENCE

ADDRESSES = ("10.0.1.1", "fd00::1")
CIDRS = ("10.0.1.1/24", "fd00::1/64")
WORD = "a word that is long enough"
PATHS = {
    "fastdp": (),
    "sleeve": ("--no-fastdp",),
    "encrypted sleeve": ("--no-fastdp", "--password", WORD),
}


WATCH = """
import select, socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print("ready", flush=True)
while select.select([raw, sys.stdin], [], [])[0] != [sys.stdin]:
    frame, (device, _, direction, *_) = raw.recvfrom(2000)
    gratuitous = frame[12:14] == b"\\x08\\x06" and frame[28:32] == frame[38:42]
    unsolicited = frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 136 and not frame[58] & 64
    if gratuitous or unsolicited:
        incoming = device.startswith(("vxlan", "weavesleeve")) and direction != socket.PACKET_OUTGOING
        print("crossed" if incoming else "here", device, frame[6:12].hex(":"), flush=True)
"""
EVERY_PATH = pytest.mark.parametrize("net", list(PATHS), indirect=True)
"""The two kinds where frames of a client cross the tunnel; the rest is one host's own business."""
KERNEL = pytest.mark.parametrize("net", ["fastdp"], indirect=True)


@pytest.fixture(scope="module")
def net(request: pytest.FixtureRequest) -> Iterator[Underlay]:
    """Two peers; the clients `far` and `near` are one on each, and never change."""
    with underlay() as made:
        one, two = made.host("one", 2), made.host("two", 3)
        one.weave("launch", *PATHS[request.param])
        two.weave("launch", *PATHS[request.param], "192.168.0.2")
        one.weave("run", "10.0.1.8/24", "fd00::8/64", "--name", "near", IMAGE, "near")
        two.weave("run", "10.0.1.9/24", "fd00::9/64", "--name", "far", IMAGE, "far")
        eventually(lambda: two.pings("far", "10.0.1.8") and two.pings("far", "fd00::8"), what="ping far -> near")
        yield made


@pytest.fixture
def one(net: Underlay) -> Host:
    return net.hosts["one"]


@pytest.fixture
def two(net: Underlay) -> Host:
    return net.hosts["two"]


def runs(host: Host, *cidrs: str) -> str:
    """Run `svc` with these addresses again; its MAC."""
    host.weave("run", *(cidrs or CIDRS), "--name", "svc", IMAGE, "svc")
    (link,) = json.loads(host.inside("svc", "ip", "-j", "link", "show", "ethwe").stdout)
    return str(link["address"])


def removes(host: Host) -> None:
    host.engine("DELETE", "/containers/svc?force=1")


def announced(host: Host, mac: str) -> bool:
    """This host's router has heard of a container with this MAC, and forwards there if it is elsewhere."""
    entries = json.loads(host.weave("report").stdout)["endpoints"]["entries"]
    return any(entry["mac"] == mac and entry["state"] in ("local", "forwarded") for entry in entries)


def remembered(host: Host, client: str, address: str) -> str:
    """What `ip neigh` says there of an address."""
    return host.inside(client, "ip", "neigh", "show", address).stdout


def fill(host: Host, client: str, mac: str, addresses: tuple[str, ...] = ADDRESSES) -> None:
    """The client has these addresses' MAC in its cache."""
    for address in addresses:
        eventually(lambda address=address: host.pings(client, address), what=f"ping {client} -> {address}")
        assert mac in remembered(host, client, address)


def check(host: Host, client: str, mac: str, addresses: tuple[str, ...] = ADDRESSES) -> None:
    """At most one try is lost once the router of this host knows of the MAC."""
    eventually(lambda: announced(host, mac), what=f"{mac} is known")
    for address in addresses:
        lost = 0 if host.pings(client, address) else 1
        assert not lost or host.pings(client, address), f"{client} -> {address}: {remembered(host, client, address)}"
        assert mac in remembered(host, client, address)


@EVERY_PATH
def test_made_anew_on_the_same_host(one: Host, two: Host) -> None:
    before = runs(one)
    fill(two, "far", before)
    fill(one, "near", before)
    removes(one)
    after = runs(one)
    assert after != before
    check(two, "far", after)
    check(one, "near", after)
    removes(one)


@EVERY_PATH
def test_moved_to_the_clients_host_and_back(one: Host, two: Host) -> None:
    before = runs(one)
    fill(two, "far", before)
    fill(one, "near", before)
    removes(one)
    moved = runs(two)
    check(two, "far", moved)
    check(one, "near", moved)
    removes(two)
    back = runs(one)
    check(two, "far", back)
    check(one, "near", back)
    removes(one)


@KERNEL
def test_a_host_that_hides_and_another_that_is_exposed(one: Host, two: Host) -> None:
    cidrs, addresses = ("10.0.1.100/24", "fd00::100/64"), ("10.0.1.100", "fd00::100")
    macs = [json.loads(host.sh("ip -j link show weave"))[0]["address"] for host in (one, two)]
    one.weave("expose", *cidrs)
    fill(two, "far", macs[0], addresses)
    fill(one, "near", macs[0], addresses)
    one.weave("hide", "--all")
    two.weave("expose", *cidrs)
    check(two, "far", macs[1], addresses)
    check(one, "near", macs[1], addresses)
    two.weave("hide", "--all")
    after = runs(one, *cidrs)  # its address was the other host's
    check(two, "far", after, addresses)
    check(one, "near", after, addresses)
    removes(one)


@KERNEL
def test_an_exposed_host_remembers_nothing_either(one: Host, two: Host) -> None:
    """Here the cache is the bridge's own, where permanent entries of remote containers stand too."""
    two.weave("expose", "10.0.1.99/24", "fd00::99/64")

    def reached() -> bool:
        return all(two.run("ping", "-n", "-c1", "-W1", each, check=False).returncode == 0 for each in ADDRESSES)

    for host in (one, two, two, one):
        mac = runs(host)
        eventually(lambda mac=mac: announced(two, mac), what=f"{mac} is known")
        assert reached() or reached(), two.sh("ip neigh show dev weave")
        removes(host)
    two.weave("hide", "--all")


@KERNEL
def test_a_daemon_that_was_dead_meanwhile(one: Host, two: Host) -> None:
    """It knows nothing of what its containers remember; so it tells them all that it learns."""
    before = runs(one)
    fill(two, "far", before)
    two.kill_daemon()
    removes(one)
    after = runs(one)
    two.weave("launch", "--resume")
    check(two, "far", after)
    removes(one)


@KERNEL
def test_a_cut_during_which_it_changed(net: Underlay, one: Host, two: Host) -> None:
    before = runs(one)
    fill(two, "far", before)
    net.run("ip link set h3 down")
    removes(one)
    after = runs(one)
    net.run("ip link set h3 up")
    check(two, "far", after)
    removes(one)


@KERNEL
def test_no_announcement_leaves_the_host(one: Host, two: Host) -> None:
    """Each host tells its own containers; one that crossed would come twice, and from whoever the network lets in."""
    watcher = two.popen(PYTHON, "-c", WATCH, stdin=subprocess.PIPE)
    assert watcher.stdout is not None and watcher.stdout.readline() == "ready\n"
    mac = runs(one)
    fill(two, "far", mac)  # what was sent before the answers has arrived before them
    out, _ = watcher.communicate("done", timeout=PATIENCE)
    assert "crossed " not in out and "here " in out, out
    removes(one)
