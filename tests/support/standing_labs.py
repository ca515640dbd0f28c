"""Standing labs of real packets for tests: `lab up` in a folder of its own, hands over its control socket."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from netns_labs import ROOT, require_netns

from lab.backends.netns import LabClient, find, labs

SCENARIO = """\
# What can be done by hand?
version: 1
name: standing
underlay: {hosts: {a: {}, b: {}, c: {}}}
services:
  web: {image: ksahnine/dummy-http, args: [web], replicas: 3}
  solo: {image: ksahnine/dummy-http, args: [solo], hosts: [c]}
timeline: [{launch: all}, {connect: all}, {run: all}, {kill: a}]
"""
_numbers = count(1)


def lab(*words: str, cwd: Path, code: int | None = 0) -> "subprocess.CompletedProcess[str]":
    """A `lab` command; its exit code is checked unless that is None."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "COLUMNS": "80"}
    argv = [sys.executable, "-m", "lab.cli", *words]
    done = subprocess.run(argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done


@contextlib.contextmanager
def standing(folder: Path, text: str = SCENARIO) -> Iterator[str]:
    """The name of a lab that is up; taken down at the end if it still is."""
    require_netns()
    name = f"standing-{os.getpid()}-{next(_numbers)}"
    (folder / "standing.yaml").write_text(text)
    lab("up", "standing.yaml", "--name", name, cwd=folder)
    try:
        yield name
    finally:
        if name in [one.name for one in labs()]:
            lab("down", "--name", name, cwd=folder)


def ask(name: str, do: str, **arguments: Any) -> dict[str, Any]:
    """One request to a lab's control socket."""
    with LabClient(find(name)) as client:
        return client.call(do, **arguments)
