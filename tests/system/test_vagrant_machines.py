"""Two machines, really booted: names, networks, ssh, power, Vagrant's own verbs, and what is said when a boot fails."""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from netns_labs import in_namespaces, scenario
from overlay_hosts import eventually
from vm_labs import require_vms

from lab.errors import LabError
from lab.records.history import Sample, read
from lab.records.store import EXIT_CODES, HISTORY, read_summary

# Do links behave as netem is told to, does an encrypted path use the kernel's WireGuard, and is a wrong clock no harm?
# Copies that a link makes are counted over the underlay; a hundred round trips without one have the odds 4e-5.
# The test ends the run in its last step, by killing a machine.
SCENARIO = r"""
version: 1
name: machines
seed: 1

underlay:
  hosts: {m1: {}, m2: {}}
  links: {default: {delay: 40ms, jitter: 4ms, distribution: normal, duplicate: 5%}}

overlay:
  kind: weave
  options: {password: wherever you go}

services:
  left: {image: ksahnine/dummy-http, args: [left], host: m1, address: 10.0.1.1/24}
  right: {image: ksahnine/dummy-http, args: [right], host: m2, address: 10.0.1.2/24}

probes:
  - {kind: icmp, from: all, to: all, every: 100ms, timeout: 2s}

timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s, for: 5s}
  - exec: {host: m1, command: weave status connections, expect: {stdout: "encrypted +wireguard"}}
  - exec: {host: m1, command: ping -q -c 100 -i 0.1 m2, timeout: 60s, expect: {stdout: '\+[0-9]+ duplicates'}}
  - exec: {host: m1, command: "wg show || ip -d link show type wireguard", expect: {stdout: wireguard}}
  - {clock: {host: m2, offset: 90s}, for: 3s}
  - expect: {converged: all, within: 90s}
  - wait: 10m
"""
BOOT = 400
"""Seconds: a machine's processor may be emulated, on one that others use too."""


@pytest.fixture(scope="module", autouse=True)
def machines_can_run() -> None:
    require_vms()


