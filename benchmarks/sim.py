"""The simulator: how fast virtual time passes, how time and memory grow with the peers, what gossip costs.

Each figure is a world of its own in a process of its own (`benchmarks.alone`), pinned to one core. Times are those
that the process was at work, so that a shared machine blurs them less; peak memory is its resident set. Growth is the
slope of the logarithms over the whole range: 1 is linear, 2 quadratic, 0 constant. The candidates are the cores as
compiled (`lab.compiled`) and as Python interprets them, in turn. A world of 1,000 peers waits for memory, so it takes
longer while others use the machine's cache. `docs/design.md` ("What a large world costs") has a profile.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import log

import msgspec

from benchmarks import whole_state
from benchmarks.cores import COMPILED, INTERPRETED, candidates
from benchmarks.rows import Row, asked, row
from benchmarks.worlds import Outcome, Play
from lab.compiled.parts import SWITCH
from lab.errors import LabError
from overlay.env import SECOND

SIZES = (125, 250, 500, 1000, 2000, 5000, 10_000)
USUAL = 2000
"""The most peers that are measured unless more are asked for."""
GOALS = {1000: ("under 30", "under 800"), 10_000: ("under 3,600", "under 20,000")}
"""Seconds and megabytes, by number of peers."""
DEGREE = 8
CHANGE_SIZES = (64, 128, 256, 512)
MOST_INTERPRETED = 500
"""Larger worlds are measured compiled alone."""
MEGABYTE = 1_000_000


def run(sizes: Sequence[int] = SIZES) -> list[Row]:
    """All rows. OVERLAY_LAB_BENCH_PEERS: the most peers of the growth series. 2,000 take minutes; 10,000 take
    hours, and more memory than most machines have.

    OVERLAY_LAB_BENCH_RUNS: how often each size of it is measured.
    """
    most, runs = asked("PEERS", USUAL), int(asked("RUNS", 1))
    kinds = candidates()
    print(f"load average at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    rows = [*_churn(kinds), *_idle(), *_gossip()]
    return [*rows, *_growth([size for size in sizes if size <= most], runs, kinds)]


def _churn(kinds: Mapping[str, bool], runs: int = 3) -> list[Row]:
    """How many seconds of virtual time pass in one of the process, boot and last settling included."""
    plays = [Play("churn", 100, DEGREE, seed) for seed in range(1, runs + 1)]
    found = [(kind, measure(play, compiled)) for play in plays for kind, compiled in kinds.items()]
    gone = min(outcome.extra["departures"] for _, outcome in found)
    rows: list[Row] = []
    for kind in kinds:
        outcomes = [outcome for of, outcome in found if of == kind]
        name = f"100 peers, 10 min, {gone:.0f} departures, {kind}"
        virtual = [sum(phase.virtual for phase in o.phases) for o in outcomes]
        costs = [o.busy for o in outcomes]
        speeds = [v / cost for v, cost in zip(virtual, costs, strict=True)]
        slower = rows[:2] if rows else [None, None]
        rows += [
            row(name, "times real time", "x", speeds, goal="at least 50", against=slower[0]),
            row(name, "whole run", "s", costs, against=slower[1]),
        ]
    return rows


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
    """Bytes that each peer sends for one change, by number of peers; and what gossip of whole states would send."""
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


def _growth(sizes: Sequence[int], runs: int, kinds: Mapping[str, bool]) -> list[Row]:
    """Boot, converge, split in half, heal, converge again."""
    rows: list[Row] = []
    points: dict[str, list[tuple[int, float]]] = {}
    for size in sizes:
        found = [
            (kind, measure(Play("split", size, DEGREE), compiled))
            for _ in range(runs)
            for kind, compiled in kinds.items()
            if size <= MOST_INTERPRETED or compiled == max(kinds.values())
        ]
        slower: Row | None = None
        for kind in kinds:
            outcomes = [outcome for of, outcome in found if of == kind]
            if not outcomes:
                continue
            name = f"{size} peers, {kind}"
            goals = GOALS.get(size, ("", ""))
            whole = row(name, "boot, split, heal", "s", [o.busy for o in outcomes], goal=goals[0], against=slower)
            memory = row(name, "peak memory", "MB", [o.rss / MEGABYTE for o in outcomes], goal=goals[1])
            slower = whole
            for index, phase in enumerate(outcomes[0].phases):
                rows.append(row(name, phase.name, "s", [o.phases[index].cpu for o in outcomes]))
            rows += [whole, memory]
            points.setdefault(f"boot, split, heal, {kind}", []).append((size, whole.median))
            points.setdefault(f"peak memory, {kind}", []).append((size, memory.median))
        virtual = {phase.name: phase.virtual for phase in found[0][1].phases}
        rows += [
            row(f"{size} peers", f"{what} to convergence", "s virtual", [virtual[what]])
            for what in ("boot", "split", "heal")
        ]
    goal = {name: "at most 1.5" for name in points if name.startswith("boot")}
    return [*rows, *(_slope(name, found, goal.get(name, "")) for name, found in points.items() if len(found) > 1)]


def _slope(name: str, points: Sequence[tuple[float, float]], goal: str = "") -> Row:
    return row(name, "growth (exponent)", "", [exponent(points)], goal=goal)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Of which power of x is y: the slope of log y over log x, by least squares. All above 0, two different x."""
    xs, ys = [log(x) for x, _ in points], [log(y) for _, y in points]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def measure(play: Play, compiled: bool = False) -> Outcome:
    """One world in one process on one core. Raises `LabError` with what it said when it fails."""
    kind = COMPILED if compiled else INTERPRETED
    print(f"  {play.play}, {play.peers} peers of degree {play.degree}, seed {play.seed}, {kind}", flush=True)
    core = max(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "benchmarks.alone", msgspec.json.encode(play).decode()]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, SWITCH: "1" if compiled else "0"},
        preexec_fn=lambda: os.sched_setaffinity(0, [core]),
    )
    if result.returncode != 0:
        raise LabError(f"bench sim: {play} ended with {result.returncode}:\n{result.stderr[-2000:]}")
    outcome = msgspec.json.decode(result.stdout, type=Outcome)
    if outcome.compiled != compiled:
        raise LabError(f"bench sim: {play} was to be measured {kind}, and was not: were the sources changed meanwhile?")
    return outcome
