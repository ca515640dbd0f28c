"""What an impaired link does to real packets in the fabric: loss, rate, MTU; and that they are counted one by one."""

import asyncio
import json

import pytest
from netns_labs import in_lab, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.fabric import features
from lab.fabric.fabric import run
from lab.faults.obstacle import Obstacle
from lab.links import Link, Links

_RECEIVE = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
s.bind(("", 9)); s.settimeout(float(sys.argv[1]))
count = octets = 0; first = last = 0.0
try:
    while True:
        octets += len(s.recv(65536)); count += 1
        last = time.monotonic(); first = first or last
except TimeoutError:
    print(count, octets, last - first)
"""
_SEND = """
import socket, sys, time
address, size, count, segment = sys.argv[1], *map(int, sys.argv[2:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if segment: s.setsockopt(17, 103, segment)  # UDP_SEGMENT
for number in range(count):
    s.sendto(b"x" * size, (address, 9))
    if number % 20 == 19: time.sleep(0.001)
"""


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


async def flow(
    lab: NetnsLab, source: str, target: str, size: int, count: int, segment: int = 0
) -> tuple[int, int, float]:
    """(datagrams, octets, seconds) that arrive of `count` that are sent."""
    receiver = asyncio.create_task(lab.hosts[target].exec(["python3", "-c", _RECEIVE, "1.5"]))
    while ":9 " not in (await lab.hosts[target].exec(["ss", "-Hlun"])).out:
        pass
    words = [lab.hosts[target].address, str(size), str(count), str(segment)]
    result = await lab.hosts[source].exec(["python3", "-c", _SEND, *words])
    assert result.code == 0, result.err
    datagrams, octets, seconds = (await receiver).out.split()
    return int(datagrams), int(octets), float(seconds)


async def crossed(port: str) -> int:
    """Packets that came into the fabric at a port."""
    (link,) = json.loads(await run("ip", "-j", "-s", "link", "show", port))
    return int(link["stats64"]["rx"]["packets"])


def test_loss_hits_its_direction_and_nobody_else() -> None:
    links = Links(pairs={("h1", "h2"): Link(loss=0.2)})

    async def check(lab: NetnsLab) -> None:
        count, _, _ = await flow(lab, "h1", "h2", 100, 4000)
        assert 3000 < count < 3400  # 3200 expected, 25 is one standard deviation
        assert (await flow(lab, "h2", "h1", 100, 1000))[0] == 1000
        assert (await flow(lab, "h1", "h3", 100, 1000))[0] == 1000

    in_lab(scenario(3, links), check)


def test_super_packets_of_offloads_are_counted_as_the_packets_they_hold() -> None:
    links = Links(pairs={("h1", "h2"): Link(loss=0.2)})

    async def check(lab: NetnsLab) -> None:
        before = await crossed("p0.0")
        count, _, _ = await flow(lab, "h1", "h2", 40_000, 100, segment=1000)
        assert await crossed("p0.0") - before >= 4000
        assert 3000 < count < 3400
        before = await crossed("p2.0")  # a host without impaired links keeps its offloads
        await flow(lab, "h3", "h4", 40_000, 100, segment=1000)
        assert await crossed("p2.0") - before < 200

    in_lab(scenario(4, links), check)


def test_a_link_with_a_small_mtu_swallows_what_is_larger() -> None:
    links = Links(pairs={("h1", "h2"): Link(mtu=1200)})

    async def check(lab: NetnsLab) -> None:
        assert (await flow(lab, "h1", "h2", 1172, 50))[0] == 50  # 28 octets of headers make 1200
        assert (await flow(lab, "h1", "h2", 1173, 50))[0] == 0
        assert (await flow(lab, "h1", "h2", 40_000, 10, segment=1173))[0] == 10  # the last, short segment of each
        assert (await flow(lab, "h2", "h1", 1400, 50))[0] == 50

    in_lab(scenario(2, links), check)


def test_a_rate_holds_for_its_link_alone() -> None:
    if not features.check("htb").found:
        pytest.skip(f"this kernel has no htb: {features.check('htb').remedy}")
    links = Links(pairs={("h1", "h2"): Link(rate=8_000_000)})

    async def check(lab: NetnsLab) -> None:
        _, octets, seconds = await flow(lab, "h1", "h2", 1000, 1500)
        assert 0.75 < octets * 1042 / 1000 * 8 / seconds / 8_000_000 < 1.1
        _, _, seconds = await flow(lab, "h3", "h2", 1000, 1500)
        assert seconds < 1  # the same port of exit, another link

    in_lab(scenario(3, links), check)


def test_a_delay_is_added_in_its_direction() -> None:
    if not features.check("netem").found:
        pytest.skip(f"this kernel has no netem: {features.check('netem').remedy}")
    links = Links(pairs={("h1", "h2"): Link(delay=50_000_000)})

    async def check(lab: NetnsLab) -> None:
        out = (await lab.hosts["h1"].exec(["ping", "-n", "-q", "-c3", "-i0.2", lab.hosts["h2"].address])).out
        fastest = float(out.rsplit("=", 1)[1].split("/")[0])
        assert 50 <= fastest < 70

    in_lab(scenario(2, links), check)


def test_obstacles_drop_what_they_name_and_count_wire_packets() -> None:
    async def check(lab: NetnsLab) -> None:
        await lab.set_obstacle(1, Obstacle(("h1", "h2"), protocol="udp", port=9))
        assert (await flow(lab, "h1", "h2", 100, 50))[0] == 0
        assert (await flow(lab, "h1", "h3", 100, 50))[0] == 50
        await lab.set_obstacle(2, Obstacle(("h1", "h2", "h3"), mtu=1200))
        await lab.set_obstacle(1, None)
        assert (await flow(lab, "h1", "h2", 1172, 50))[0] == 50  # 28 octets of headers make 1200
        assert (await flow(lab, "h1", "h2", 40_000, 10, segment=1173))[0] == 10  # the last, short segment of each
        await lab.set_obstacle(2, None)
        before = await crossed("p0.0")
        assert (await flow(lab, "h1", "h2", 40_000, 100, segment=1173))[0] == 3500
        assert await crossed("p0.0") - before < 200, "offloads are back"

    in_lab(scenario(3, Links()), check)