def _in_lab(check: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Run the check inside of a lab's namespaces; fail with its traceback."""

    async def work() -> None:
        async with asyncio.timeout(seconds):
            await check()

    in_namespaces(work, name="test-machines")


def test_vagrant_calls_no_machine_by_the_beginning_of_anothers_id(tmp_path: Path) -> None:
    """It looks names up in the ids of all machines first: with a host `b` it now and then gave the machine of `a`."""
    from lab.backends.vagrant.machines import machine_name, vagrantfile

    names = ("b", "deadbeef", "h1", "beef.local", "a" * 33)
    resolved = tmp_path / "resolved.json"
    hosts = {
        name: {"interfaces": [{"network": "lan", "address": f"192.168.0.{place}"}]}
        for place, name in enumerate(names, 2)
    }
    resolved.write_text(json.dumps({"underlay": {"networks": {"lan": {"subnet": "192.168.0.0/24"}}, "hosts": hosts}}))
    settings = {
        "LAB_SCENARIO": str(resolved),
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
        "VAGRANT_DEFAULT_PROVIDER": "libvirt",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
    }
    done = subprocess.run(
        ["vagrant", "status", "--machine-readable"],
        env=os.environ | settings,
        cwd=vagrantfile().parent,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(",") for line in done.stdout.splitlines()]
    listed = [row[1] for row in rows if row[2] == "state"]
    assert listed == [machine_name(name) for name in names] == ["host_b", "host_deadbeef", "h1", "beef.local", "a" * 33]


@pytest.mark.turn(1)
def test_two_machines_boot_talk_and_obey() -> None:
    async def check() -> None:
        from lab.backends.vagrant.machines import VagrantMachines

        machines = VagrantMachines(timeout=BOOT)

        def ssh(name: str, command: str) -> str:
            words = ["ssh", "-F", str(machines.ssh_config), "-l", "root", name, command]
            return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout

        plug = (
            "device=$(grep -lx {mac} /sys/class/net/*/address | cut -d/ -f5); ip link set $device name lab0; "
            "ip address add {address}/24 dev lab0; ip link set lab0 up; sync; cat /proc/sys/kernel/random/boot_id"
        )
        await machines.up(scenario(2))
        assert await machines.status() == {"h1": "running", "h2": "running"}
        first = ssh("h1", plug.format(mac="02:4c:c0:a8:00:02", address="192.168.0.2"))
        ssh("h2", plug.format(mac="02:4c:c0:a8:00:03", address="192.168.0.3"))
        assert "1 received" in ssh("h1", "ping -c 1 -w 20 192.168.0.3")
        assert ssh("h1", "weave version").startswith("weave ")
        for module in ("vxlan", "wireguard", "sch_netem", "sch_tbf", "nft_ct"):
            ssh("h2", f"modprobe {module}")
        assert "lab: userspace" in await machines.console_tail("h2", 100)

        await machines.power_off("h1")
        assert (await machines.status())["h1"] == "poweroff"
        await machines.power_on("h1")
        assert ssh("h1", "cat /proc/sys/kernel/random/boot_id") != first

        marked = ssh("h1", "touch /run/before; cat /proc/sys/kernel/random/boot_id")
        await machines.suspend("h1")
        assert (await machines.status())["h1"] != "running"
        await machines.resume("h1")
        assert ssh("h1", "ls /run/before; cat /proc/sys/kernel/random/boot_id").split() == [
            "/run/before",
            marked.strip(),
        ]

        await machines.reload("h1")
        assert ssh("h1", "cat /proc/sys/kernel/random/boot_id") != marked
        await machines.halt("h1")
        assert (await machines.status())["h1"] == "poweroff"
        await machines.destroy("h1")
        assert (await machines.status())["h1"] == "not_created"
        with pytest.raises(LabError, match="lab down"):
            await machines.power_on("h1")
        await machines.down()

    _in_lab(check, 3 * BOOT)


@pytest.mark.turn(1)
def test_links_and_encryption_are_the_kernels_and_a_machine_that_dies_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "machines.yaml").write_text(SCENARIO)
    played = [sys.executable, "-m", "lab.cli", "run", str(tmp_path / "machines.yaml")]
    words = [*played, "--backend", "vagrant", "--out", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as lab:
        try:
            assert lab.stdout is not None
            said = ""
            for line in lab.stdout:
                said += line
                if said.count("✓ expect converged") == 2:
                    break
            else:
                raise AssertionError(said)
            os.kill(int(_emulators("m2")[0]), signal.SIGKILL)
            said += lab.stdout.read()
            assert lab.wait(60) == EXIT_CODES["unknown"], said
        finally:
            lab.kill()
    summary = read_summary(tmp_path / "machines" / "latest")
    assert "the machine m2 died, and nobody had switched it off" in summary.reason
    assert [one.ok for one in summary.expectations] == [True] * len(summary.expectations), said
    trips = [
        sample.latency
        for sample in read(tmp_path / "machines" / "latest" / HISTORY)
        if isinstance(sample, Sample)
        and sample.latency is not None
        and {sample.source, sample.target} == {"left", "right"}
    ]
    # 40 ms each way, of 4 ms standard deviation; what an emulated processor adds is not judged.
    assert len(trips) > 20 and statistics.median(trips) > 75_000_000, trips
    assert not _emulators("m1")


def test_a_boot_that_takes_too_long_ends_with_the_consoles_last_lines() -> None:
    async def check() -> None:
        from lab.backends.vagrant import machines as module

        machines = module.VagrantMachines(timeout=12)
        with pytest.raises(LabError) as caught:
            await machines.up(scenario(1))
        assert "did not come up within 12 s" in str(caught.value)
        assert "h1's console ends with:" in str(caught.value)
        await machines.down()

    _in_lab(check, BOOT)


def test_a_lab_that_is_killed_while_its_machines_boot_leaves_nothing(tmp_path: Path) -> None:
    text = "version: 1\nunderlay: {hosts: {killed-1: {}, killed-2: {}}}\ntimeline: [{wait: 1s}]\n"
    (tmp_path / "killed.yaml").write_text(text)
    words = [sys.executable, "-m", "lab.cli", "run", str(tmp_path / "killed.yaml"), "--backend", "vagrant"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as lab:
        try:
            eventually(lambda: _emulators("killed-") or lab.poll() is not None, BOOT, "an emulator")
            assert lab.poll() is None, lab.stderr and lab.stderr.read()
        finally:
            lab.kill()
    eventually(lambda: not _emulators("killed-"), 30, "the end of the emulators")
    assert "/run/lab" not in Path("/proc/self/mountinfo").read_text()


def _emulators(machine: str) -> list[str]:
    """The processes that run machines whose name begins so."""
    command = ["pgrep", "-f", f"guest=lab_{machine}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
