"""How far round trips over a perfect link lie apart on real packets, which is where the simulator's spread comes from.

Containers of four hosts of a lab of namespaces send each other ICMP echoes, each pair every 100 ms, over the overlay.
The figures are quantiles, in the middle of sixteen equal parts, of round trips by the median of their own pair; and, in
four parts, of the medians of pairs by the median of all pairs. `lab.sim.spread` has both as tables. The measuring
processes run at the highest priority that the user may give them, as what else the machine does is no part of a link.
"""

import asyncio
import io
import os
from collections import defaultdict
from statistics import median

from benchmarks.labs import hosts_yaml, inside, scenario
from benchmarks.links import prefer
from benchmarks.rows import Row, asked, percentile, row
from lab.backends.netns import NetnsBackend
from lab.errors import LabError
from lab.records.history import Sample, Writer, decode
from lab.runner.runner import Runner
from lab.sim.spread import BETWEEN_PAIRS, ROUND_TRIP

_HOSTS = 4
_SETTLING = 5_000_000_000
"""Nanoseconds at the beginning of a run that are left out: containers start then."""


def run() -> list[Row]:
    """Spread of round trips. OVERLAY_LAB_BENCH_RUNS: labs. OVERLAY_LAB_BENCH_SECONDS: how long each measures."""
    rounds, seconds = int(asked("RUNS", 5)), asked("SECONDS", 20)
    found = [inside(f"bench-spread-{number}", lambda: asyncio.run(_play(seconds))) for number in range(rounds)]
    rows = [row("all pairs", "median round trip", "us", [median(_every(pairs)) / 1e3 for pairs in found])]
    for what, table, values in (
        ("round trip by its pair's median", ROUND_TRIP, [_within(pairs) for pairs in found]),
        ("pair's median by that of all", BETWEEN_PAIRS, [_between(pairs) for pairs in found]),
    ):
        for place, modelled in enumerate(table):
            part = (2 * place + 1) / (2 * len(table))
            rows.append(
                row(
                    f"quantile {2 * place + 1}/{2 * len(table)}",
                    what,
                    "",
                    [percentile(each, part) for each in values],
                    goal=f"{modelled / 1e3:g} is simulated",
                )
            )
    return rows


def _within(pairs: list[list[int]]) -> list[float]:
    return [trip / median(trips) for trips in pairs for trip in trips]


def _between(pairs: list[list[int]]) -> list[float]:
    middles = [median(trips) for trips in pairs]
    return [middle / median(middles) for middle in middles]


def _every(pairs: list[list[int]]) -> list[int]:
    return [trip for trips in pairs for trip in trips]


async def _play(seconds: float) -> list[list[int]]:
    """Round trips of each pair of hosts, in nanoseconds."""
    prefer(os.getpid())
    services = "\n".join(
        f"  svc{number}: {{image: ksahnine/dummy-http, args: [x], host: host{number}}}"
        for number in range(1, _HOSTS + 1)
    )
    text = f"""version: 1
name: bench-spread
{hosts_yaml(_HOSTS)}
services:
{services}
probes:
  - {{kind: icmp, from: all, to: all, every: 100ms, timeout: 90ms}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{converged: all, within: 20s}}
  - wait: {_SETTLING // 1_000_000_000 + round(seconds)}s
"""
    kept = io.BytesIO()
    outcome = await Runner(scenario(text, "bench-spread"), NetnsBackend(), Writer(kept)).run()
    if outcome.verdict != "valid":
        raise LabError(f"bench spread: {outcome.reason}")
    samples = [one for line in kept.getvalue().splitlines() if isinstance(one := decode(line), Sample)]
    begun = min(one.t for one in samples) + _SETTLING
    pairs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in samples:
        if one.latency is not None and one.t > begun:
            pairs[one.source, one.target].append(one.latency)
    return list(pairs.values())
