"""Ctrl-C at any moment of a `lab` command: one line, exit code 3, no traceback, no warning, nothing left."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from netns_labs import require_netns

TEXT = "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\noverlay: none\ntimeline: [{wait: 100s}]\n"
START = "from lab.start import main; main()"


@contextlib.contextmanager
def started(*words: str, folder: Path, path: str = "") -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, *sys.path]), "PYTHONUNBUFFERED": "1"}
    words = (sys.executable, "-c", START, *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe) as command:
        try:
            yield command
        finally:
            command.kill()  # one that ignores the interrupt must not hold up the tests


def test_while_modules_are_imported(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(1000)\n")
    with started("--help", folder=tmp_path, path=str(tmp_path)) as command:
        assert command.stdout is not None and command.stdout.readline() == "importing\n"
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=30)
    assert (command.returncode, err) == (3, "lab: interrupted\n")


@pytest.mark.parametrize("words", [["run"], ["run", "--keep"], ["up"]], ids=" ".join)
def test_right_behind_the_first_line(words: list[str], tmp_path: Path) -> None:
    require_netns()
    (tmp_path / "x.yaml").write_text(TEXT)
    for lines in (1, 2):
        with started(*words, "x.yaml", folder=tmp_path) as command:
            assert command.stdout is not None
            for _ in range(lines):
                assert command.stdout.readline()
            command.send_signal(signal.SIGINT)
            _, err = command.communicate(timeout=60)
        assert command.returncode == 3, err
        assert not [word for word in ("Traceback", "Warning", "Aborted", "never awaited") if word in err], err
