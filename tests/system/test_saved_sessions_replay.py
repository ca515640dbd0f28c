"""Sessions by hand in standing labs, saved and replayed on real packets and in virtual time: each is valid on both.

`make sessions` plays all of them, any other run two.
"""

import json
import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from standing_labs import ask, lab, standing

from lab.cli import lab as command

AGREE = "expect --converged all --within 60s"
REACH = "expect --reachable all --within 60s"
SESSIONS = {
    "cut with a lease": ["partition a b,c --for 500ms", AGREE, "partition --bridge b --for 1s", REACH],
    "cut, undone": ["partition --isolate c", "expect --unreachable-to web-3 --unreachable-from web-1", "undo", REACH],
    "cuts that overlap": ["partition a b,c", "partition --one-way-from b --one-way-to c", "heal", AGREE],
    "daemon killed and restarted": ["kill a", "restart a", "kill --daemon b --for 200ms", AGREE],
    "hosts switched off": ["kill --host b --for 1s", "kill --host c", "restart --host c", AGREE, REACH],
    "paused and resumed": ["pause --service web-2", "resume --service web-2", "pause c --for 300ms", REACH],
    "scaled": ["scale web 5", REACH, "scale web 2", "remove-service web", "run-service web", REACH],
    "links": ["link a b --delay 20ms --both", REACH, "link b c --rate 10mbit --for 500ms", "heal", REACH],
    "blocked": ["block --tcp 9999 --hosts a,b", REACH, "undo", "mtu 1400 --for 500ms", REACH],
    "addresses and policies": ["policy deny from web to web:9999 --force", "attach solo --address 10.99.0.1/24",
                               "detach solo --address 10.99.0.1/24", REACH],
    "peers": ["forget a b", "connect a b", "reset c", "launch c", "connect c a",
              "restart --service web-3", "restart --service solo", AGREE],
}  # fmt: skip
SAMPLE = ("cut, undone", "hosts switched off")
CHOSEN = SESSIONS if os.environ.get("SESSIONS") == "all" else SAMPLE


def typed(line: str, name: str) -> None:
    """A command line by hand; it must succeed."""
    done = CliRunner().invoke(command, [*shlex.split(line), "--name", name])
    assert done.exit_code == 0, (line, done.output, done.exception)


@pytest.mark.parametrize("which", CHOSEN)
def test_a_session_replays_valid_on_packets_and_in_virtual_time(which: str, tmp_path: Path) -> None:
    with standing(tmp_path) as name:
        for line in ["expect --reachable all --within 60s", *SESSIONS[which]]:
            typed(line, name)
        run_dir = ask(name, "state")["run_dir"]
        told = json.loads(lab("save", "saved.yaml", "--name", name, "--json", cwd=tmp_path).stdout)
        assert told["left_out"] == 0 and told["refused"] == {}, told
        lab("down", "--name", name, cwd=tmp_path)
    summary = json.loads((Path(run_dir) / "summary.json").read_text())
    assert summary["verdict"] == "valid", summary
    for backend in ("sim", "netns"):
        lab("run", "saved.yaml", "--backend", backend, "--no-figures", cwd=tmp_path)
    # What is saved of a lab that is gone is the same, but for its end.
    lab("save", "later.yaml", "--run", run_dir, cwd=tmp_path)
    first, later = (
        [
            line
            for line in (tmp_path / file).read_text().splitlines()
            if "# the end" not in line and "# Saved" not in line
        ]
        for file in ("saved.yaml", "later.yaml")
    )
    assert first == later
