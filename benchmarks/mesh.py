"""Meshes of daemons: a full one of 64, and a sparse one of 256, on real hosts of one machine.

The full one without and with a password, in turn; in the sparse one, without discovery, each peer dials four others, so
that it has eight neighbours. Starting counts from the first `weave launch` to the end of the last; its processor time
is that of all processes of the lab, and says more than the time on a busy machine. It includes what daemons do that
run meanwhile: handshakes with each other, and idle work for as long as the start takes; the row of daemons alone, which
have no peers, is without. Convergence is what the daemons' own views say, at the moment they say it: all peers reached,
and one topology. Idle figures are of all daemons over one stretch of time: processor time by `/proc/PID/stat`, bytes of
control frames by the daemons' own count, and all bytes of the underlay (heartbeats too) by the interface's.
"""

import asyncio
import json
import os
import time
from typing import Any

from benchmarks.labs import hosts_yaml, on_lab
from benchmarks.processor_time import of_all
from benchmarks.rows import Row, asked, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay, must, together
from lab.errors import LabError
from lab.records.history import View
from lab.scenario.resolve import Resolved

_SETTLE = 15.0
"""Seconds after convergence before the idle stretch begins."""
_IDLE = 30.0
_LIMIT = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")
_ALONE = 16
_STEPS = (1, 5, 23, 77)
"""The peers that one of a sparse mesh dials, as distances on a circle."""


def run(peers: int = 64, many: int = 256) -> list[Row]:
    """Rows of the full mesh without and with a password, and of the sparse one. OVERLAY_LAB_BENCH_RUNS: how many of
    each; OVERLAY_LAB_BENCH_PEERS: of the sparse mesh."""
    many = int(asked("PEERS", many))
    found: dict[str, list[dict[str, Any]]] = {"": [], "password": [], "sparse": []}
    for attempt in range(int(asked("RUNS", 3))):
        for kind in found:
            found[kind].append(_measure(many if kind == "sparse" else peers, kind, attempt))
    alone = [_start_alone(attempt) for attempt in range(int(asked("RUNS", 3)))]
    rows = [row(f"{_ALONE} peers, each alone", "processor time of one start", "ms", alone, goal="under 150 ms")]
    for kind, results in found.items():
        name = f"sparse mesh of {many}" if kind == "sparse" else f"{peers} peers" + (", password" if kind else "")
        limits = {"": "under 15 s", "password": "under 60 s"}
        for key, metric, unit, goal in (
            ("started", "all routers started", "s", "under 5 s" if kind == "" else ""),
            ("start_cpu", "processor time of one start", "ms", ""),
            ("converged", "last start to one mesh", "s", limits.get(kind, "")),
        ):
            rows.append(row(name, metric, unit, [float(result[key]) for result in results], goal=goal))
        for key, metric, unit, goal in (
            ("memory", "memory of a router (PSS)", "MB", ""),
            ("cpu", "idle processor time of a peer", "%", "under 1 % of a core"),
            ("control", "idle control frames sent by a peer", "B/s", "under 1 kB/s"),
            ("wire", "all idle bytes sent by a host", "B/s", ""),
        ):
            values = [float(value) for result in results for value in result[key]]
            rows.append(row(name, metric, unit, values, goal=goal))
    return rows


def _start_alone(attempt: int) -> float:
    """Milliseconds of processor time of one start without peers."""

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        used = of_all()
        await together(
            must(host, ["weave", "launch", "--ipalloc-init", "consensus=1"], timeout=_LIMIT)
            for host in lab.hosts.values()
        )
        return 1000 * (of_all() - used) / len(lab.hosts)

    found: float = on_lab(_scenario(_ALONE), f"bench-mesh-alone-{attempt}", work)
    return found


def _scenario(hosts: int) -> str:
    return f"version: 1\nname: bench-mesh\n{hosts_yaml(hosts)}\noverlay: {{kind: weave}}\ntimeline:\n  - launch: all\n"


