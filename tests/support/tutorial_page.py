"""The tutorial as a test: what its blocks say is written and typed, in order, in one empty folder.

A fence ```` ```yaml title="FILE" ```` is a file, a fence ```` ```console ```` holds commands (`$ …`) and lines of their
output, as in the walk-through. The last command of a block marked `fails` must not end with 0. Blocks marked
`on packets` need real hosts; all others need none.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from lab.workshop.text import lacking

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
_FENCE = re.compile(r"^```(\w*) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([\w.-]+)"')


def command_on_path(folder: Path) -> str:
    """A PATH on which `lab` and `weave` are this checkout's."""
    folder.mkdir()
    for name, module in (("lab", "lab.start"), ("weave", "overlay.cli.main")):
        path = folder / name
        start = f"import sys; sys.argv[0] = '{name}'; from {module} import main; sys.exit(main())"
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{start}" "$@"\n')
        path.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])


def follow(page: Path, work: Path, *, packets: bool) -> list[str]:
    """Write the files of a page and type its commands: those on packets, or all others. Returns what was typed."""
    folder = work / "empty folder"
    folder.mkdir()
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PATH": command_on_path(work / "bin"), "PYTHONPATH": path}
    environment["LAB_NAME"] = f"tutorial-{os.getpid()}"  # other labs may run
    try:
        return _typed(page, folder, environment, packets=packets)
    finally:
        if packets:  # what a failure left running
            subprocess.run(["lab", "down"], cwd=folder, env=environment, capture_output=True, check=False)


def _typed(page: Path, folder: Path, environment: dict[str, str], *, packets: bool) -> list[str]:
    typed: list[str] = []
    for kind, marks, body in _FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "yaml":
            title = _TITLE.search(marks)
            assert title, f"a scenario without a file to write it to:\n{body}"
            (folder / title[1]).write_text(body, encoding="utf-8")
            continue
        assert kind == "console", f"a block that is neither a file nor commands:\n{body}"
        if ("on packets" in marks) != packets:
            continue
        commands = re.split(r"^\$ ", body, flags=re.MULTILINE)
        assert not commands[0], f"output before any command:\n{body}"
        for number, text in enumerate(commands[1:], 2):
            line, *expected = text.strip().splitlines()
            done = subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
            printed = done.stdout + done.stderr
            failed = "fails" in marks.split() and number == len(commands)
            assert (done.returncode != 0) == failed, f"$ {line}\nended with {done.returncode}:\n{printed}"
            missing = lacking(expected, printed)
            assert not missing, f"$ {line}\nprinted no line {missing!r}:\n{printed}"
            typed.append(line)
    return typed
