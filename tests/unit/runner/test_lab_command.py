"""The `lab` command where it starts nothing: exit codes, words, what is imported."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lab.cli import lab, play
from lab.cli.live import first_steps
from lab.overlays.weave import flags
from lab.scenario.load import load_resolved

SCENARIOS = Path(__file__).parents[3] / "scenarios"
BAD = "version: 1\nunderlay: {hosts: {a: {}}}\ntimeline:\n  - lunch: all\n"


def test_a_bad_scenario_exits_with_2_and_starts_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BAD)
    for command in (["run", "--out", str(tmp_path / "out")], ["up"], ["validate"]):
        result = CliRunner().invoke(lab, [*command, str(bad)])
        assert result.exit_code == 2
        assert "bad.yaml:4:5: timeline[0].lunch: found the key 'lunch'" in result.output
    assert not (tmp_path / "out").exists()


def test_a_backend_that_is_slow_sets_the_pace_unless_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow:
        name = "slow"

        def refuse(self, scenario: Any) -> list[str]:
            return []

        def pace(self) -> tuple[int, str]:
            return 4, "emulated processors"

    monkeypatch.setattr(play, "find_backend", lambda name: Slow())
    for asked, pace in ((None, 4), (1, 1), (2, 2)):
        prepared = play.prepare(SCENARIOS / "partition.yaml", "slow", None, asked)
        assert prepared is not None
        _, scenario, engine, _ = prepared
        assert scenario.pace == pace
        assert ("--pace 1" in capsys.readouterr().err) == (asked is None)
        again = play.replay_command(SCENARIOS / "partition.yaml", engine, scenario, Path())
        assert again.endswith("--seed 1" if pace == 1 else f"--pace {pace}")


def test_an_unknown_backend_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        lab, ["run", str(SCENARIOS / "scale.yaml"), "--out", str(tmp_path)], env={"LAB_BACKEND": "nets"}
    )
    assert result.exit_code == 2 and "no backend named 'nets', expected one of: netns" in result.output


def test_validate_prints_the_resolved_form() -> None:
    result = CliRunner().invoke(lab, ["validate", "--json", "--seed", "7", str(SCENARIOS / "partition.yaml")])
    resolved = json.loads(result.output)
    assert result.exit_code == 0
    assert resolved["seed"] == 7 and resolved["refused"] == {"netns": []}
    assert [replica["name"] for replica in resolved["replicas"]] == ["svc1", "svc2", "svc3", "files-1", "files-2"]


def test_up_takes_the_steps_before_anything_is_broken() -> None:
    steps = first_steps(load_resolved(SCENARIOS / "walkthrough.yaml"))
    assert [step.verb for step in steps] == ["launch", "connect", "run"]


def test_options_become_flags_of_weave_launch() -> None:
    assert flags({"iprange": "10.2.3.0/24", "dns": True, "conn_limit": 30}) == [
        *("--ipalloc-range", "10.2.3.0/24"),
        *("--conn-limit", "30"),
    ]
    assert flags({"dns": False, "discovery": False}) == ["--no-dns", "--no-discovery"]
    assert flags(dict.fromkeys(("dns", "discovery", "fastdp", "restart"), True)) == []  # so a sweep may have both
    assert flags({"fastdp": False, "restart": False}) == ["--no-fastdp", "--no-restart"]
    assert flags({"wireguard": False}) == ["--wireguard", "off"]  # YAML reads `off` as false


@pytest.mark.parametrize("module", ["lab.cli", "lab.cli.play", "lab.pytest_plugin"])
def test_nothing_with_threads_is_loaded_before_the_lab_is_up(module: str) -> None:
    heavy = "('numpy', 'matplotlib', 'networkx', 'jinja2')"
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_doctor_names_what_engines_and_machines_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lab.fabric.features.detect", list)
    result = CliRunner().invoke(lab, ["doctor"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    marks = [line.split(":")[0] for line in lines if not line.startswith(" ")]
    assert marks[-5:-2] == ["✗ --backend dind", "✗ --backend vagrant", "✗ compiled cores"]
    assert [mark[2:] for mark in marks[-2:]] == ["compiled tunnel", "precedence of daemons"]  # found or not
    # Whatever else is missing on this machine, in an empty cache there is neither an image nor a box.
    told = " ".join(lines)
    assert "lab images build" in told or "engine" in told
    assert "lab images box" in told or "root" in told
    assert "lab compile" in told or "compiling needs" in told
