"""The simulator: how fast virtual time passes, how time and memory grow with the peers, what gossip costs.

Each figure is a world of its own in a process of its own (`lab.bench.worlds`), pinned to one core. Times are those
that the process was at work, so that a shared machine blurs them less; peak memory is its resident set. Growth is the
slope of the logarithms over the whole range: 1 is linear, 2 quadratic, 0 constant.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from math import log

import msgspec

from lab.bench import whole_state
from lab.bench.rows import Row, asked, row
from lab.bench.worlds import Outcome, Play
from lab.errors import LabError
from overlay.env import SECOND

SIZES = (125, 250, 500, 1000, 2000)
DEGREE = 8
CHANGE_SIZES = (64, 128, 256, 512)
MEGABYTE = 1_000_000


def run(sizes: Sequence[int] = SIZES) -> list[Row]:
    """All rows. OVERLAY_LAB_BENCH_PEERS: the most peers of the growth series (2,000 take minutes and gigabytes)."""
    most = asked("PEERS", max(sizes))
    print(f"load average at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    rows = [*_churn(), *_idle(), *_gossip()]
    return [*rows, *_growth([size for size in sizes if size <= most])]


def _churn(runs: int = 3) -> list[Row]:
    """How many seconds of virtual time pass in one of the process, boot and last settling included."""
    outcomes = [measure(Play("churn", 100, DEGREE, seed)) for seed in range(1, runs + 1)]
    gone = min(outcome.extra["departures"] for outcome in outcomes)
    name = f"100 peers, 10 min, {gone:.0f} departures"
    speeds = [sum(phase.virtual for phase in o.phases) / sum(phase.cpu for phase in o.phases) for o in outcomes]
    costs = [sum(phase.cpu for phase in o.phases) for o in outcomes]
    return [
        row(name, "times real time", "x", speeds, goal="at least 50"),
        row(name, "whole run", "s", costs),
    ]


def _idle() -> list[Row]:
    """What a peer costs that has nothing to say: 64 fully meshed."""
    outcome = measure(Play("idle", 64, 63, duration=120 * SECOND))
    idle = outcome.phases[-1]
    each = idle.virtual * 64
    return [
        row(
            "64 peers, full mesh, idle", "gossip of a peer", "B/s", [outcome.extra["gossip"] / each], goal="under 1000"
        ),
        row("64 peers, full mesh, idle", "inputs of a peer", "/s", [idle.handled / each]),
        row("64 peers, full mesh, idle", "CPU of a peer's cores", "%", [100 * idle.cpu / each], goal="under 1"),
    ]


def _each(outcome: Outcome, kind: str) -> list[float]:
    """What each change of this kind cost; the first after a boot also prunes the tree that carries it."""
    return [octets for name, octets in outcome.extra.items() if name.startswith(f"{kind} ")]


def _gossip() -> list[Row]:
    """Octets that each peer sends for one change, by number of peers; and what gossip of whole states would send."""
    outcomes = [measure(Play("change", size, DEGREE)) for size in CHANGE_SIZES]
    rows: list[Row] = []
    for kind in ("name", "ring", "link"):
        for outcome in outcomes:
            ours = row(f"{outcome.peers} peers", f"gossip of a peer, one {kind}", "B", _each(outcome, kind))
            there = [outcome.extra[f"original {kind}"]]
            rows += [ours, row(f"{outcome.peers} whole", ours.metric, "B", there, against=ours)]
        ours_all = [(outcome.peers, statistics.median(_each(outcome, kind))) for outcome in outcomes]
        whole = [(outcome.peers, outcome.extra[f"original {kind}"]) for outcome in outcomes]
        rows.append(_slope(f"gossip of one {kind}", ours_all, goal="under 1, which is linear"))
        rows.append(_slope(f"gossip of one {kind}, whole states", whole))
    metric = f"gossip of a peer at rest, in {whole_state.PERIOD} s"
    rows += [row(f"{o.peers} whole", metric, "B", [o.extra["original round"]]) for o in outcomes]
    return rows


def _growth(sizes: Sequence[int]) -> list[Row]:
    """Boot, converge, split in half, heal, converge again."""
    rows: list[Row] = []
    outcomes = []
    for size in sizes:
        outcome = measure(Play("split", size, DEGREE))
        outcomes.append(outcome)
        name = f"{size} peers"
        goals = ("under 90", "under 4,000") if size == 1000 else ("", "")
        rows += [row(name, phase.name, "s", [phase.cpu]) for phase in outcome.phases]
        rows.append(row(name, "boot, split, heal", "s", [sum(phase.cpu for phase in outcome.phases)], goal=goals[0]))
        rows.append(row(name, "peak memory", "MB", [outcome.rss / MEGABYTE], goal=goals[1]))
        virtual = {phase.name: phase.virtual for phase in outcome.phases}
        rows += [
            row(name, f"{what} to convergence", "s virtual", [virtual[what]]) for what in ("boot", "split", "heal")
        ]
    if len(outcomes) > 1:
        rows.append(_slope("boot, split, heal", [(o.peers, sum(phase.cpu for phase in o.phases)) for o in outcomes]))
        rows.append(_slope("peak memory", [(o.peers, o.rss) for o in outcomes]))
    return rows


def _slope(name: str, points: Sequence[tuple[float, float]], goal: str = "") -> Row:
    return row(name, "growth (exponent)", "", [exponent(points)], goal=goal)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Of which power of x is y: the slope of log y over log x, by least squares. All above 0, two different x."""
    xs, ys = [log(x) for x, _ in points], [log(y) for _, y in points]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def measure(play: Play) -> Outcome:
    """One world in one process on one core. Raises `LabError` with what it said when it fails."""
    print(f"  {play.play}, {play.peers} peers of degree {play.degree}, seed {play.seed}", flush=True)
    core = max(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "lab.bench.worlds", msgspec.json.encode(play).decode()]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, [core])
    )
    if result.returncode != 0:
        raise LabError(f"bench sim: {play} ended with {result.returncode}:\n{result.stderr[-2000:]}")
    return msgspec.json.decode(result.stdout, type=Outcome)
