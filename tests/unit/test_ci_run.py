"""`.ci/run` works in a folder with a space in its name, keeps the exit code and leaves nothing there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / ".ci" / "run"
MAKE = """#!/bin/sh
pwd > "$TOLD"
cat shared.txt ../shared/facts .hidden >> "$TOLD"
ls -d .venv >> "$TOLD" 2>/dev/null
mkdir -p reports/x && echo failed > reports/x/run
exit 7
"""


@pytest.mark.parametrize("folder", ["plain", "with a space"])
def test_it_runs_where_a_name_has_a_space(folder: str, tmp_path: Path) -> None:
    top = tmp_path / folder / "checkout"
    for path, text in (
        (".ci/run", ""),
        ("shared.txt", "own\n"),
        (".hidden", "hidden\n"),
        (".venv/x", ""),
        ("tools/make", MAKE),
    ):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    shutil.copy(RUN, top / ".ci" / "run")
    (top / "tools" / "make").chmod(0o755)
    (top.parent / "shared").mkdir()
    (top.parent / "shared" / "facts").write_text("facts\n")
    places = tmp_path / "places"
    places.mkdir()
    told = tmp_path / "told"
    environment = {
        **os.environ,
        "PATH": f"{top / 'tools'}:{os.environ['PATH']}",
        "TMPDIR": str(places),
        "TOLD": str(told),
    }
    done = subprocess.run([str(top / ".ci" / "run")], cwd="/", env=environment, check=False)
    assert done.returncode == 7
    where, *said = told.read_text().splitlines()
    assert " " in where and said[:3] == ["own", "facts", "hidden"]
    assert (".venv" in said) == (folder != "plain")  # what names its own place is made again
    assert (top / "reports" / "x" / "run").read_text() == "failed\n"
    assert not list(places.iterdir())
