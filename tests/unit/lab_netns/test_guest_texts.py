"""What machines are told about their own underlay: who drops what, who holds back what, and when they are told."""

import asyncio
from collections.abc import Sequence

import pytest

from lab.errors import LabError
from lab.fabric import guest_plan, plan
from lab.fabric.guests import GuestFabric
from lab.links import Link, Links

A = "02:4c:c0:a8:00:02"
A_SIX = plan.mac_of("fd00::2")


def underlay(links: Links | None = None) -> plan.Underlay:
    """a and c are in both networks, b in one."""
    return plan.Underlay(
        networks={"lan": "192.168.0.0/24", "six": "fd00::/64"},
        hosts={
            "a": [("lan", "192.168.0.2"), ("six", "fd00::2")],
            "b": [("lan", "192.168.0.3")],
            "c": [("lan", "192.168.0.4"), ("six", "fd00::4")],
        },
        links=links or Links(),
    )


def test_a_receiver_drops_by_the_addresses_its_senders_have_in_common_networks() -> None:
    everyone = guest_plan.interfaces_of(underlay())
    pairs = [("a", "b"), ("a", "c"), ("b", "a")]
    assert guest_plan.cut_rules("b", everyone, pairs) == (
        f"flush set netdev lab cut\nadd element netdev lab cut {{ {A} }}\n"
    )
    assert guest_plan.cut_rules("c", everyone, pairs).splitlines()[1].endswith(f"{{ {A}, {A_SIX} }}")
    assert guest_plan.cut_rules("c", everyone, [("a", "b")]) == "flush set netdev lab cut\n"


def test_loss_and_mtu_are_the_receivers_and_a_perfect_network_has_only_cuts() -> None:
    plain = guest_plan.drop_rules("a", guest_plan.interfaces_of(underlay()), Links())
    assert "type filter hook ingress devices = { lab0, lab1 } priority -200" in plain
    assert "numgen" not in plain and "meta" not in plain
    links = Links(pairs={("a", "b"): Link(loss=0.5, mtu=1200)})
    everyone = guest_plan.interfaces_of(underlay(links))
    assert "numgen" not in guest_plan.drop_rules("a", everyone, links)
    text = guest_plan.drop_rules("b", everyone, links)
    assert f"meta length > 1200 ether saddr {{ {A} }} counter drop" in text
    assert f"ether saddr {{ {A} }} numgen random mod 1000000000 < 500000000 counter drop" in text


def test_a_sender_holds_back_by_receiver_and_cuts_super_packets_first() -> None:
    links = Links(pairs={("a", "b"): Link(rate=8_000_000), ("a", "c"): Link(delay=1_500_000)})
    everyone = guest_plan.interfaces_of(underlay(links))
    assert guest_plan.hold_commands("b", everyone, links) == ""
    six = plan.mac_of("fd00::4").replace(":", "")
    assert guest_plan.hold_commands("a", everyone, links).splitlines() == [
        "qdisc add dev lab0 root handle 1: htb default 1",
        "class replace dev lab0 parent 1: classid 1:1 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "class replace dev lab0 parent 1: classid 1:3 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "qdisc add dev lab0 parent 1:3 handle 103: tbf rate 8000000bit burst 1600 limit 100000",
        "filter add dev lab0 parent 1: protocol all u32 match u16 0x024c 0xffff at -14 "
        "match u32 0xc0a80003 0xffffffff at -12 classid 1:3",
        "class replace dev lab0 parent 1: classid 1:4 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "qdisc add dev lab0 parent 1:4 handle 104: tbf rate 10000000000bit burst 1600 limit 125000000",
        "qdisc add dev lab0 parent 104:1 netem limit 100000 delay 1500us",
        "filter add dev lab0 parent 1: protocol all u32 match u16 0x024c 0xffff at -14 "
        "match u32 0xc0a80004 0xffffffff at -12 classid 1:4",
        "qdisc add dev lab1 root handle 1: htb default 1",
        "class replace dev lab1 parent 1: classid 1:1 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "class replace dev lab1 parent 1: classid 1:4 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "qdisc add dev lab1 parent 1:4 handle 104: tbf rate 10000000000bit burst 1600 limit 125000000",
        "qdisc add dev lab1 parent 104:1 netem limit 100000 delay 1500us",
        f"filter add dev lab1 parent 1: protocol all u32 match u16 0x{six[:4]} 0xffff at -14 "
        f"match u32 0x{six[4:]} 0xffffffff at -12 classid 1:4",
    ]


def test_both_ends_of_an_impaired_link_see_wire_packets() -> None:
    links = Links(pairs={("a", "b"): Link(loss=0.1)})
    everyone = guest_plan.interfaces_of(underlay(links))
    for host, single in (("a", True), ("b", True), ("c", False)):
        script = guest_plan.boot_script(host, everyone, links)
        assert ("gso_max_segs 1\n" in script, "lab0 0\n" in script) == (single, single), host


class Machines:
    """Remembers what was run where; `broken` refuses everything."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.broken = ""

    async def shell(self, host: str, argv: Sequence[str]) -> str:
        if host == self.broken:
            raise LabError("no answer")
        self.told.append((host, argv[-1]))
        return ""

    def hosts(self) -> list[str]:
        told, self.told = self.told, []
        return [host for host, _ in told]


async def _plugged() -> tuple[Machines, GuestFabric]:
    """Three machines that have booted, and what they were told at that is forgotten."""
    machines = Machines()
    fabric = GuestFabric(underlay(), machines.shell)
    for host in ("a", "b", "c"):
        await fabric.plug(host)
    machines.hosts()
    return machines, fabric


def test_a_machine_that_boots_again_gets_what_is_cut_now() -> None:
    async def play() -> None:
        machines, fabric = await _plugged()
        await fabric.set_cut({("a", "b"), ("a", "c")})
        assert machines.hosts() == ["b", "c"], "only receivers whose senders changed"
        await fabric.unplug("b")
        await fabric.set_obstacles([(("a", "b"), "udp", 6784, 0)])
        assert machines.hosts() == ["a"]
        await fabric.plug("b")
        script, state = machines.told
        assert script[0] == state[0] == "b" and "table netdev lab" in script[1]
        assert f"add element netdev lab cut {{ {A} }}" in state[1]
        assert f"ether saddr {{ {A} }} udp dport 6784 counter drop" in state[1]

    asyncio.run(play())


def test_a_machine_that_cannot_be_told_is_named_and_the_others_are_told() -> None:
    async def play() -> None:
        machines, fabric = await _plugged()
        machines.broken = "b"
        with pytest.raises(LabError, match="network rules of b could not be set: no answer"):
            await fabric.set_cut({("a", "b"), ("a", "c")})
        assert machines.hosts() == ["c"]

    asyncio.run(play())
