"""Every scenario of the project on simulated hosts: valid, and the same to the byte whatever Python's hash seed is."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.backends.simulated.backend import SimBackend
from lab.records.history import Writer
from lab.records.store import read_summary
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import load_resolved

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))


def played(path: Path, seed: int | None = None) -> tuple[RunOutcome, bytes]:
    scenario = load_resolved(path, seed)
    backend, history = SimBackend(), io.BytesIO()
    assert backend.refuse(scenario) == []
    outcome = backend.run(Runner(scenario, backend, Writer(history)).run())
    return outcome, history.getvalue()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_is_valid(path: Path) -> None:
    outcome, _ = played(path)
    assert (outcome.verdict, outcome.reason) == ("valid", "")


def test_another_seed_is_another_run() -> None:
    path = ROOT / "scenarios" / "scale.yaml"
    first, second, again = played(path, 7)[1], played(path, 8)[1], played(path, 7)[1]
    assert first == again
    assert first.partition(b"\n")[2] != second.partition(b"\n")[2]


_PLAY = """
import sys
sys.path.insert(0, sys.argv[1])
import test_simulated_scenarios as t
for name in sys.argv[2:]:
    sys.stdout.buffer.write(t.played(t.ROOT / "scenarios" / name)[1])
"""


def test_same_bytes_with_any_hash_seed() -> None:
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _PLAY,
                str(Path(__file__).parent),
                "walkthrough.yaml",
                "restart.yaml",
                "churn.yaml",
                "wrong-password.yaml",
                "nat.yaml",
                "mtu-drop.yaml",
            ],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "4242")
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert len(first) > 100_000
    assert first == second


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_run_that_nobody_reads_goes_on(lines: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab.cli", "run", str(ROOT / "scenarios" / "scale.yaml"), "--backend", "sim"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as lab:
        assert lab.stdout is not None and lab.stderr is not None
        for _ in range(lines):
            lab.stdout.readline()
        lab.stdout.close()
        complaint = lab.stderr.read()
    assert "Traceback" not in complaint
    assert read_summary(tmp_path / "scale" / "latest").verdict == "valid"
