"""A full mesh of daemons: how soon after the last start all are neighbours, and what a peer costs when idle.

Without and with a password, in turn. Convergence is what the daemons' own views say, at the moment they say it. Idle
figures are of all daemons over one stretch of time: processor time by `/proc/PID/stat`, bytes of control frames by
the daemons' own count, and all bytes of the underlay (heartbeats too) by the interface's.
"""

import asyncio
import json
import os
import time
from typing import Any

from benchmarks.labs import hosts_yaml, on_lab
from benchmarks.rows import Row, asked, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay, must, together
from lab.errors import LabError
from lab.records.history import View
from lab.scenario.resolve import Resolved

_SETTLE = 15.0
"""Seconds after convergence before the idle stretch begins."""
_IDLE = 30.0
_LIMIT = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


def run(peers: int = 64) -> list[Row]:
    """Rows without and with a password. OVERLAY_LAB_BENCH_RUNS: how many of each."""
    found: dict[str, list[dict[str, Any]]] = {"": [], "password": []}
    for attempt in range(int(asked("RUNS", 3))):
        for kind in found:
            found[kind].append(_measure(peers, kind, attempt))
    rows = []
    for kind, results in found.items():
        name = f"{peers} peers" + (", password" if kind else "")
        limit = "60" if kind else "15"
        times = [float(result["converged"]) for result in results]
        rows.append(row(name, "last start to full mesh", "s", times, goal=f"under {limit} s"))
        for key, metric, unit, goal in (
            ("cpu", "idle processor time of a peer", "%", "under 1 % of a core"),
            ("control", "idle control frames sent by a peer", "B/s", "under 1 kB/s"),
            ("wire", "all idle bytes sent by a host", "B/s", ""),
        ):
            values = [float(value) for result in results for value in result[key]]
            rows.append(row(name, metric, unit, values, goal=goal))
    return rows


def _measure(peers: int, kind: str, attempt: int) -> dict[str, Any]:
    flags = ["--ipalloc-init", f"consensus={peers}", *(["--password", "correct horse"] if kind else [])]

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        names = list(resolved.hosts)
        first = resolved.hosts[names[0]].address
        await together(
            must(lab.hosts[name], ["weave", "launch", *flags, *([first] if name != names[0] else [])]) for name in names
        )
        started = time.monotonic()
        converged = await _converged(lab, names) - started
        await asyncio.sleep(_SETTLE)
        before = await asyncio.gather(*(_counters(lab, name) for name in names))
        since = time.monotonic()
        await asyncio.sleep(_IDLE)
        after = await asyncio.gather(*(_counters(lab, name) for name in names))
        span = time.monotonic() - since
        rates = [[(b - a) / span for a, b in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]
        return {
            "converged": converged,
            "cpu": [100 * ticks / _TICKS for ticks, _, _ in rates],
            "control": [control for _, control, _ in rates],
            "wire": [wire for _, _, wire in rates],
        }

    text = f"version: 1\nname: bench-mesh\n{hosts_yaml(peers)}\noverlay: {{kind: weave}}\ntimeline:\n  - launch: all\n"
    found: dict[str, Any] = on_lab(text, f"bench-mesh-{kind or 'clear'}-{attempt}", work)
    return found


async def _converged(lab: NetnsLab, names: list[str]) -> float:
    """When the last peer has come to say that it reaches, and neighbours, all."""
    latest: dict[str, View] = {}
    done = asyncio.Event()
    at = 0.0

    async def follow(name: str) -> None:
        nonlocal at
        async for view in lab.hosts[name].views():
            if not isinstance(view, View):
                raise LabError(f"bench mesh: the daemon of {name} is gone")
            latest[name] = view
            full = len(latest) == len(names) and all(
                each.reachable == len(names) and len(each.neighbours) == len(names) - 1 for each in latest.values()
            )
            if full and len({each.topology for each in latest.values()}) == 1:
                at = time.monotonic()
                done.set()

    followers = [asyncio.ensure_future(follow(name)) for name in names]
    try:
        async with asyncio.timeout(_LIMIT):
            await done.wait()
    except TimeoutError:
        low = min((len(view.neighbours) for view in latest.values()), default=0)
        raise LabError(f"bench mesh: no full mesh within {_LIMIT:g} s; some peer has {low} neighbours") from None
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
    return at


async def _counters(lab: NetnsLab, name: str) -> tuple[float, float, float]:
    """Ticks of processor time, bytes of control frames, bytes on the wire, so far."""
    host = lab.hosts[name]
    report = json.loads(await must(host, ["weave", "report"]))["driver"]
    stat = (await must(host, ["cat", f"/proc/{report['pid']}/stat"])).rpartition(")")[2].split()
    device = next(line for line in (await must(host, ["cat", "/proc/net/dev"])).splitlines() if "eth0:" in line)
    return int(stat[11]) + int(stat[12]), report["sent_octets"], int(device.split()[9])
