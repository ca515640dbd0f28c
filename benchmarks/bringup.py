"""Bring-up and memory: how long a lab takes to come up and to go down, and what a daemon costs.

The times are those of the commands that people type: from the start of `lab run` to the moment when every view agrees
and every probe succeeds, and the whole of `lab down`. Memory is the proportional set size (PSS) of the daemons, which
counts shared pages in parts.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.labs import hosts_yaml, on_lab
from benchmarks.rows import Row, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay, must
from lab.errors import LabError
from lab.records.history import Event, Meta, read
from lab.scenario.resolve import Resolved

_LAB = (sys.executable, "-m", "lab.cli")


def run(runs: int = 5, sizes: tuple[int, ...] = (2, 8, 32)) -> list[Row]:
    """Rows for each number of hosts."""
    goals = {2: "under 2 s", 32: "under 10 s"}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for hosts in sizes:
            file = Path(folder, f"up{hosts}.yaml")
            file.write_text(scenario_of(hosts), encoding="utf-8")
            times = [time_up(file, Path(folder)) for _ in range(runs)]
            rows.append(row(f"{hosts} hosts", "up and converged", "s", times, goal=goals.get(hosts, "")))
            times = [_time_down(file, f"bench-{hosts}-{attempt}") for attempt in range(runs)]
            rows.append(row(f"{hosts} hosts", "lab down", "s", times, goal="under 1 s"))
            rows.append(row(f"{hosts} hosts", "daemon's PSS", "MB", _memory(hosts), goal="under 45 MB"))
    return rows


def scenario_of(hosts: int) -> str:
    """So many hosts, a service on the first and on the last."""
    services = "\n".join(
        f"  svc{index}: {{image: ksahnine/dummy-http, args: [svc{index}], host: host{index}}}" for index in (1, hosts)
    )
    return f"""version: 1
name: bench-up
{hosts_yaml(hosts)}
overlay: {{kind: weave}}
services:
{services}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{converged: all, within: 60s}}
"""


def time_up(file: Path, folder: Path, backend: str = "netns") -> float:
    """Seconds from the command's start to convergence."""
    begun = time.time()
    command = [*_LAB, "run", str(file), "--json", "--out", str(folder), "--backend", backend]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"bench bringup: {' '.join(command)} ended with {result.returncode}:\n{result.stdout[-2000:]}")
    run_dir = Path(json.loads(result.stdout.splitlines()[-1])["run_dir"])
    started = converged = 0.0
    for record in read(run_dir / "history.jsonl"):
        if isinstance(record, Meta):
            started = datetime.fromisoformat(record.started).timestamp()
        elif isinstance(record, Event) and record.what == "expect" and record.phase == "end":
            converged = record.t / 1e9
    return started - begun + converged


def _time_down(file: Path, name: str) -> float:
    """Seconds that `lab down` takes."""
    subprocess.run([*_LAB, "up", str(file), "--name", name], capture_output=True, check=True)
    begun = time.monotonic()
    subprocess.run([*_LAB, "down", "--name", name], capture_output=True, check=True)
    return time.monotonic() - begun


def _memory(hosts: int) -> list[float]:
    """Megabytes of each daemon once the overlay stands."""

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        names = list(resolved.hosts)
        await overlay.launch(names, {})
        for name in names:
            await overlay.connect(name, [other for other in names if other != name])
        for replica in resolved.replicas():
            await overlay.run(replica)
        found = []
        for name in names:
            pid = (await must(lab.hosts[name], ["cat", "/var/run/weave/router.pid"])).strip()
            text = await must(lab.hosts[name], ["cat", f"/proc/{pid}/smaps_rollup"])
            kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
            found.append(kilobytes / 1000)
        return found

    return [float(value) for value in on_lab(scenario_of(hosts), f"bench-memory-{hosts}", work)]
