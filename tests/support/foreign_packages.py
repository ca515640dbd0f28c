"""Packages with kinds of their own, built offline and put into a folder that only `lab` commands of a test see."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent / "foreign_kinds"
"""The example package and its scenario."""


def installed(target: Path) -> dict[str, str]:
    """The example package in `target`: the environment in which commands find it."""
    wheels = target / "wheels"
    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    done = subprocess.run(building, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target / "site")
    return {**os.environ, "PYTHONPATH": str(target / "site")}


def lab(*words: str, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A `lab` command."""
    command = [sys.executable, "-m", "lab.cli", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
