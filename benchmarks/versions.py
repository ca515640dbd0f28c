"""This code and an earlier commit's: two hosts up, the simulator at 100 and 500 peers, throughput to hand-made VXLAN.

The other commit stands in a checkout of its own, with its own environment (`make setup` there), which
OVERLAY_LAB_BENCH_BEFORE names. Both are asked in turn, round by round, each by its own interpreter. The simulator's
cores are those that Python interprets; its times are those that the process was at work, the least of the runs being
the least disturbed. Throughput is the ratio that each tree's own `datapath` benchmark finds in one run.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.bringup import scenario_of
from benchmarks.rows import Row, asked, row
from lab.compiled.parts import SWITCH
from lab.errors import LabError
from overlay.env import SECOND

BEFORE = "OVERLAY_LAB_BENCH_BEFORE"
_UP = """
import pathlib, sys
from benchmarks.bringup import time_up
print(time_up(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""
_PATH = """
import json
from benchmarks.datapath import run
from msgspec import to_builtins
print(json.dumps([to_builtins(row) for row in run(3, 1.0)]))
"""


def run() -> list[Row]:
    """Rows for both trees. OVERLAY_LAB_BENCH_RUNS: how often each is asked (5)."""
    trees = {"before": _before(), "now": Path.cwd()}
    runs = int(asked("RUNS", 5))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "up2.yaml")
        file.write_text(scenario_of(2), encoding="utf-8")
        plays: dict[tuple[str, str, str], Callable[[Path], float]] = {
            ("2 hosts", "up and converged", "s"): lambda tree: float(_asked(tree, "-c", _UP, str(file), folder)),
            ("100 peers, 60 s of churn", "simulator at work", "s"): lambda tree: _world(tree, "churn", 100),
            ("500 peers, split and heal", "simulator at work", "s"): lambda tree: _world(tree, "split", 500),
            ("throughput of weave", "ratio to hand-made VXLAN", ""): _throughput,
        }
        rows = []
        for (name, metric, unit), play in plays.items():
            found: dict[str, list[float]] = {tree: [] for tree in trees}
            for _ in range(runs):
                for tree, place in trees.items():
                    found[tree].append(play(place))
            before = row(f"{name}, before", metric, unit, found["before"], version=_commit(trees["before"]))
            goal = "at least 0.95" if not unit else "at most 1.05"
            rows += [before, row(f"{name}, now", metric, unit, found["now"], against=before, goal=goal)]
    return rows


def _before() -> Path:
    place = os.environ.get(BEFORE, "")
    if not place or not Path(place, ".venv/bin/python").exists():
        raise LabError(
            f"{BEFORE}: found {place or 'nothing'!r}, expected a checkout of another commit with its .venv: "
            "`git worktree add ../before COMMIT && make -C ../before setup` makes one"
        )
    return Path(place).resolve()


def _asked(tree: Path, *words: str) -> str:
    """What this tree's interpreter prints."""
    environment = {**os.environ, SWITCH: "0"}
    command = [str(tree / ".venv/bin/python"), *words]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout.rstrip().rpartition("\n")[2]


def _world(tree: Path, play: str, peers: int) -> float:
    words = {"play": play, "peers": peers, "degree": 8, "duration": 60 * SECOND}
    told = json.loads(_asked(tree, "-m", "benchmarks.alone", json.dumps(words)))
    return float(sum(phase["cpu"] for phase in told["phases"]))


def _throughput(tree: Path) -> float:
    rows = json.loads(_asked(tree, "-c", _PATH))
    return float(next(each["ratio"] for each in rows if each["metric"] == "throughput" and each["ratio"] is not None))


def _commit(tree: Path) -> str:
    words = ["git", "-C", str(tree), "log", "-1", "--format=%h, %cs"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
