"""How much a fabric thinks for a lab of many hosts: each pair of hosts a few times, not once more for every host."""

import asyncio

import pytest

from lab.fabric import mechanisms
from lab.fabric.fabric import Fabric
from lab.fabric.mechanisms import LinkKernel
from lab.fabric.plan import Underlay
from lab.links import Link, Links

HOSTS = 60


class Counted(Links):
    """Links that count how often they are asked."""

    asked = 0

    def between(self, sender: str, receiver: str) -> Link:
        Counted.asked += 1
        return super().between(sender, receiver)


async def tool(*argv: str, text: str = "", check: bool = True) -> str:
    return ""


@pytest.mark.parametrize("default", [Link(), Link(delay=1_000_000)])
def test_links_are_asked_a_few_times_a_pair(default: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {f"h{number}": [("lan", f"10.0.{number >> 8}.{number & 255}")] for number in range(HOSTS)}
    kernel = LinkKernel(htb=True, netem=True, relay=True)
    monkeypatch.setattr(mechanisms, "this_kernel", lambda: kernel)

    async def up() -> None:
        fabric = Fabric(Underlay({"lan": "10.0.0.0/16"}, hosts, Counted(default)), tool)
        await fabric.build()
        await fabric.plug([(host, 1) for host in hosts])
        for host in hosts:
            fabric.host_commands(host)

    Counted.asked = 0
    asyncio.run(up())
    assert Counted.asked <= 10 * HOSTS * HOSTS
