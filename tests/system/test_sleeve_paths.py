"""The userspace tunnel on real kernels: it takes over when VXLAN is blocked, and gives back when it is not."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, Underlay, eventually, underlay

BLOCK = "nft 'table bridge blocked { chain forward { type filter hook forward priority -100; udp dport 6784 drop; }; }'"
UNBLOCK = "nft delete table bridge blocked"


@pytest.fixture(scope="module")
def net() -> Iterator[Underlay]:
    with underlay() as made:
        for number, name in ((2, "one"), (3, "two")):
            made.host(name, number).weave("launch")
        made.hosts["one"].weave("connect", "192.168.0.3")
        made.hosts["one"].weave("run", "10.0.1.1/24", "--name", "left", IMAGE, "left")
        made.hosts["two"].weave("run", "10.0.1.2/24", "--name", "right", IMAGE, "right")
        eventually(lambda: made.hosts["one"].pings("left", "10.0.1.2"), what="ping left -> right")
        yield made


def path(host: Host) -> str:
    (found,) = json.loads(host.weave("report").stdout)["paths"].values()
    return str(found["path"])


def test_vxlan_blocked_and_unblocked(net: Underlay) -> None:
    one, two = net.hosts["one"], net.hosts["two"]
    assert path(one) == "fastdp"
    net.run(BLOCK)
    began = time.monotonic()
    eventually(lambda: one.pings("left", "10.0.1.2"), what="the tunnel carries")
    print(f"again after {time.monotonic() - began:.2f} s")
    assert path(one) == path(two) == "sleeve"
    assert "sleeve" in one.weave("status", "connections").stdout
    mtu = json.loads(one.weave("report").stdout)["driver"]["mtu"]
    full = one.inside("left", "ping", "-c1", "-W30", "-M", "do", "-s", str(mtu - 28), "10.0.1.2")
    assert full.returncode == 0, full.stdout
    answer = one.inside("left", "curl", "-sS", "--max-time", "5", "http://10.0.1.2:8080/").stdout
    assert answer.startswith("Hi! I'm [right] service"), answer
    net.run(UNBLOCK)
    eventually(lambda: path(one) == path(two) == "fastdp", what="the kernel carries again")
    assert one.pings("left", "10.0.1.2", wait=30)
