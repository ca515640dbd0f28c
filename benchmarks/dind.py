"""Hosts with a Docker Engine of their own: bring-up, size of their image, memory, and eight of them at once.

The times are those of the commands that people type, once the images are built and in the cache. Memory is the
proportional set size (PSS) of every process of a host but those of its engine and of its containers.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bringup import scenario_of, time_up
from benchmarks.rows import Row, row
from lab.errors import LabError
from lab.images import store

_LAB = (sys.executable, "-m", "lab.cli")
_ENGINE = ("dockerd", "containerd", "containerd-shim", "docker-proxy", "runc", "httpd", "dummy-http")
"""The first 15 characters of the names of processes that are the engine's, or in its containers."""
_PSS = """\
import os
own, total = set(os.sys.argv[1:]), 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        name = open(f"/proc/{pid}/comm").read().strip()
        line = open(f"/proc/{pid}/cmdline").read()
        rollup = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    except OSError:
        continue
    if int(pid) == os.getpid() or any(name == one[:15] or f"/{one}" in line for one in own):
        continue
    total += next((int(entry.split()[1]) for entry in rollup if entry.startswith("Pss:")), 0)
print(total)
"""


def run(runs: int = 3) -> list[Row]:
    """Rows for two hosts and for eight."""
    images = store.build(print)
    goals = {2: "under 10 s", 8: "8 hosts on 2 cores"}
    rows = [row("host image", "layers", "MB", [images[0].size / 1e6], goal="under 500 MB")]
    with tempfile.TemporaryDirectory() as folder:
        for hosts in (2, 8):
            file = Path(folder, f"dind{hosts}.yaml")
            file.write_text(scenario_of(hosts), encoding="utf-8")
            time_up(file, Path(folder), "dind")  # the cache is warm from here on
            times = [time_up(file, Path(folder), "dind") for _ in range(runs if hosts == 2 else 1)]
            rows.append(row(f"{hosts} hosts", "up with the overlay, converged", "s", times, goal=goals[hosts]))
        rows.append(row("host", "PSS beside its engine", "MB", _memory(Path(folder, "dind2.yaml")), goal="under 80 MB"))
    return rows


def _memory(file: Path) -> list[float]:
    """Megabytes of each of two hosts once the overlay stands."""
    name = f"bench-dind-{os.getpid()}"
    _lab("up", str(file), "--backend", "dind", "--name", name)
    try:
        argv = ("python3", "-ISc", _PSS, *_ENGINE)
        return [int(_lab("exec", "--name", name, host, "--", *argv)) / 1000 for host in ("host1", "host2")]
    finally:
        _lab("down", "--name", name)


def _lab(*words: str) -> str:
    done = subprocess.run([*_LAB, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"bench dind: lab {words[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
