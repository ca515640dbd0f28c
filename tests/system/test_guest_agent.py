"""The lab's hand inside of a machine, tried where the machine is a namespace and its socket needs no ssh."""

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from netns_labs import ROOT, in_lab, require_netns, scenario

from lab.backends.netns.backend import NetnsLab
from lab.backends.netns.paths import STATE, host_dir
from lab.backends.vagrant.guest import Guest
from lab.contracts.lab import Probe
from lab.contracts.probe import AgentCommand, encode_command
from lab.errors import LabError
from lab.records.history import Sample, decode

ENV = {"PATH": os.environ["PATH"], "HOME": "/root"}
Check = Callable[[NetnsLab, Guest], Awaitable[None]]


@pytest.fixture(autouse=True)
def _possible() -> None:
    require_netns()


def with_agent(check: Check, *, hosts: int = 1) -> None:
    """Let the check have the agent of h1, by the files that ssh would make."""

    async def work(lab: NetnsLab) -> None:
        folder = STATE / "v"
        folder.mkdir()
        (folder / "o").symlink_to(host_dir(0) / "run" / "overlay-lab" / "agent.sock")
        environment = {**ENV, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        start = (
            f"setsid {shlex.quote(sys.executable)} -m lab.backends.vagrant.agent < /dev/null > /tmp/agent.log 2>&1 &"
        )
        await lab.hosts["h1"].exec(["sh", "-c", start], env=environment)
        guest = Guest("h1", Path("unused"), folder)
        await guest.ready()
        await check(lab, guest)

    in_lab(scenario(hosts), work)


def test_orders_are_carried_out_and_answered() -> None:
    async def check(lab: NetnsLab, guest: Guest) -> None:
        done = await guest.exec(
            ["sh", "-c", "echo $WORD; echo wrong >&2; exit 3"], env={**ENV, "WORD": "x"}, timeout=60
        )
        assert (done.code, done.out, done.err) == (3, "x\n", "wrong\n")
        assert (await guest.exec(["no-such-command"], env=ENV, timeout=60)).code == 127
        slow = await guest.exec(["sleep", "60"], env=ENV, timeout=0.2)
        assert slow.code == 124 and "not done after 0.2 s" in slow.err
        # `weave` is carried out by the preloaded process.
        assert "Usage" in (await guest.exec(["sudo", "weave", "help"], env=ENV, timeout=60)).out
        least, most = await guest.ahead()
        assert least <= 0 <= most, "it is the same clock, read through a socket"
        big = await guest.exec(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], env=ENV, timeout=60)
        assert len(big.out) == 3_000_000

    with_agent(check)


def test_a_command_ends_when_nobody_waits_for_it_any_more() -> None:
    async def check(lab: NetnsLab, guest: Guest) -> None:
        task = asyncio.create_task(guest.exec(["sleep", "987"], env=ENV, timeout=600))
        while not await _runs(lab, "sleep 987"):
            pass  # a command each time
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while await _runs(lab, "sleep 987"):
            pass  # a command each time

    with_agent(check)


async def _runs(lab: NetnsLab, command: str) -> bool:
    return (await lab.hosts["h1"].exec(["pgrep", "-xf", command])).code == 0


def test_probes_run_until_their_connection_ends() -> None:
    async def check(lab: NetnsLab, guest: Guest) -> None:
        probe = Probe(
            probe="icmp", container="c", source="h1", target="h2", address=lab.hosts["h2"].address,
            every=20_000_000, timeout=10_000_000_000,
        )  # fmt: skip
        async with guest.probes(ENV) as (reader, write):
            write(encode_command(AgentCommand(add=(probe,))))
            sample = decode(await reader.readline())
            while isinstance(sample, Sample) and sample.error == "late":
                sample = decode(await reader.readline())
            assert isinstance(sample, Sample) and sample.ok and sample.target == "h2"
            assert abs(sample.t - time.monotonic_ns()) < 60_000_000_000

        async def gone() -> bool:
            processes = await lab.hosts["h1"].exec(["sh", "-c", "cat /proc/[0-9]*/comm | grep -cx agent"])
            return processes.out.strip() == "0"

        while not await gone():
            pass  # a command each time

    with_agent(check, hosts=2)


def test_an_agent_that_ends_is_a_broken_connection() -> None:
    async def check(lab: NetnsLab, guest: Guest) -> None:
        work = asyncio.create_task(guest.exec(["sleep", "60"], env=ENV, timeout=600))
        while not await _runs(lab, "sleep 60"):
            pass  # a command each time
        await lab.hosts["h1"].exec(["pkill", "-f", "vagrant.agent"])
        with pytest.raises(LabError, match="the connection to h1 broke off"):
            await work

    with_agent(check)
