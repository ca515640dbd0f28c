"""A topology on real packets: routers in namespaces, several hops, delays of cables, faults of cables and of hosts."""

import re

import pytest
from netns_labs import in_lab, require_netns

from lab.backends.netns.backend import NetnsBackend, NetnsLab
from lab.fabric import features
from lab.fabric.routed import refusal
from lab.links.changes import LinkChange
from lab.links.topology import EdgeChange
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve

FOUR = """
version: 1
overlay: none
underlay:
  topology:
    cables:
      - {from: A, to: B}
      - {from: B, to: C, CABLE}
      - {from: C, to: D}
      - {from: A, to: D, weight: 9}
  hosts: {a: {at: A}, b: {at: B}, d: {at: D}, e: {at: A}}
timeline: [wait: 1s]
"""


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


def four(cable: str = "loss: 0%") -> Resolved:
    text = FOUR.replace("CABLE", cable)
    return resolve(parse(re.sub(r"(to: [BCD]|loss: 0%|delay: 30ms)\}", r"\1, weight: 1}", text)), name="four")


async def hops(lab: NetnsLab, sender: str, receiver: str) -> int | None:
    """Routers between two hosts, by the TTL with which a ping arrives; None: it does not."""
    result = await lab.hosts[sender].exec(["ping", "-c", "1", "-W", "5", lab.hosts[receiver].address])
    found = re.search(r"ttl=(\d+)", result.out)
    return 64 - int(found[1]) if found else None


async def gone(lab: NetnsLab, sender: str, receiver: str) -> bool:
    """Whether three pings in a row get lost."""
    result = await lab.hosts[sender].exec(["ping", "-c", "3", "-i", "0.2", "-W", "1", lab.hosts[receiver].address])
    return " 0 received" in result.out


def test_packets_go_over_the_routers_of_the_shortest_path() -> None:
    pairs = (("B", "C"), ("C", "B"))

    async def check(lab: NetnsLab) -> None:
        assert [await hops(lab, *ends) for ends in (("a", "d"), ("d", "a"), ("b", "d"), ("a", "e"))] == [4, 4, 3, 0]
        await lab.set_cable(1, EdgeChange(pairs, down=True))
        assert await hops(lab, "a", "d") == 2 and await hops(lab, "b", "d") == 3, "around the broken cable"
        await lab.set_cable(1, EdgeChange(pairs, down=True, reroute=False))
        assert await gone(lab, "a", "d") and await hops(lab, "a", "b") == 2, "static routes lead into it"
        await lab.set_cable(1, None)
        assert await hops(lab, "a", "d") == 4

    in_lab(four(), check)


def test_hosts_of_different_nodes_are_cut_and_impaired_as_any_others() -> None:
    async def check(lab: NetnsLab) -> None:
        await lab.set_cut(frozenset({("a", "d"), ("d", "a"), ("a", "e"), ("e", "a")}))
        assert await gone(lab, "a", "d") and await gone(lab, "a", "e")
        assert await hops(lab, "e", "d") == 4 and await hops(lab, "a", "b") == 2
        await lab.set_cable(3, EdgeChange((("A", "B"), ("B", "A")), down=True))
        await lab.set_cut(frozenset())
        assert await hops(lab, "a", "d") == 2, "a cable stays down when hosts are joined again"
        await lab.set_cable(3, None)
        await lab.set_link(5, LinkChange((("a", "d"),), {"loss": 1.0}))
        assert await gone(lab, "a", "d") and await hops(lab, "e", "d") == 4
        await lab.set_link(5, None)
        assert await hops(lab, "a", "d") == 4

    in_lab(four(), check)


def test_a_cable_delays_what_crosses_it() -> None:
    if not features.check("relay").found and not features.check("netem").found:
        pytest.skip("nothing here holds packets back")

    async def least(lab: NetnsLab, receiver: str) -> float:
        result = await lab.hosts["a"].exec(["ping", "-c", "5", "-i", "0.2", lab.hosts[receiver].address])
        found = re.search(r"= ([\d.]+)/", result.out)
        assert found, result.out
        return float(found[1])

    async def check(lab: NetnsLab) -> None:
        assert await least(lab, "d") >= 60 > 30 > 0, "30 ms there and back"
        await lab.set_cable(1, EdgeChange((("B", "C"), ("C", "B")), {"delay": 80_000_000}))
        assert await least(lab, "d") >= 160
        await lab.set_cable(1, None)

    in_lab(four("delay: 30ms"), check)


def test_what_a_machine_does_not_carry_is_refused_with_numbers() -> None:
    scenario = four()
    assert scenario.topology is not None
    assert not refusal(scenario.topology, ["192.168.0.2"], 1 << 30)
    assert "4 routers and 4 cables would take about 3 MiB" in refusal(scenario.topology, ["192.168.0.2"], 1 << 20)
    assert "IPv4 only" in refusal(scenario.topology, ["fd00::2"], 1 << 30)
    assert not NetnsBackend().refuse(scenario)
