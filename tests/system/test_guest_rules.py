"""The rules that machines get inside, tried where machines are namespaces: cuts, loss, rates, MTU, a boot in between.

The lab's own fabric between these hosts lets everything pass; what is dropped here is dropped by the receiving host.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from link_flows import flow, keeps_rate
from netns_labs import in_lab, pings, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.backends.real.fabric_lab import underlay_of
from lab.errors import LabError
from lab.fabric import features
from lab.fabric.guests import GuestFabric
from lab.links import Link, Links


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


Check = Callable[[NetnsLab, GuestFabric], Awaitable[None]]


def with_guests(check: Check, *, hosts: int = 2, links: Links | None = None, networks: int = 1) -> None:
    """Let the check have hosts that hold their rules themselves."""
    subnets = [f"192.168.{number}.0/24" for number in range(networks)]
    perfect = scenario(hosts, subnets=subnets)

    async def work(lab: NetnsLab) -> None:
        async def shell(host: str, argv: Sequence[str]) -> str:
            result = await lab.hosts[host].exec(argv)
            if result.code:
                raise LabError(result.err)
            return result.out

        underlay = underlay_of(scenario(hosts, links, subnets))
        fabric = GuestFabric(underlay, shell)
        await asyncio.gather(*(fabric.plug(host) for host in lab.hosts))
        await check(lab, fabric)

    in_lab(perfect, work)


def test_a_cut_is_one_way_and_takes_no_other_host() -> None:
    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        assert await pings(lab, "h1", "h2")
        await fabric.set_cut({("h1", "h2")})
        assert not await pings(lab, "h1", "h2", wait=0.2)
        assert await pings(lab, "h1", "h3") and await pings(lab, "h3", "h2")
        count, _, _ = await flow(lab, "h2", "h1", 100, 200)
        assert count == 200, "the other direction carries what needs no answer"
        assert (await flow(lab, "h1", "h2", 100, 200))[0] == 0
        await fabric.set_cut({("h3", "h2")})
        assert await pings(lab, "h1", "h2") and not await pings(lab, "h3", "h2", wait=0.2)
        await fabric.set_cut(())
        assert await pings(lab, "h3", "h2")

    with_guests(check, hosts=3)


def test_a_cut_takes_every_network_that_two_hosts_share_and_arp_too() -> None:
    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        await fabric.set_cut({("h1", "h2"), ("h2", "h1")})
        for host in ("h1", "h2"):  # what the lab put there, and what they had heard of each other before
            await lab.hosts[host].exec(["ip", "neighbour", "flush", "nud", "all"])
        own = {one.mac for one in fabric.interfaces["h1"]}

        async def heard() -> set[str]:
            """The addresses of h1's that h2 has learned. Not all entries: the lab's bridges solicit routers by IPv6."""
            states = [word for state in ("reachable", "stale", "delay", "probe") for word in ("nud", state)]
            known = await lab.hosts["h2"].exec(["ip", "neighbour", "show", *states])
            return own & set(known.out.split())

        for subnet in ("192.168.0", "192.168.1"):
            result = await lab.hosts["h1"].exec(["ping", "-n", "-c1", "-W0.3", f"{subnet}.3"])
            assert result.code, "cut, but it answered"
        assert not await heard(), "the request was heard"
        await fabric.set_cut(())
        for subnet in ("192.168.0", "192.168.1"):
            assert (await lab.hosts["h1"].exec(["ping", "-n", "-c1", "-W30", f"{subnet}.3"])).code == 0
        assert await heard() == own, "what a request leaves behind"

    with_guests(check, networks=2)


def test_a_host_that_starts_again_is_cut_again() -> None:
    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        await fabric.unplug("h2")
        await lab.hosts["h2"].kill()
        await fabric.set_cut({("h1", "h2")})
        await lab.hosts["h2"].start()
        assert await pings(lab, "h1", "h2"), "nothing is cut in a machine that has just booted"
        await fabric.plug("h2")
        assert not await pings(lab, "h1", "h2", wait=0.2)
        await fabric.set_cut(())
        assert await pings(lab, "h1", "h2")

    with_guests(check)


def test_loss_hits_its_direction_packet_by_packet() -> None:
    links = Links(pairs={("h1", "h2"): Link(loss=0.2)})

    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        count, _, _ = await flow(lab, "h1", "h2", 40_000, 100, 1000)
        assert 3000 < count < 3400, "of 4,000 in super-packets; 3,200 expected, 25 is one standard deviation"
        assert (await flow(lab, "h2", "h1", 100, 1000))[0] == 1000
        assert (await flow(lab, "h1", "h3", 100, 1000))[0] == 1000

    with_guests(check, hosts=3, links=links)


def test_a_rate_is_kept_for_one_receiver_and_nobody_else() -> None:
    if not features.check("tbf").found:
        pytest.skip("this kernel has no tbf")
    rate = 4_000_000
    links = Links(pairs={("h1", "h2"): Link(rate=rate)})

    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        assert await keeps_rate(lab, "h1", "h2", 958, 600, lambda found: 0.8 * rate < found < 1.1 * rate)
        assert await keeps_rate(lab, "h1", "h3", 958, 600, lambda found: found > 1.5 * rate)

    with_guests(check, hosts=3, links=links)


def test_an_obstacle_stops_what_is_too_big_or_forbidden_and_goes_away() -> None:
    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        for host in ("h1", "h2"):
            for command in fabric.limit(host, True):
                assert (await lab.hosts[host].exec(command)).code == 0
        await fabric.set_obstacles([(("h1", "h2"), "", 0, 1200)])
        assert (await flow(lab, "h1", "h2", 1173, 50))[0] == 0
        assert (await flow(lab, "h1", "h2", 1172, 50))[0] == 50
        assert (await flow(lab, "h1", "h2", 12_000, 10, 1000))[0] == 120, "super-packets of small ones pass"
        await fabric.set_obstacles([(("h1", "h2"), "udp", 9, 0)])
        assert (await flow(lab, "h1", "h2", 100, 50))[0] == 0 and await pings(lab, "h1", "h2")
        await fabric.set_obstacles([])
        assert (await flow(lab, "h1", "h2", 1472, 50))[0] == 50

    with_guests(check)


def test_a_machine_without_the_cards_of_its_scenario_is_told_apart() -> None:
    async def check(lab: NetnsLab, fabric: GuestFabric) -> None:
        await lab.hosts["h1"].exec(["ip", "link", "set", "lab0", "address", "02:00:00:00:00:01"])
        with pytest.raises(LabError, match=r"no network card has the address 02:4c:c0:a8:00:02, there are: .*02:00:00"):
            await fabric.plug("h1")

    with_guests(check)
