"""pytest that is interrupted, terminated or killed leaves no lab running: neither a scenario's nor a test's own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from netns_labs import require_netns
from waiting import PATIENCE, eventually

from lab.backends.netns import LabClient, control, labs

SCENARIO = "version: 1\nunderlay: {hosts: {a: {}}}\noverlay: none\ntimeline:\n  - wait: 300s\n"
TEST = """\
from pathlib import Path

def test_for_long(lab):
    lab.up(Path(__file__).with_name("long.yaml"))
    lab.wait("300s")
"""


@pytest.mark.parametrize("kind", ["scenario", "python"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_lab_outlives_pytest(number: signal.Signals, kind: str, tmp_path: Path) -> None:
    require_netns()
    name = f"ends-{os.getpid()}-{number}-{kind}"
    file = tmp_path / "long.yaml"
    file.write_text(SCENARIO.replace("version: 1", f"version: 1\nname: {name}"))
    if kind == "python":
        played = tmp_path / "test_for_long.py"
        played.write_text(TEST)
    else:
        played = file
    loaded = "lab.pytest_plugin" in sys.modules
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *(() if loaded else ("-p", "lab.pytest_plugin")),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*argv, str(played), "--rootdir", str(tmp_path)], env=environment, stdout=subprocess.DEVNULL, text=True
    ) as process:

        def up() -> bool:
            assert process.poll() is None
            return name in [lab.name for lab in labs()]

        eventually(up, what="the lab")
        with LabClient(next(lab for lab in labs() if lab.name == name)) as client:
            supervisor = client.supervisor()
        process.send_signal(number)
        assert control._ends(supervisor, PATIENCE)
        os.close(supervisor)
        process.wait(PATIENCE)
    eventually(lambda: name not in [lab.name for lab in labs()], what="the end of the lab")
