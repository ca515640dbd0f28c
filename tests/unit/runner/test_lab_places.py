"""`lab` in odd places: its working directory gone, no home, too few processes or descriptors: a sentence each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\noverlay: none\ntimeline: [{wait: 1s}]\n"
LAB = f"'{sys.executable}' -m lab.cli"


def shell(script: str, folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LAB": LAB, **more}
    argv = ["bash", "-c", script]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_working_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TEXT)
    script = f"mkdir gone && cd gone && rmdir ../gone && {LAB} run --backend sim '{tmp_path}/x.yaml'"
    done = shell(script, tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "lab: the working directory does not exist any more: change to another, and run it again"
    )
    assert "Traceback" not in done.stderr


def test_without_a_home_a_run_says_nothing_of_libraries(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TEXT)
    done = shell(f"{LAB} run --backend sim x.yaml", tmp_path, HOME="/nonexistent")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("limit", ["-n 20", "-n 10"])
def test_too_few_descriptors_are_said(limit: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TEXT)
    done = shell(f"ulimit {limit}; {LAB} run --backend sim x.yaml --out out", tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or (done.returncode == 3 and done.stderr)
