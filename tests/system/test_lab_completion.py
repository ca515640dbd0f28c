"""Completion of labs that run, and of their hosts."""

import os
import shlex
import subprocess
import sys

from netns_labs import ROOT, held, require_netns


def offered(line: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMP_WORDS": line, "COMP_CWORD": str(len(shlex.split(line)))}
    environment |= {"_LAB_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli"], env=environment, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return [entry.removeprefix("plain,") for entry in done.stdout.split()]


def test_labs_that_run_and_their_hosts_are_offered() -> None:
    require_netns()
    name = f"completed-{os.getpid()}"
    with held(name, 2):
        assert name in offered("lab down --name ")
        assert offered(f"lab exec --name {name} ") == ["h1", "h2"]
        assert offered(f"lab shell --name {name} ") == ["h1", "h2"]
