"""Files that somebody names: pipes are read once, and nothing that is none waits for ever."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab import named_file
from lab.errors import LabError
from lab.images.archive import names_in
from lab.scenario.load import ScenarioError, load_resolved

TEXT = "# Does it work?\r\nversion: 1\nunderlay: {hosts: {a: {}}}\ntimeline: [{wait: 1s}]\n"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.gml"
    os.mkfifo(path)
    return path


def test_a_pipe_is_read_once_and_keeps_its_question(fifo: Path) -> None:
    def write() -> None:
        with fifo.open("w") as pipe:
            pipe.write(TEXT[:30])
            pipe.flush()
            pipe.write(TEXT[30:])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert load_resolved(fifo).question == "Does it work?"
    finally:
        writer.join()


def test_a_pipe_into_which_nobody_writes_is_said_in_a_sentence(
    fifo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_file, "_PATIENCE", 10)
    with pytest.raises(ScenarioError, match="nothing came from it"):
        load_resolved(fifo)
    file = tmp_path / "x.yaml"
    file.write_text(TEXT.replace("{hosts: {a: {}}}", "{file: pipe.gml}"))
    with pytest.raises(ScenarioError, match="expected a file"):
        load_resolved(file)
    with pytest.raises(LabError, match="no regular file"):
        names_in(fifo)


def test_what_has_no_end_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_file, "_LARGEST", 1 << 20)
    with pytest.raises(ScenarioError, match="more than 1 MiB"):
        load_resolved(Path("/dev/zero"))
    with pytest.raises(ScenarioError, match="Is a directory"):
        load_resolved(tmp_path)


def test_lab_takes_what_a_shell_gives(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TEXT)
    lab = f"'{sys.executable}' -m lab.cli validate"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = f"{lab} <(cat x.yaml) && {lab} /dev/stdin < x.yaml"
    argv = ["bash", "-c", script]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("valid: 1 host")) == (0, 2), done.stderr
