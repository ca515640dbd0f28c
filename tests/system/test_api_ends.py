"""A program that plays a scenario from Python on real packets and ends, in whatever way, leaves no lab running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab_processes import family, gone, of_a_lab
from netns_labs import require_netns
from waiting import PATIENCE, eventually

import lab

PROGRAM = """
import lab, sys
scenario = {
    "version": 1,
    "name": "api-ends",
    "underlay": {"hosts": {"a": {}, "b": {}}},
    "overlay": "none",
    "timeline": [{"exec": {"host": "a", "command": "true"}}, {"wait": sys.argv[2]}],
}
try:
    print(lab.play(scenario, out=sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted")
"""


def started(out: Path, wait: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out), wait], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_a_run_on_real_packets(tmp_path: Path) -> None:
    require_netns()
    with started(tmp_path, "0s") as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert out == "<run of api-ends on netns: valid>\n"
    run = lab.load("api-ends", root=tmp_path)
    assert run.verdict == "valid" and run.events.where(what="exec")[-1].detail["code"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_no_lab_outlives_the_program(number: signal.Signals, tmp_path: Path) -> None:
    require_netns()
    with started(tmp_path, "300s") as process:

        def ran() -> bool:
            assert process.poll() is None
            try:
                return bool(lab.load("api-ends", root=tmp_path).events.where(what="exec"))
            except lab.LabError:
                return False

        eventually(ran, what="the first step")
        own = of_a_lab(family(process.pid))
        assert own
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE)
    gone(own)
    assert out == ("interrupted\n" if number is signal.SIGINT else "")
    eventually(lambda: lab.load("api-ends", root=tmp_path).verdict == "unknown", what="a verdict")
