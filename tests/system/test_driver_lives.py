"""Each request of the drivers of Debian's overlays, on two hosts: what they report while running and when stopped."""

import asyncio
from collections.abc import Sequence

import pytest
from netns_labs import in_lab, scenario
from overlay_programs import require_overlay

from lab.backends.netns.backend import NetnsLab
from lab.contracts.driver import Driver, DriverFactory, DriverPeer, DriverPlace
from lab.overlays.babel import BabelDriver
from lab.overlays.bgp_evpn import EvpnDriver
from lab.overlays.fastd import FastdDriver
from lab.overlays.n2n import N2nDriver
from lab.overlays.nebula import NebulaDriver
from lab.overlays.tinc import TincDriver
from lab.overlays.wireguard import WireGuardDriver
from lab.overlays.yggdrasil import YggdrasilDriver

DRIVERS: dict[str, DriverFactory] = {
    "babel": BabelDriver,
    "bgp_evpn": EvpnDriver,
    "fastd": FastdDriver,
    "n2n": N2nDriver,
    "nebula": NebulaDriver,
    "tinc": TincDriver,
    "wireguard": WireGuardDriver,
    "yggdrasil": YggdrasilDriver,
}


async def _connected(lab: NetnsLab, make: DriverFactory, **options: int) -> Sequence[Driver]:
    """A driver on each host, launched and connected."""
    hosts = {name: host.address for name, host in lab.hosts.items()}
    made, peers = [], []
    for number, (name, host) in enumerate(lab.hosts.items()):
        prefix = f"10.32.{number}.0/24"
        place = DriverPlace(
            host=name,
            address=host.address,
            hosts=hosts,
            directory="/root/overlay",
            subnet="10.32.0.0/12",
            prefix=prefix,
            options=options,
        )
        driver = make(host, place)
        hello = await driver.hello()
        assert hello.version and await driver.hello() == hello, "keys are made once"
        made.append(driver)
        peers.append(DriverPeer(name=name, address=host.address, prefix=prefix, card=hello.card))
    for driver in made:
        await driver.launch()
    for number, driver in enumerate(made):
        await driver.connect([peers[1 - number]])
    return made


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.turn(at % 4)) for at, name in enumerate(DRIVERS)]
)
def test_it_runs_ends_and_runs_again(name: str) -> None:
    require_overlay(name)

    async def check(lab: NetnsLab) -> None:
        first, second = await _connected(lab, DRIVERS[name])
        assert (await first.status()).running and (await second.status()).running
        if (await first.hello()).daemon:
            await first.kill()
            assert not (await first.status()).running
            await first.launch()
        await first.stop()
        assert not (await first.status()).running
        await first.stop()  # nothing runs: fine
        await first.launch()
        assert (await first.status()).running and isinstance(await first.logs(), str)

    in_lab(scenario(2), check, name=f"test-driver-{name}", within=240)


@pytest.mark.turn(0)
def test_wireguard_says_whom_it_reaches() -> None:
    require_overlay("wireguard")

    async def check(lab: NetnsLab) -> None:
        first, second = await _connected(lab, WireGuardDriver)
        assert (await first.status()).peers == ()
        await lab.hosts["h2"].exec(["ip", "addr", "add", "10.32.1.1/32", "dev", "lo"])
        await lab.hosts["h1"].exec(["ip", "addr", "add", "10.32.0.1/32", "dev", "lo"])
        asked = ["ping", "-c", "1", "-w", "50", "-I", "10.32.0.1", "10.32.1.1"]
        assert (await lab.hosts["h1"].exec(asked, timeout=60.0)).code == 0
        assert (await first.status()).peers == ("h2",) and (await second.status()).peers == ("h1",)

    in_lab(scenario(2), check, name="test-driver-wireguard-peers", within=240)


async def _reaches(driver: Driver, *peers: str) -> None:
    """Wait until a driver names exactly these."""
    async with asyncio.timeout(120):
        while (await driver.status()).peers != peers:  # noqa: ASYNC110  # only the overlay knows when
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("babel", {"hello": 1}, marks=pytest.mark.turn(1)),
        pytest.param("bgp_evpn", {}, marks=pytest.mark.turn(2)),
        pytest.param("yggdrasil", {}, marks=pytest.mark.turn(3)),
    ],
)
def test_routers_say_whom_they_reach(name: str, options: dict[str, int]) -> None:
    require_overlay(name)

    async def check(lab: NetnsLab) -> None:
        first, second = await _connected(lab, DRIVERS[name], **options)
        await _reaches(first, "h2")
        await _reaches(second, "h1")
        await second.kill()
        await first.connect([])
        await _reaches(first)

    in_lab(scenario(2), check, name=f"test-driver-{name}-peers", within=240)
