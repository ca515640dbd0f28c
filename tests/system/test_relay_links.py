"""What the lab's relay does to real packets where the kernel has no queue for it, and what happens when it is killed.

The relay is forced, so that machines with netem test it too.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from link_flows import flow, keeps_rate
from netns_labs import in_lab, pings, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.backends.netns.link_check import LinkFlow, measure_links
from lab.errors import LabError
from lab.fabric.mechanisms import SWITCH
from lab.fabric.relay.orders import DirectionCounts
from lab.links import Burst, Link, Links
from lab.links.changes import LinkChange
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

MS = 1_000_000
_LISTEN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9)); s.settimeout(60)
for _ in range(int(sys.argv[1])): print(s.recv(100).decode(), flush=True)
"""
_SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(sys.argv[1].encode(), (sys.argv[2], 9))
"""


@pytest.fixture(autouse=True)
def _possible(monkeypatch: pytest.MonkeyPatch) -> None:
    require_netns()
    monkeypatch.setenv(SWITCH, "relay")


async def fastest(lab: NetnsLab, source: str, target: str) -> float:
    """The least round trip of some, in milliseconds."""
    words = ["ping", "-n", "-q", "-c5", "-i0.05", lab.hosts[target].address]
    out = (await lab.hosts[source].exec(words)).out
    return float(out.rsplit("=", 1)[1].split("/")[0])


async def counted(lab: NetnsLab, enough: Callable[[DirectionCounts], bool]) -> DirectionCounts:
    """What the first relayed direction did, once it is enough."""
    async with asyncio.timeout(60):
        while True:
            found = await lab.link_counts()
            assert found is not None
            if enough(found.counts[0]):
                return found.counts[0]


async def listening(lab: NetnsLab, host: str, number: int) -> "asyncio.Task[Any]":
    """A task that prints datagrams as they come; it is ready."""
    task = asyncio.create_task(lab.hosts[host].exec(["python3", "-c", _LISTEN, str(number)], timeout=90))
    while ":9 " not in (await lab.hosts[host].exec(["ss", "-Hlun"])).out:
        pass
    return task


async def say(lab: NetnsLab, source: str, text: str, address: str) -> None:
    assert (await lab.hosts[source].exec(["python3", "-c", _SEND, text, address])).code == 0


def relay_pid() -> int:
    """Of the relay of the lab that this process is in."""
    comms = {int(path.parent.name): path.read_text() for path in Path("/proc").glob("[0-9]*/comm")}
    (found,) = [pid for pid, comm in comms.items() if comm == "lab-relay\n"]
    return found


def test_delay_loss_copies_and_flipped_bits_hit_their_direction_and_nobody_else() -> None:
    async def check(lab: NetnsLab) -> None:
        assert await fastest(lab, "h1", "h2") >= 200
        assert await fastest(lab, "h1", "h3") < 200
        done = await counted(lab, lambda found: found.packets >= 5)
        assert done.held_p50 >= 200 * MS and done.lost == 0
        everything = (("h1", "h2"),)

        await lab.set_link(1, LinkChange(everything, {"delay": MS, "loss": 0.2}))
        count, _, _ = await flow(lab, "h1", "h2", 100, 2000)
        assert 1500 < count < 1700  # 1600 expected, 18 is one standard deviation
        done = await counted(lab, lambda found: found.packets >= 2000)
        others = done.packets - 2000  # ARP between them, which the link may lose too
        assert 0 <= done.lost - (2000 - count) <= others
        assert (await flow(lab, "h2", "h1", 100, 300))[0] == 300
        assert (await flow(lab, "h1", "h3", 100, 300))[0] == 300

        await lab.set_link(2, LinkChange(everything, {"loss": 0.0, "duplicate": 0.5}))
        assert 2800 < (await flow(lab, "h1", "h2", 100, 2000))[0] < 3200
        burst = Burst(enter=0.1, leave=0.4)  # a fifth of all packets
        await lab.set_link(2, LinkChange(everything, {"loss": 0.0, "burst": burst}))
        assert 1350 < (await flow(lab, "h1", "h2", 100, 2000))[0] < 1800

        await lab.set_link(2, LinkChange(everything, {"loss": 0.0, "corrupt": 1.0}))
        assert (await flow(lab, "h1", "h2", 100, 200))[0] == 0  # no checksum is right any more
        snmp = (await lab.hosts["h2"].exec(["cat", "/proc/net/snmp"])).out.splitlines()
        names, values = (line.split() for line in snmp if line.startswith("Udp:"))
        assert int(values[names.index("InCsumErrors")]) > 100, "the checksums of most were found wrong"

    in_lab(scenario(3, Links(pairs={("h1", "h2"): Link(delay=200 * MS)})), check)


def test_a_rate_a_small_mtu_and_super_packets() -> None:
    async def check(lab: NetnsLab) -> None:
        def held(rate: float) -> bool:
            return 0.75 < rate / 8_000_000 < 1.1

        assert await keeps_rate(lab, "h1", "h2", 1000, 1500, held, headers=28)
        assert await keeps_rate(lab, "h3", "h2", 1000, 1500, lambda rate: rate > 1.5 * 8_000_000)
        await lab.set_link(1, LinkChange((("h1", "h2"),), {"rate": 0, "mtu": 1200}))
        assert (await flow(lab, "h1", "h2", 1172, 50))[0] == 50  # 28 bytes of headers make 1200
        assert (await flow(lab, "h1", "h2", 1173, 50))[0] == 0
        await lab.set_link(1, LinkChange((("h1", "h2"),), {"rate": 0, "loss": 0.2}))
        count, _, _ = await flow(lab, "h1", "h2", 40_000, 50, segment=1000)
        assert 1450 < count < 1750, "1600 of 2000 expected: packets are lost one by one, not as they left the host"

    in_lab(scenario(3, Links(pairs={("h1", "h2"): Link(rate=8_000_000)})), check)


def test_each_copy_of_a_broadcast_goes_its_own_way_and_a_cut_takes_what_is_under_way() -> None:
    pair = (("h1", "h2"),)

    async def check(lab: NetnsLab) -> None:
        near = await listening(lab, "h3", 2)
        await say(lab, "h1", "first", "192.168.0.255")
        await say(lab, "h1", "second", lab.hosts["h3"].address)
        assert (await near).out == "first\nsecond\n"  # the other link is slow, not this one
        await counted(lab, lambda found: found.packets >= 1)
        for seconds in (1, 5, 25):  # until the machine is quick enough to cut before the packet has arrived
            await lab.set_cut(frozenset())
            await lab.set_link(1, LinkChange(pair, {"delay": seconds * 1000 * MS}))
            await say(lab, "h1", "lost", lab.hosts["h2"].address)
            await lab.set_cut(frozenset({("h1", "h2")}))
            done = await counted(lab, lambda found: bool(found.cut or found.held_p50))
            if done.cut:
                break
        assert done.cut
        await lab.set_link(1, LinkChange(pair, {"delay": 1}))
        assert not await pings(lab, "h1", "h2", wait=0.3), "a cut holds when a link changes"
        await lab.set_cut(frozenset({("h2", "h1")}))
        far = await listening(lab, "h2", 1)
        await say(lab, "h1", "third", "192.168.0.255")
        assert (await far).out == "third\n"
        assert not await pings(lab, "h1", "h2", wait=0.3)
        await lab.set_cut(frozenset())
        assert await pings(lab, "h1", "h2")

    in_lab(scenario(3, Links(pairs={("h1", "h2"): Link(delay=3_600_000 * MS)})), check)


def test_what_is_under_way_survives_a_change_and_a_host_that_boots_again_is_still_far() -> None:
    async def check(lab: NetnsLab) -> None:
        heard = await listening(lab, "h2", 3)
        for text, delay in (("slow", 2000), ("faster", 500)):
            await lab.set_link(1, LinkChange((("h1", "h2"),), {"delay": delay * MS}))
            await say(lab, "h1", text, lab.hosts["h2"].address)
            await counted(lab, lambda found: found.packets >= 1)
        await lab.set_link(1, None)
        await say(lab, "h1", "at once", lab.hosts["h2"].address)
        assert sorted((await heard).out.splitlines()) == ["at once", "faster", "slow"]
        await lab.set_link(3, LinkChange((("h1", "h2"), ("h2", "h1")), {"delay": 20 * MS}))
        await lab.hosts["h2"].kill()
        assert not await pings(lab, "h1", "h2", wait=0.3)
        await lab.hosts["h2"].start()
        assert await fastest(lab, "h1", "h2") >= 40
        with pytest.raises(LabError, match="no host named h9; hosts: h1, h2"):
            await lab.set_link(4, LinkChange((("h1", "h9"),), {"delay": MS}))

    in_lab(scenario(2), check)


ROUTED = """
version: 1
underlay:
  networks: {home: {subnet: 10.1.0.0/24}, wan: {subnet: 192.168.0.0/24}}
  hosts: {inside: {network: home}, outside: {network: wan}, other: {network: wan}}
  routers: {gateway: {networks: [home, wan], nat: home}}
  links: {"inside <-> outside": {delay: 100ms}}
