"""What an impaired link does to real packets in the fabric: loss, rate, MTU; and that they are counted one by one."""

import json

import pytest
from link_flows import flow, keeps_rate
from netns_labs import in_lab, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import Obstacle
from lab.fabric import features
from lab.fabric.fabric import run
from lab.links import Link, Links


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


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
        assert (await flow(lab, "h1", "h2", 1172, 50))[0] == 50  # 28 bytes of headers make 1200
        assert (await flow(lab, "h1", "h2", 1173, 50))[0] == 0
        assert (await flow(lab, "h1", "h2", 40_000, 10, segment=1173))[0] == 10  # the last, short segment of each
        assert (await flow(lab, "h2", "h1", 1400, 50))[0] == 50

    in_lab(scenario(2, links), check)


def test_a_rate_holds_for_its_link_alone() -> None:
    if not features.check("htb").found:
        pytest.skip(f"this kernel has no htb: {features.check('htb').remedy}")
    links = Links(pairs={("h1", "h2"): Link(rate=8_000_000)})

    async def check(lab: NetnsLab) -> None:
        def held(rate: float) -> bool:
            return 0.75 < rate / 8_000_000 < 1.1

        assert await keeps_rate(lab, "h1", "h2", 1000, 1500, held, headers=42)
        # The same port of exit, another link.
        assert await keeps_rate(lab, "h3", "h2", 1000, 1500, lambda rate: rate > 1.5 * 8_000_000)

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
        assert (await flow(lab, "h1", "h2", 1172, 50))[0] == 50  # 28 bytes of headers make 1200
        assert (await flow(lab, "h1", "h2", 40_000, 10, segment=1173))[0] == 10  # the last, short segment of each
        await lab.set_obstacle(2, None)
        before = await crossed("p0.0")
        assert (await flow(lab, "h1", "h2", 40_000, 100, segment=1173))[0] == 3500
        assert await crossed("p0.0") - before < 200, "offloads are back"

    in_lab(scenario(3, Links()), check)
