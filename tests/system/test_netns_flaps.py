"""Pulled cables on real hosts: the host sees that its interface has no carrier, also one that boots meanwhile."""

import asyncio

from netns_labs import in_lab, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import Host

TWO_NETWORKS = ("192.168.0.0/24", "192.168.1.0/24")


async def links(host: Host) -> dict[str, bool]:
    """Interface -> whether it has a carrier."""
    shown = (await host.exec(["ip", "-o", "link", "show", "up"])).out.splitlines()
    found = {line.split(": ")[1].partition("@")[0]: "NO-CARRIER" not in line for line in shown}
    return {name: carrier for name, carrier in found.items() if name.startswith("eth")}


async def shows(host: Host, wanted: dict[str, bool]) -> None:
    """Wait until it is so: the kernel tells of carriers a moment later."""
    async with asyncio.timeout(30):
        while await links(host) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def pings(host: Host, address: str) -> bool:
    return not (await host.exec(["ping", "-c1", "-W1", address])).code


async def answers(host: Host, address: str) -> None:
    async with asyncio.timeout(30):
        while not await pings(host, address):
            pass


def test_a_host_sees_its_cable_pulled_and_plugged_in() -> None:
    require_netns()

    async def check(lab: NetnsLab) -> None:
        one, two, three = lab.hosts.values()
        await answers(one, "192.168.0.3")
        await lab.set_unplugged(1, frozenset({("h2", "net0")}))
        await shows(two, {"eth0": False, "eth1": True})
        assert not await pings(one, "192.168.0.3") and not await pings(two, "192.168.0.2")
        await answers(one, "192.168.1.3")
        await answers(three, "192.168.0.2")
        assert await links(one) == {"eth0": True, "eth1": True}
        # Another one pulls both: the one of the first is in when neither holds it.
        await lab.set_unplugged(2, frozenset({("h2", "net0"), ("h2", "net1")}))
        await shows(two, {"eth0": False, "eth1": False})
        await lab.set_unplugged(1, frozenset())
        await shows(two, {"eth0": False, "eth1": False})
        await lab.set_unplugged(2, frozenset())
        await shows(two, {"eth0": True, "eth1": True})
        await answers(one, "192.168.0.3")
        await answers(two, "192.168.1.2")

    in_lab(scenario(3, subnets=TWO_NETWORKS), check)


def test_a_host_that_is_off_finds_its_cable_as_it_is_by_then() -> None:
    require_netns()

    async def check(lab: NetnsLab) -> None:
        one, two = lab.hosts.values()
        await two.kill()
        await lab.set_unplugged(1, frozenset({("h2", "net0")}))
        await two.start()
        await shows(two, {"eth0": False})
        await two.kill()
        await lab.set_unplugged(1, frozenset())
        await two.start()
        await shows(two, {"eth0": True})
        await answers(one, "192.168.0.3")

    in_lab(scenario(2), check)
