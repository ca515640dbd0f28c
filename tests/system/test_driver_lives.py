"""Each request of the drivers of Debian's overlays, on two hosts: what they report while running and when stopped."""

from collections.abc import Sequence

import pytest
from netns_labs import in_lab, scenario
from overlay_programs import require_overlay

from lab.backends.netns.backend import NetnsLab
from lab.contracts.driver import Driver, DriverFactory, DriverPeer, DriverPlace
from lab.overlays.fastd import FastdDriver
from lab.overlays.n2n import N2nDriver
from lab.overlays.nebula import NebulaDriver
from lab.overlays.tinc import TincDriver
from lab.overlays.wireguard import WireGuardDriver

DRIVERS: dict[str, DriverFactory] = {
    "fastd": FastdDriver,
    "n2n": N2nDriver,
    "nebula": NebulaDriver,
    "tinc": TincDriver,
    "wireguard": WireGuardDriver,
}


async def _connected(lab: NetnsLab, make: DriverFactory) -> Sequence[Driver]:
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
