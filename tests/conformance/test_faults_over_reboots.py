"""What faults and links have set on a host is taken up again when the host boots while they are in force.

Every scenario is played in the simulator and on real packets, which must come to the same.
"""

import asyncio
from pathlib import Path

import pytest
from both_backends import BACKENDS, played
from netns_labs import in_namespaces, require_netns

from lab.backends.netns import NetnsBackend
from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import Obstacle
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

DOWNLOAD = (
    "{service: one, command: 'curl -s -m 10 -o /dev/null -w %{size_download} http://10.0.1.2:8000/big', "
    "expect: {stdout: ^3000000$}}"
)
SCENARIO = f"""
version: 1
underlay: {{hosts: {{a: {{}}, b: {{}}}}}}
overlay: {{kind: weave, options: {{mtu: 1300}}}}
services:
  one: {{image: tutum/curl, host: a, address: 10.0.1.1/24}}
  two:
    command: 'head -c 3000000 /dev/zero >big; exec python3 -m http.server 8000'
    port: 8000
    host: b
    address: 10.0.1.2/24
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{converged: all, within: 90s}}
  - mtu: {{to: 1400}}
  - exec: {DOWNLOAD}
  - kill: {{host: b, for: 500ms}}
  - wait: 3s
  - expect: {{converged: all, within: 90s}}
  - exec: {DOWNLOAD}
"""


@pytest.mark.parametrize("name", BACKENDS)
def test_small_packets_pass_a_small_mtu_after_a_reboot_too(name: str, tmp_path: Path) -> None:
    """On a host that has forgotten that wire packets count, super-packets of small ones meet the limit."""
    run = played(SCENARIO, name, tmp_path)
    assert run.verdict == "valid", run.reason


def test_limits_that_come_and_go_while_a_host_is_off_or_boots() -> None:
    require_netns()
    scenario = resolve(parse("version: 1\nunderlay: {hosts: {a: {}, b: {}, c: {}}}\ntimeline: [{wait: 0}]\n"))

    async def work() -> None:
        lab = await NetnsBackend(engine=False).up(scenario)
        obstacle = Obstacle(hosts=("a", "b"), mtu=1400)
        try:
            assert [await limit(lab, host) for host in "abc"] == ["65535"] * 3
            await lab.hosts["b"].kill()
            await lab.set_obstacle(1, obstacle)
            await lab.hosts["b"].start()
            assert [await limit(lab, host) for host in "abc"] == ["1", "1", "65535"]
            await lab.hosts["b"].kill()
            await lab.set_obstacle(1, None)
            await lab.hosts["b"].start()
            assert [await limit(lab, host) for host in "abc"] == ["65535"] * 3
            await lab.hosts["b"].kill()
            await asyncio.gather(lab.hosts["b"].start(), lab.set_obstacle(2, obstacle))
            assert [await limit(lab, host) for host in "abc"] == ["1", "1", "65535"]
        finally:
            await lab.down()

    in_namespaces(work, name="limits")


async def limit(lab: NetnsLab, host: str) -> str:
    """Packets that a host may hand to its cable at once, as one."""
    out = (await lab.hosts[host].exec(["ip", "-d", "link", "show", "eth0"])).out.split()
    return out[out.index("gso_max_segs") + 1]
