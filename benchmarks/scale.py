"""Large labs: hosts without an overlay next to Mininet and `ip -batch`, a thousand hosts, and 256 with the overlay.

The times are those of whole commands: from the start of `lab up` to its end, the same for a program that makes the
hosts with Mininet (one switch, Linux bridge, because not every kernel has Open vSwitch), and for a script that makes
the same namespaces and cables with one `ip -batch`, and addresses with one per host. All three take turns. Processor
time is that of every process that takes part, also of those that stay; on a loaded machine it says more than wall time.
Memory is what the machine has less of afterwards, for each host. The committed figures were made while other work kept
this machine at a load of 20 to 160 on 2 cores, so of the times only ratios count. Needs root, and Debian's packages
mininet and bridge-utils (`apt-get install --no-install-recommends`).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bringup import time_up
from benchmarks.labs import hosts_yaml
from benchmarks.processor_time import of_ended_children, of_family
from benchmarks.rows import Row, asked, row
from lab.backends.netns import LabClient, find
from lab.errors import LabError
from lab.this_machine import free_memory

_LAB = (sys.executable, "-m", "lab.cli")
_COMPARED = 128
_MANY = 1000
_OVERLAY = 256
_SYSTEM_PYTHON = "/usr/bin/python3"
_MININET = """
import json, os, resource, sys, time
begun = time.monotonic()
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo
net = Mininet(topo=SingleSwitchTopo(k=int(sys.argv[1])), switch=LinuxBridge, controller=None)
net.start()
used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
for node in net.hosts:
    fields = open(f"/proc/{node.pid}/stat").read().rpartition(")")[2].split()
    used += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
sys.stdout.write(json.dumps([time.monotonic(), used]) + "\\n")
sys.stdout.flush()
net.stop()
"""
_BATCH = """
mount -t tmpfs none /run
{
  echo "link add br0 type bridge"; echo "link set br0 up"
  for n in $(seq $1); do
    echo "netns add h$n"
    echo "link add p$n type veth peer name eth0 netns h$n"
    echo "link set p$n master br0 up"
  done
} | ip -batch - || exit 1
for n in $(seq $1); do
  printf 'link set lo up\\nlink set eth0 up\\naddress add 10.0.%s.%s/16 dev eth0\\n' $((n / 250)) $((n % 250 + 1)) |
    ip -n h$n -batch - || exit 1
done
"""


def run() -> list[Row]:
    """Rows for each size."""
    if os.geteuid() != 0:
        raise LabError("bench scale: Mininet needs root")
    runs = int(asked("RUNS", 5))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        compared: dict[str, Callable[[], tuple[float, float]]] = {
            "ip -batch": lambda: _batch(_COMPARED),
            f"mininet {_mininet_version()}": lambda: _mininet(_COMPARED),
            "lab up": lambda: _lab(_COMPARED, place)[:2],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
        for _ in range(runs):
            for name, measure in compared.items():
                found[name].append(measure())
        peers = list(compared)
        for number, (metric, goals) in enumerate(
            (("hosts are up", ("at most 4", "at most 1.0")), ("processor time", ("", "")))
        ):
            made = {name: row(name, metric, "s", [one[number] for one in found[name]]) for name in peers}
            rows += [made[peers[0]], made[peers[1]]]
            for peer, goal in zip(peers[:2], goals, strict=True):
                values = [one[number] for one in found["lab up"]]
                rows.append(row("lab up", metric, "s", values, against=made[peer], goal=goal))
        many = [_lab(_MANY, place) for _ in range(max(1, runs // 2))]
        for number, (metric, unit, goal) in enumerate(
            (
                (f"{_MANY:,} hosts are up", "s", ""),
                ("processor time of that", "s", ""),
                ("lab down", "s", "under 2 s"),
                ("memory for each host", "MB", "under 6 MB"),
            )
        ):
            rows.append(row("lab up", metric, unit, [one[number] for one in many], goal=goal))
        file = place / "overlay.yaml"
        file.write_text(_with_overlay(_OVERLAY), encoding="utf-8")
        rows.append(row(f"{_OVERLAY} hosts", "up and converged with the overlay", "s", [time_up(file, place)]))
    return rows


def _with_overlay(hosts: int) -> str:
    """Hosts on a sparse graph, a service on the first and on the last."""
    services = "".join(
        f"  svc{index}: {{image: ksahnine/dummy-http, args: [svc{index}], host: host{index}}}\n" for index in (1, hosts)
    )
    return (
        f"version: 1\nname: bench-scale\nunderlay:\n  generate: {{kind: random_regular, hosts: {hosts}, degree: 8}}\n"
        f"overlay: {{kind: weave}}\nservices:\n{services}timeline:\n"
        "  - launch: all\n  - connect: all\n  - run: all\n  - expect: {converged: all, within: 10m}\n"
    )


def _lab(hosts: int, folder: Path) -> tuple[float, float, float, float]:
    """(seconds up, processor time of that, seconds down, megabytes for each host) of a lab."""
    file, name = folder / f"scale{hosts}.yaml", f"bench-scale-{hosts}"
    file.write_text(
        f"version: 1\nname: {name}\n{hosts_yaml(hosts)}overlay: {{kind: none}}\ntimeline:\n  - wait: 1ms\n",
        encoding="utf-8",
    )
    free, used, begun = free_memory(), of_ended_children(), time.monotonic()
    _done([*_LAB, "up", str(file), "--name", name, "--out", str(folder)])
    up = time.monotonic() - begun
    with LabClient(find(name)) as client:
        used = of_ended_children() - used + of_family(_pid_of(client.supervisor()))
    memory = (free - free_memory()) / hosts / 1e6
    begun = time.monotonic()
    _done([*_LAB, "down", "--name", name])
    return up, used, time.monotonic() - begun, memory


def _mininet(hosts: int) -> tuple[float, float]:
    begun = time.monotonic()
    words = ["unshare", "--net", "--mount", "--propagation", "private", _SYSTEM_PYTHON, "-c", _MININET, str(hosts)]
    ended, used = json.loads(_done(words).splitlines()[-1])
    return ended - begun, used


def _mininet_version() -> str:
    done = subprocess.run(
        [_SYSTEM_PYTHON, "-c", "import mininet.net; print(mininet.net.VERSION)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError("bench scale: no Mininet here: apt-get install --no-install-recommends mininet bridge-utils")
    return f"{done.stdout.strip()} (2021)"


def _batch(hosts: int) -> tuple[float, float]:
    used, begun = of_ended_children(), time.monotonic()
    _done(["unshare", "--net", "--mount", "sh", "-c", _BATCH, "sh", str(hosts)])
    return time.monotonic() - begun, of_ended_children() - used


def _done(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"bench scale: {words[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _pid_of(pidfd: int) -> int:
    """The process of a pidfd, which is closed."""
    fields = Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="utf-8").split()
    os.close(pidfd)
    return int(fields[fields.index("Pid:") + 1])