def _measure(peers: int, kind: str, attempt: int) -> dict[str, Any]:
    flags = ["--ipalloc-init", f"consensus={peers}", *(["--password", "correct horse"] if kind == "password" else [])]
    flags += ["--no-discovery"] if kind == "sparse" else []

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        names = list(resolved.hosts)
        addresses = [resolved.hosts[name].address for name in names]

        def targets(at: int) -> list[str]:
            if kind == "sparse":
                return [addresses[(at + step) % len(addresses)] for step in _STEPS]
            return addresses[:1] if at else []

        used, begun = of_all(), time.monotonic()
        await together(
            must(lab.hosts[name], ["weave", "launch", *flags, *targets(at)], timeout=_LIMIT)
            for at, name in enumerate(names)
        )
        started = time.monotonic()
        used = of_all() - used
        converged = await _converged(lab, names, full=kind != "sparse") - started
        await asyncio.sleep(_SETTLE)
        before = await asyncio.gather(*(_counters(lab, name) for name in names))
        since = time.monotonic()
        await asyncio.sleep(_IDLE)
        after = await asyncio.gather(*(_counters(lab, name) for name in names))
        span = time.monotonic() - since
        rates = [[(b - a) / span for a, b in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]
        return {
            "started": started - begun,
            "start_cpu": 1000 * used / len(names),
            "converged": converged,
            "memory": [await _memory(lab, name) for name in names[:16]],
            "cpu": [100 * ticks / _TICKS for ticks, _, _ in rates],
            "control": [control for _, control, _ in rates],
            "wire": [wire for _, _, wire in rates],
        }

    found: dict[str, Any] = on_lab(_scenario(peers), f"bench-mesh-{kind or 'clear'}-{attempt}", work)
    return found


async def _converged(lab: NetnsLab, names: list[str], *, full: bool) -> float:
    """When the last peer has come to say that it reaches all, and in a full mesh neighbours all."""
    latest: dict[str, View] = {}
    done = asyncio.Event()
    at = 0.0

    async def follow(name: str) -> None:
        nonlocal at
        async for view in lab.hosts[name].views():
            if not isinstance(view, View):
                raise LabError(f"bench mesh: the daemon of {name} is gone")
            latest[name] = view
            whole = len(latest) == len(names) and all(
                each.reachable == len(names) and (not full or len(each.neighbours) == len(names) - 1)
                for each in latest.values()
            )
            if whole and len({each.topology for each in latest.values()}) == 1:
                at = time.monotonic()
                done.set()

    followers = [asyncio.ensure_future(follow(name)) for name in names]
    try:
        async with asyncio.timeout(_LIMIT):
            await done.wait()
    except TimeoutError:
        low = min((len(view.neighbours) for view in latest.values()), default=0)
        raise LabError(f"bench mesh: no whole mesh within {_LIMIT:g} s; some peer has {low} neighbours") from None
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
    return at


async def _memory(lab: NetnsLab, name: str) -> float:
    """MB of the router of one host, shared pages in parts."""
    pid = json.loads(await must(lab.hosts[name], ["weave", "report"]))["driver"]["pid"]
    text = await must(lab.hosts[name], ["cat", f"/proc/{pid}/smaps_rollup"])
    return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) / 1024


async def _counters(lab: NetnsLab, name: str) -> tuple[float, float, float]:
    """Ticks of processor time, bytes of control frames, bytes on the wire, so far."""
    host = lab.hosts[name]
    report = json.loads(await must(host, ["weave", "report"]))["driver"]
    stat = (await must(host, ["cat", f"/proc/{report['pid']}/stat"])).rpartition(")")[2].split()
    device = next(line for line in (await must(host, ["cat", "/proc/net/dev"])).splitlines() if "eth0:" in line)
    return int(stat[11]) + int(stat[12]), report["sent_octets"], int(device.split()[9])
