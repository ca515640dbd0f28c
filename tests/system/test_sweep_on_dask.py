"""A sweep on a real Dask scheduler with two real workers, on loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sweep_players import fail_at_three, make_up, planned
from tiers import cannot_run
from waiting import eventually

from lab.errors import LabError
from lab.sweep.pools import Cluster
from lab.sweep.run import sweep
from lab.sweep.table import read_table

SUPPORT = Path(__file__).parents[1] / "support"
SCENARIO = Path(__file__).parents[2] / "scenarios" / "partition.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def dask(*words: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = dict(os.environ) | {"PYTHONPATH": str(SUPPORT)}
    with (folder / f"{words[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words], env=environment, cwd=folder, stdout=log, stderr=log
        )


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler that has two workers with one thread each."""
    try:
        import distributed
    except ImportError:
        cannot_run("Dask is not installed: pip install 'overlay-lab[sweep]'")
    folder = tmp_path_factory.mktemp("dask")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    started = [dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", folder=folder)]
    try:
        eventually(lambda: listens(port))
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        started += [dask("worker", address, *options, folder=folder) for _ in range(2)]
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=90)
        yield address
    finally:
        for process in reversed(started):  # one by one: a worker hangs if scheduler and signal end it at once
            process.terminate()
            process.wait(timeout=30)


def test_runs_are_played_by_the_workers(scheduler: str, tmp_path: Path) -> None:
    where: list[str] = []
    swept = sweep(
        planned(range(12), tmp_path),
        lambda: Cluster(scheduler, make_up),
        begun=lambda reused, text: where.append(text),
    )
    assert swept.complete and where == ["on 2 Dask workers with 2 threads"]
    assert sorted(map(int, (tmp_path / "played").read_text().split())) == list(range(12))
    again = sweep(planned(range(14), tmp_path), lambda: Cluster(scheduler, make_up))
    assert again.reused == 12 and again.complete


def test_an_error_in_a_worker_is_the_runs_result(scheduler: str, tmp_path: Path) -> None:
    swept = sweep(planned(range(5), tmp_path), lambda: Cluster(scheduler, fail_at_three))
    assert [(point.seed, point.reason) for point in swept.points if point.failed] == [(3, "ValueError: no such luck")]


def test_the_command_plays_simulated_runs_on_the_cluster(scheduler: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab.cli", "sweep", str(SCENARIO), "--seeds", "3", "--json", "--out"]
    there = subprocess.run([*command, str(tmp_path / "a"), "--scheduler", scheduler], capture_output=True, text=True)
    here = subprocess.run([*command, str(tmp_path / "b"), "--jobs", "1"], capture_output=True, text=True)
    assert there.returncode == here.returncode == 0, there.stderr + here.stderr
    assert "2 Dask workers" not in here.stderr and (tmp_path / "a" / "index.html").is_file()
    # A run is a function of scenario and seed, wherever it is played; only how long it took may differ.
    a, b = ([replace(point, wall=0, replay="") for point in read_table(tmp_path / name / "sweep.csv")] for name in "ab")
    assert a == b and len(a) == 3


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.sweep.pools._CONNECT", 1)
    with pytest.raises(LabError, match=r"no Dask scheduler answers at .*start one by"):
        Cluster(f"tcp://127.0.0.1:{free_port()}")
