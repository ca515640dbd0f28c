"""Each overlay that is a program of Debian: containers reach each other, and do so again after a partition.

`lab overlay check NAME` plays more; these are the trials of which no overlay may fail one.
"""

import json
import os
from pathlib import Path

import pytest
from foreign_packages import lab
from overlay_programs import require_overlay

from lab.kinds.overlays import OVERLAYS


def _overlays() -> list[object]:
    """In turns, as other large suites."""
    names = [kind.name for kind in OVERLAYS if kind.programs]
    return [pytest.param(name, marks=pytest.mark.turn(number % 4)) for number, name in enumerate(names)]


@pytest.mark.parametrize("name", _overlays())
def test_it_passes_reach_and_cut(name: str, tmp_path: Path) -> None:
    require_overlay(name)
    words = ("overlay", "check", name, "--only", "reach", "--only", "cut", "--json")
    done = lab(*words, cwd=tmp_path, environment=dict(os.environ))
    assert done.returncode in (0, 3), (done.stdout, done.stderr)
    told = json.loads(done.stdout)
    assert told["overlay"]["version"], told
    found = {trial["trial"]: (trial["verdict"], trial["reason"]) for trial in told["trials"]}
    # "unknown": the machine was too busy to say anything, twice.
    assert set(found) == {"reach", "cut"} and {verdict for verdict, _ in found.values()} <= {"passed", "unknown"}, found
