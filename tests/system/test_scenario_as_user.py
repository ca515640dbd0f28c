"""A whole scenario as an ordinary user: when the suite runs as root it drops its privileges for this one."""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from tiers import cannot_run

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
SCENARIO = """# Does a cut heal in a lab that no root made?
version: 1
name: as-user
underlay:
  hosts: {orion.local: {}, macbook.local: {}}
services:
  web: {image: ksahnine/dummy-http, args: [web], replicas: 2}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
  - slow_disk: {host: orion.local, full: true, for: 2s}
  - exec: {host: orion.local, command: "dd if=/dev/zero of=/tmp/x bs=4k count=64", expect: {code: 1}}
  - partition: {groups: [[orion.local], [macbook.local]], for: 5s}
  - expect: {unreachable: {from: web-1, to: web-2}, within: 5s}
  - wait: 5s
  - expect: {converged: all, within: 90s}
"""


def test_a_scenario_is_valid_without_privileges() -> None:
    with tempfile.TemporaryDirectory(prefix="as-user-") as folder:
        home = Path(folder)
        (home / "scenario.yaml").write_text(SCENARIO)
        command = ["-m", "lab.cli", "run", str(home / "scenario.yaml"), "--out", str(home / "reports"), "--json"]
        if os.geteuid() == 0:
            if not shutil.which("runuser") or not Path(SYSTEM_PYTHON).exists():
                cannot_run(f"needs runuser (util-linux) and {SYSTEM_PYTHON} (python3)")
            # The checkout and its environment may lie where only root can read.
            for part in ("overlay", "lab"):
                shutil.copytree(ROOT / part, home / part)
            shutil.copytree(sysconfig.get_paths()["purelib"], home / "site", symlinks=True)
            home.chmod(0o755)
            for path in home.rglob("*"):
                shutil.chown(path, "nobody")
            shutil.chown(home, "nobody")
            environment = ["env", f"HOME={home}", f"PYTHONPATH={home}:{home / 'site'}", "LANG=C.UTF-8"]
            command = ["runuser", "-u", "nobody", "--", *environment, SYSTEM_PYTHON, *command]
        else:
            command = [str(ROOT / ".venv/bin/python"), *command]
        result = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=home, check=False)
        told = result.stdout + result.stderr
        if "user namespace" in told and result.returncode == 3:
            cannot_run(f"an ordinary user may not make a lab here (`lab doctor` says how to allow it):\n{told[-1500:]}")
        assert result.returncode == 0, told[-3000:]
        assert json.loads(result.stdout.splitlines()[-1])["verdict"] == "valid"
        # Too few processes are no answer of the scenario: a sentence, and not "invalid".
        limited = ["bash", "-c", 'ulimit -u 6; exec "$@"', "bash"]
        before, after = (command[:4], command[4:]) if command[0] == "runuser" else ([], command)
        result = subprocess.run(
            [*before, *limited, *after], capture_output=True, text=True, timeout=400, cwd=home, check=False
        )
        told = result.stdout + result.stderr
        assert (result.returncode, "ulimit -u" in told, "Traceback" in told) == (2, True, False), told[-3000:]
