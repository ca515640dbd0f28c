"""Healing: how soon after a partition everything reaches everything again, by the partition's length.

One lab of two hosts is cut and healed again and again while containers of both ask each other over HTTP every 20 ms;
a figure is the time from the heal until every such probe succeeds and keeps succeeding, by the same tracker that
judges scenarios. Several labs run at once, each a few cuts, started apart so that their heals do not coincide.
"""

import asyncio
import io
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.labs import hosts_yaml, inside, scenario
from benchmarks.rows import Row, percentile, row
from lab.backends.netns import NetnsBackend
from lab.errors import LabError
from lab.records.history import Writer
from lab.runner.runner import Runner

_LABS = 5
_APART = 1.7
"""Seconds between the starts of two labs."""


def run(cuts: int = 20, lengths: tuple[int, ...] = (5, 70)) -> list[Row]:
    """Rows for each length of cut (seconds): reachability after the heal, median and 95th percentile of `cuts`."""
    rows = []
    for length in lengths:
        values = [value / 1e9 for value in _heals(length, cuts)]
        rows.append(row(f"cut of {length} s", "heal to full reachability", "s", values, goal="median under 1 s"))
        tail = percentile(values, 0.95)
        rows.append(
            Row(
                name=f"cut of {length} s",
                metric="heal to full reachability, p95",
                unit="s",
                median=tail,
                min=min(values),
                max=max(values),
                runs=len(values),
                goal="under 2 s",
            )
        )
    return rows


def _heals(length: int, cuts: int) -> list[int]:
    """Nanoseconds from each heal to full reachability."""
    each = [cuts // _LABS + (index < cuts % _LABS) for index in range(_LABS)]

    def one(index: int) -> list[int]:
        time.sleep(index * _APART)
        found: list[int] = inside(f"bench-heal-{length}-{index}", lambda: asyncio.run(_play(length, each[index])))
        return found

    # Threads only wait here; each lab is a process tree of its own.
    with ThreadPoolExecutor(_LABS) as pool:
        return [value for found in pool.map(one, [index for index in range(_LABS) if each[index]]) for value in found]


def _timeline(length: int, cuts: int) -> str:
    steps = ["  - launch: all", "  - connect: all", "  - run: all", "  - expect: {converged: all, within: 20s}"]
    for _ in range(cuts):
        steps += [
            "  - partition: {groups: [[host1], [host2]]}",
            f"  - wait: {length}s",
            "  - heal: all",
            "  - expect: {converged: all, within: 30s}",
            "  - wait: 2s",
        ]
    return "\n".join(steps)


async def _play(length: int, cuts: int) -> list[int]:
    text = f"""version: 1
name: bench-heal
{hosts_yaml(2)}
services:
  svc1: {{image: ksahnine/dummy-http, args: [svc1], host: host1}}
  svc2: {{image: ksahnine/dummy-http, args: [svc2], host: host2}}
probes:
  - {{kind: http, from: all, to: all, every: 20ms, timeout: 500ms}}
timeline:
{_timeline(length, cuts)}
"""
    runner = Runner(scenario(text, "bench-heal"), NetnsBackend(), Writer(io.BytesIO()))
    outcome = await runner.run()
    if outcome.verdict != "valid":
        raise LabError(f"bench heal: {outcome.reason}")
    found = [each["metrics"].get("reachability") for each in outcome.convergence if each["label"].startswith("heal")]
    if len(found) != cuts or None in found:
        raise LabError(f"bench heal: {cuts} heals were made, but their convergence is {found}")
    return found
