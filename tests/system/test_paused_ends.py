"""A lab that is killed while a host of it is paused leaves nothing behind: SIGKILL ends what SIGSTOP has stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lab_processes import family, gone, of_a_lab
from netns_labs import require_netns
from waiting import eventually

SCENARIO = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
services: {one: {image: ksahnine/dummy-http, args: [one], host: b}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - pause: {host: b}
  - wait: 10m
"""


def stopped(pid: int) -> set[str]:
    """Names of the stopped processes of a family."""
    found = set()
    for one, name in family(pid).items():
        try:
            state = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state == "T":
            found.add(name)
    return found


def test_a_killed_lab_leaves_no_stopped_process(tmp_path: Path) -> None:
    require_netns()
    file = tmp_path / "paused.yaml"
    file.write_text(SCENARIO)
    words = [sys.executable, "-m", "lab.cli", "run", str(file), "--backend", "netns", "--out", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as run:
        try:
            eventually(lambda: len(stopped(run.pid)) > 0, 120, "the host is stopped")
            own = of_a_lab(family(run.pid))
            assert own
        finally:
            os.kill(run.pid, signal.SIGKILL)
        gone(own)
