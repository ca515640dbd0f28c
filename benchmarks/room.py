"""Memory of a lab by its parts: what `lab.backends.netns.room` estimates a lab by, before it starts.

Each figure is the proportional set size (PSS) of processes of one lab, which counts shared pages in parts, so other
work on the machine does not change it. Of a host: its first process, its container engine, its daemon, a container that
sleeps. Of the lab: runner, zygote, nursery and supervisor together. The kernel's share of a host (namespaces, cable,
mounts) is no process's; `python -m benchmarks scale` has it in "memory for each host" of 1,000 hosts.
"""

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.labs import hosts_yaml, on_lab
from benchmarks.rows import Row, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay
from lab.scenario.resolve import Resolved

_HOSTS = 16
_KINDS = {
    "lab-host": "first process of a host",
    "lab-engine": "container engine",
    "weave": "daemon",
    "sleep": "container that sleeps",
}
_OWN = ("lab-runner", "lab-zygote", "lab-nursery", "lab-super")
_SETTLE = 20.0
"""Seconds after the start of the last container."""


def run(hosts: int = _HOSTS) -> list[Row]:
    """A row for each kind of process."""
    services = "".join(
        f"  svc{number}: {{command: [sleep, infinity], host: host{number}}}\n" for number in range(1, hosts + 1)
    )
    text = (
        f"version: 1\nname: bench-room\n{hosts_yaml(hosts)}overlay: {{kind: weave}}\nservices:\n{services}"
        "timeline:\n  - launch: all\n"
    )

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        names = list(resolved.hosts)
        await overlay.launch(names, {})
        await asyncio.gather(*(overlay.connect(name, names[:1]) for name in names[1:]))
        for replica in resolved.replicas():
            await overlay.run(replica)
        await asyncio.sleep(_SETTLE)
        return _shares()

    found: dict[str, list[float]] = on_lab(text, "bench-room", work)
    rows = [row(what, "memory (PSS)", "MB", found[name]) for name, what in _KINDS.items()]
    own = sum(sum(found.get(name, [])) for name in _OWN)
    return [*rows, row("the lab's own processes", "memory (PSS)", "MB", [own])]


def _shares() -> dict[str, list[float]]:
    """MB of each process of the lab, by its name."""
    found: dict[str, list[float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text(encoding="utf-8").strip()
                lines = (entry / "smaps_rollup").read_text(encoding="utf-8").splitlines()
            except OSError:  # it has ended
                continue
            pss = next((line for line in lines if line.startswith("Pss:")), "Pss: 0")
            found.setdefault(name, []).append(int(pss.split()[1]) * 1024 / 1e6)
    return found