overlay: none
timeline: [{wait: 1s}]
"""


def test_links_over_a_router_that_hides_one_side() -> None:
    async def check(lab: NetnsLab) -> None:
        assert await fastest(lab, "inside", "outside") >= 200
        assert await fastest(lab, "inside", "other") < 200
        await lab.set_cut(frozenset({("outside", "inside")}))
        assert not await pings(lab, "inside", "outside", wait=0.3)
        await lab.set_cut(frozenset())
        await lab.set_link(1, LinkChange((("inside", "outside"),), {"loss": 1.0}))
        assert not await pings(lab, "inside", "outside", wait=0.3)
        await lab.set_link(1, None)
        assert await pings(lab, "inside", "outside")

    in_lab(resolve(parse(ROUTED)), check)


def test_a_relay_that_is_killed_is_named_and_its_links_carry_nothing() -> None:
    async def check(lab: NetnsLab) -> None:
        assert await pings(lab, "h1", "h2")
        watching = asyncio.create_task(lab.watch())
        os.kill(relay_pid(), signal.SIGKILL)
        with pytest.raises(LabError, match="relay has ended by itself or was killed: h1 -> h2, which it carried"):
            await watching
        assert not await pings(lab, "h1", "h2", wait=0.3), "not silently at full speed"
        assert await pings(lab, "h1", "h3")
        await lab.set_cut(frozenset({("h1", "h3")}))  # what does not need it goes on
        assert not await pings(lab, "h1", "h3", wait=0.3)
        with pytest.raises(LabError, match="relay has ended"):
            await lab.set_link(1, LinkChange((("h1", "h2"),), {"delay": 2 * MS}))

    in_lab(scenario(3, Links(pairs={("h1", "h2"): Link(delay=MS)})), check)


def test_the_doctor_measures_what_was_asked() -> None:
    flows = [
        LinkFlow(name="", link={"delay": 20 * MS}, rate=200, count=40),
        LinkFlow(name="", link={}, pairs=((1, 2), (2, 1)), rate=200, count=20),
    ]
    slow, perfect = measure_links(flows, f"doctor-{os.getpid()}")
    assert (slow.by, slow.sent, slow.received, slow.duplicates) == ("relay", 40, 40, 0)
    assert slow.p50 >= 20 * MS and slow.relayed >= 40 and slow.relay_lost == slow.overruns == 0
    assert (perfect.by, perfect.sent, perfect.received, perfect.relayed) == ("", 40, 40, 0)
