"""What drivers in Python share, on a real host: routes to peers' prefixes, programs in the background."""

import pytest
from netns_labs import in_lab, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.contracts.driver import DriverPlace
from lab.contracts.overlay import CommandFailed
from lab.driven.kit import RouteDriver


def _driver(lab: NetnsLab) -> RouteDriver:
    host = lab.hosts["h1"]
    return RouteDriver(
        host,
        DriverPlace(
            host="h1",
            address=host.address,
            hosts={"h1": host.address},
            directory="/root/overlay",
            subnet="10.32.0.0/12",
            prefix="10.32.0.0/24",
        ),
    )


def test_prefixes_are_routed_and_those_of_peers_that_left_are_not() -> None:
    require_netns()

    async def check(lab: NetnsLab) -> None:
        made = _driver(lab)
        await made.route("over0", {"10.32.1.0/24": ""})  # nothing to do while the device is away
        await made.sh("ip link add over0 type veth peer name over1; ip link set over1 up")
        await made.sh("ip addr add 100.64.0.1/24 dev over0; ip link set over0 up")
        await made.sh("ip route add 10.50.0.0/24 dev over0")
        await made.route("over0", {"10.32.1.0/24": "", "10.32.2.0/24": "100.64.0.2"})
        shown = await made.sh("ip route show dev over0")
        assert "10.32.1.0/24 proto 77" in shown and "10.32.2.0/24 via 100.64.0.2" in shown
        await made.route("over0", {"10.32.2.0/24": "100.64.0.3"})
        shown = await made.sh("ip route show dev over0")
        assert "10.32.1.0/24" not in shown and "10.32.2.0/24 via 100.64.0.3" in shown
        assert "10.50.0.0/24" in shown, "a route that somebody else has made"

    in_lab(scenario(1), check, name="test-kit-routes")


def test_a_program_that_ends_at_its_start_says_why() -> None:
    require_netns()

    async def check(lab: NetnsLab) -> None:
        made = _driver(lab)
        for device in ("", "never0"):
            with pytest.raises(CommandFailed, match="no such key"):
                await made.start("sh -c 'echo no such key >&2; exit 3'", device=device)
        await made.start("sleep 1000")
        await made.end("sleep", "TERM")
        await made.end("sleep", "TERM")  # none is fine
        await made.signal("sleep", "HUP")
        assert "no such key" in await made.logs()

    in_lab(scenario(1), check, name="test-kit-start")
