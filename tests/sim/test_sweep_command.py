"""`lab sweep` and its like as a person runs them: simulated runs in worker processes, interrupted, taken up again."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import eventually

from lab.sweep.table import read_table

SCENARIO = """\
# How soon do hosts agree?
version: 1
underlay: {generate: {kind: ring, hosts: 3}}
overlay: weave
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 20s}
  - wait: 40s
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yaml"
    path.write_text(SCENARIO)
    return path


def lab(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_parameters_of_topology_and_overlay_reach_the_peers(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = lab("sweep", scenario, "--seeds", 2, "--set", "topology.hosts=3,5", "--set",
               "overlay.gossip_interval=500ms,30s", "--out", out, "--json", "--jobs", 2)  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    assert (summary["runs"], summary["verdict"]) == (8, "valid")
    points = read_table(out)
    assert sorted({point.peers for point in points}) == [3, 5]
    sent: dict[str, list[float]] = {"500ms": [], "30s": []}
    for point in points:
        assert point.messages_per_peer is not None
        sent[point.parameters["overlay.gossip_interval"]].append(point.messages_per_peer)
    assert min(sent["500ms"]) > max(sent["30s"]) + 20, "rounds of anti-entropy are messages"
    # Every point can be played again by the command beside it, with the same outcome.
    again = lab("run", *points[0].replay.split()[2:], "--out", tmp_path / "runs", "--json")
    assert again.returncode == 0, again.stderr


def test_bad_words_exit_with_2_and_leave_nothing(scenario: Path, tmp_path: Path) -> None:
    for words in (
        ["--set", "topology.hosts=2"],
        ["--set", "overlay.gosip=1s"],
        ["--set", "overlay.gossip_interval=soon"],
        ["--seeds", "x"],
        ["--backend", "netns", "--scheduler", "tcp://127.0.0.1:1"],
        ["--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"],
    ):
        done = lab("sweep", scenario, "--out", tmp_path / "out", *words)
        assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr, (words, done)
        assert not (tmp_path / "out").exists(), words


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lab.cli", "sweep", str(scenario), "--seeds", "2000", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ledger = out / "points.jsonl"
    eventually(lambda: ledger.exists() and ledger.read_text().count("\n") >= 3)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 3 and "go on with" in told and f"sweep {scenario} --seeds 2000" in told
    done = len(read_table(out))
    assert 3 <= done < 2000 and (out / "index.html").is_file()
    more = lab("sweep", scenario, "--seeds", done + 1, "--out", out)
    assert more.returncode == 0 and "are there already" in more.stderr
    assert len(read_table(out)) == done + 1


def test_explore_says_that_nothing_was_found(scenario: Path, tmp_path: Path) -> None:
    done = lab("explore", scenario, "--seeds", 2, "--out", tmp_path / "out", "--json", "--jobs", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    assert told["found"] is False and told["schedules"] == 2 and not (tmp_path / "out").exists()
