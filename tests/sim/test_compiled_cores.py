"""Compiled cores come to the very same as the sources do: histories of scenarios, and worlds of many peers in churn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tiers import cannot_run

from benchmarks.worlds import Outcome, Play
from lab.compiled.building import build, missing
from lab.compiled.parts import SWITCH
from overlay.env import SECOND

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """They are built, which takes a minute where these sources' are not in the cache."""
    if lack := missing():
        cannot_run(lack)
    build(print)


def output(*command: str, compiled: bool) -> str:
    """What a command prints."""
    environment = {**os.environ, SWITCH: "1" if compiled else "0"}
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["churn", "encrypted", "mtu-drop", "nat", "walkthrough"])
def test_histories_are_the_same_to_the_byte(name: str, tmp_path: Path) -> None:
    histories = []
    for compiled in (False, True):
        command = ("lab.cli", "run", f"scenarios/{name}.yaml", "--backend", "sim", "--json", "--out", str(tmp_path))
        summary = json.loads(output(*command, compiled=compiled).splitlines()[-1])
        histories.append(Path(summary["run_dir"], "history.jsonl").read_bytes())
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    "play",
    [
        Play("split", 48, 6, cut=10 * SECOND),
        Play("churn", 24, 4, duration=60 * SECOND, gap=2 * SECOND, away=8 * SECOND),
        Play("change", 16, 4, changes=2),
    ],
    ids=lambda play: play.play,
)
def test_worlds_handle_and_send_the_same(play: Play) -> None:
    text = msgspec.json.encode(play).decode()
    interpreted, compiled = (
        msgspec.json.decode(output("benchmarks.alone", text, compiled=compiled), type=Outcome)
        for compiled in (False, True)
    )
    assert (interpreted.compiled, compiled.compiled) == (False, True)
    assert compiled.extra == interpreted.extra
    for one, other in zip(interpreted.phases, compiled.phases, strict=True):
        assert msgspec.structs.replace(one, cpu=0) == msgspec.structs.replace(other, cpu=0)
