"""Hosts, cables and partitions of a netns lab, on real packets."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from netns_labs import in_lab, pings, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import KILLED_BY_TIMEOUT
from lab.cuts import complete, with_rest
from lab.errors import LabError


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


def test_a_partition_cuts_and_heals_between_its_groups_only() -> None:
    async def check(lab: NetnsLab) -> None:
        assert await pings(lab, "h1", "h3")
        await lab.set_cut(complete(with_rest(list(lab.hosts), [["h1", "h2"]])))
        assert not await pings(lab, "h1", "h3", wait=0.3)
        assert not await pings(lab, "h4", "h2", wait=0.3)
        assert await pings(lab, "h1", "h2")
        assert await pings(lab, "h3", "h4")
        await lab.set_cut(frozenset({("h1", "h2"), ("h2", "h1")}))  # another cut, without a heal in between
        assert await pings(lab, "h1", "h3")
        assert not await pings(lab, "h1", "h2", wait=0.3)
        await lab.set_cut(frozenset())
        assert await pings(lab, "h1", "h2")
        with pytest.raises(LabError, match="no host named h9; hosts: h1, h2, h3, h4"):
            await lab.set_cut(frozenset({("h1", "h9")}))

    in_lab(scenario(4), check)


_LISTEN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9)); s.settimeout(float(sys.argv[1])); print("listening", file=sys.stderr)
try:
    while True:
        print(s.recv(100).decode(), flush=True)
except TimeoutError:
    pass
"""
_SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for address in sys.argv[2:]:
    s.sendto(sys.argv[1].encode(), (address, 9))
"""


def test_a_one_way_cut_drops_one_direction_and_broadcasts_with_it() -> None:
    async def check(lab: NetnsLab) -> None:
        await lab.set_cut(frozenset({("h1", "h2")}))
        listening = {
            name: asyncio.create_task(host.exec(["python3", "-c", _LISTEN, "1.0"])) for name, host in lab.hosts.items()
        }
        for host in lab.hosts.values():
            while "9" not in (await host.exec(["ss", "-Hlun"])).out:
                pass
        await lab.hosts["h1"].exec(["python3", "-c", _SEND, "from h1", "192.168.0.3", "192.168.0.255"])
        await lab.hosts["h2"].exec(["python3", "-c", _SEND, "from h2", "192.168.0.2"])
        heard = {name: (await task).out.split("\n")[:-1] for name, task in listening.items()}
        assert "from h2" in heard["h1"]  # beside its own broadcast
        assert heard["h2"] == []
        assert heard["h3"] == ["from h1"]  # the broadcast

    in_lab(scenario(3), check)


def test_all_networks_of_two_hosts_are_cut() -> None:
    async def check(lab: NetnsLab) -> None:
        second = ["ping", "-n", "-c1", "192.168.1.3"]
        assert (await lab.hosts["h1"].exec([*second, "-W30"])).code == 0
        await lab.set_cut(frozenset({("h1", "h2")}))
        assert not await pings(lab, "h1", "h2", wait=0.3)
        assert (await lab.hosts["h1"].exec([*second, "-W0.3"])).code == 1

    in_lab(scenario(2, subnets=["192.168.0.0/24", "192.168.1.0/24"]), check)


def test_an_underlay_of_ipv6() -> None:
    six = scenario(2, subnets=["fd00::/64"])

    async def check(lab: NetnsLab) -> None:
        assert lab.hosts["h2"].address == "fd00::3"
        assert await pings(lab, "h1", "h2")
        await lab.set_cut(frozenset({("h2", "h1")}))
        assert not await pings(lab, "h1", "h2", wait=0.3)

    in_lab(six, check)


def test_a_host_keeps_its_disk_over_a_power_cut_and_loses_its_processes() -> None:
    async def check(lab: NetnsLab) -> None:
        host = lab.hosts["h2"]
        await host.exec(["sh", "-c", "echo kept > /var/lib/weave/state; echo lost > /run/state; sleep 1000 & exit 0"])
        await host.kill()
        assert not await pings(lab, "h1", "h2", wait=0.3)
        with pytest.raises(LabError, match="h2 is switched off"):
            await host.exec(["true"])
        await lab.set_cut(frozenset({("h2", "h1")}))
        await host.start()
        assert not await pings(lab, "h1", "h2", wait=0.3)  # a cut holds over the restart
        await lab.set_cut(frozenset())
        assert await pings(lab, "h1", "h2")
        assert (await host.exec(["cat", "/var/lib/weave/state"])).out == "kept\n"
        assert (await host.exec(["test", "-e", "/run/state"])).code == 1
        assert "sleep" not in (await host.exec(["ps", "-ax"])).out

    in_lab(scenario(2), check)


def test_a_host_has_a_home_of_its_own() -> None:
    """The machine's own holds start-up files of its shells, and what they write would stay there."""
    mark = f"overlay-lab-test-{os.getpid()}"

    async def check(lab: NetnsLab) -> None:
        one, two = lab.hosts["h1"], lab.hosts["h2"]
        shown = (await one.exec(["sh", "-c", 'cd && pwd && find . -name ".*rc" -maxdepth 1'])).out
        assert shown == "/root\n"
        assert (await one.exec(["sh", "-c", f"touch ~/{mark}"])).code == 0
        assert (await two.exec(["sh", "-c", f"test -e ~/{mark}"])).code == 1
        await one.kill()
        await one.start()
        assert (await one.exec(["sh", "-c", f"test -e ~/{mark}"])).code == 0

    in_lab(scenario(2), check)
    assert os.geteuid() != 0 or not Path("/root", mark).exists()


def test_commands_in_a_host() -> None:
    async def check(lab: NetnsLab) -> None:
        host = lab.hosts["h1"]
        assert (await host.exec(["hostname"])).out == "h1\n"
        result = await host.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])
        assert (result.code, result.out, result.err) == (7, "out\n", "err\n")
        assert (await host.exec(["no-such-command"])).code == 127
        assert (await host.exec(["sh", "-c", "kill -9 $$"])).code == 137
        assert (await host.exec(["sudo", "-E", "VALUE=1", "sh", "-c", "echo $VALUE"])).out == "1\n"
        assert (await host.exec(["sh", "-c", "echo $VALUE"], env={"VALUE": "2"})).out == "2\n"
        assert "192.168.0.3 h2" in (await host.exec(["cat", "/etc/hosts"])).out
        assert (await host.exec(["cat", "/proc/sys/net/ipv4/ip_forward"])).out == "1\n"
        neighbours = json.loads((await host.exec(["ip", "-j", "neighbour"])).out)
        assert [(one["dst"], one["state"]) for one in neighbours] == [("192.168.0.3", ["PERMANENT"])]
        killed = await host.exec(["sh", "-c", "echo begun; sleep 1000 & sleep 1000"], timeout=3)
        assert (killed.code, killed.out) == (KILLED_BY_TIMEOUT, "begun\n")
        assert "sleep" not in (await host.exec(["ps", "-ax"])).out
        many = await asyncio.gather(*(host.exec(["echo", str(number)]) for number in range(50)))
        assert [result.out for result in many] == [f"{number}\n" for number in range(50)]

    in_lab(scenario(2), check)
