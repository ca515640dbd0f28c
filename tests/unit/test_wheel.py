"""What is built for users who have no checkout has all that its commands read."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import lab
from lab.backends.vagrant import machines
from lab.capture import dissector
from lab.scenario import packaged
from lab.workshop.hosts import page, read
print(lab.__file__)
for language in ("en", "fr"):
    print(page(language), len(read(page(language))))
print(machines.__file__)
print(dissector.__file__, len(dissector.dissector()))
for path in packaged.names().values():
    print(path)
"""


def test_a_wheel_has_all_that_its_commands_read(tmp_path: Path) -> None:
    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(building, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    argv = [sys.executable, "-c", ASK]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines()), done.stdout
    assert (installed / "lab/backends/vagrant/Vagrantfile").is_file()
    manual = {path.name for path in installed.glob("*.data/data/share/man/man1/*")}
    assert manual == {"lab.1", "weave.1"}
    empty = tmp_path / "empty"
    empty.mkdir()
    play = [sys.executable, "-m", "lab.cli", "run", "walkthrough", "--backend", "sim", "--no-figures"]
    done = subprocess.run(play, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{installed}/lab/scenario/packaged/walkthrough.yaml" in next(empty.rglob("summary.json")).read_text()
    assert all((installed / package / "py.typed").is_file() for package in ("lab", "overlay"))
    entry = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "lab = lab.start:main" in entry.read_text()
