"""Overlays that drivers run, on real packets: one in shell by a stranger, and drivers that hang, die and lie."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from foreign_packages import lab
from netns_labs import require_netns

SUPPORT = Path(__file__).resolve().parents[1] / "support"
SCENARIO = """\
# Do containers reach each other over somebody else's overlay, again after a cut, and after a power cut?
version: 1
underlay:
  hosts: {a: {}, b: {}, c: {}}
overlay:
  kind: exec
  options: {command: ./shell_overlay.sh}
services:
  web: {image: ksahnine/dummy-http, args: [web], replicas: 3}
probes:
  - {kind: http, every: 100ms}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 60s}
  - partition: {groups: [[a], [b, c]]}
  - expect: {unreachable: {from: web-1, to: web-2}, within: 60s}
  - heal: all
  - expect: {reachable: all, within: 60s}
  - kill: {host: b}
  - restart: {host: b}
  - expect: {reachable: all, within: 60s}
"""


def played(folder: Path, text: str, code: int | None = 0) -> dict[str, Any]:
    """The line of JSON of a run of this scenario, next to which the shell's overlay is."""
    require_netns()
    shutil.copy(SUPPORT / "shell_overlay.sh", folder)
    (folder / "theirs.yaml").write_text(text)
    words = ("run", "theirs.yaml", "--backend", "netns", "--no-figures", "--json", "--out", str(folder / "reports"))
    done = lab(*words, cwd=folder, environment=dict(os.environ))
    assert code is None or done.returncode == code, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_strangers_overlay_in_shell_is_cut_and_healed(tmp_path: Path) -> None:
    told = played(tmp_path, SCENARIO, None)
    # Unknown: the machine was busy, which says nothing against what came true.
    assert told["verdict"] in ("valid", "unknown"), told
    assert [expectation["ok"] for expectation in told["expectations"]] == [True] * 4


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("attach() { kill -9 $$", "ended instead of answering `attach`"),
        ("attach() { echo done; return", "answered `attach` with 'done', expected one JSON object"),
        ("attach() { yes >&2 & yes", "answered `attach` with 'y', expected one JSON object"),
        ("attach() { echo >&2 no such device; exit 1", "`attach`; it said: no such device"),
    ],
)
def test_a_driver_that_fails_ends_the_run_in_one_sentence(tmp_path: Path, spoil: str, told: str) -> None:
    text = (SUPPORT / "shell_overlay.sh").read_text().replace("attach() {", spoil, 1)
    assert spoil in text
    (tmp_path / "spoiled.sh").write_text(text)
    (tmp_path / "spoiled.sh").chmod(0o755)
    found = played(tmp_path, SCENARIO.replace("shell_overlay", "spoiled"), 1)
    assert found["verdict"] == "invalid" and told in json.dumps(found), found


def test_a_driver_that_lies_is_found_out(tmp_path: Path) -> None:
    """It says that it has attached the container, and has not."""
    text = (SUPPORT / "shell_overlay.sh").read_text().replace('    try "\n        ip link delete $port', '    : "\n', 1)
    (tmp_path / "liar.sh").write_text(text)
    (tmp_path / "liar.sh").chmod(0o755)
    found = played(tmp_path, SCENARIO.replace("shell_overlay", "liar").replace("60s", "3s"), 1)
    assert found["verdict"] == "invalid" and found["expectations"][0]["ok"] is False, found
