"""The image overlay-lab/weave: the Dockerfile says the same as what the lab makes, and what libraries programs need."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab.images import elf, layers, router

DOCKERFILE = (router.FOLDER / "Dockerfile").read_text()
LOCK = Path(__file__).parents[3] / "requirements.lock"


def test_the_dockerfile_makes_the_same_image() -> None:
    assert _argument("PACKAGES") == list(router.PACKAGES)
    assert set(router.PACKAGES) <= set(layers.PACKAGES)  # of which the base layer is made
    assert _argument("PYTHON_PACKAGES") == router.python_packages()
    (env,) = re.findall(r"^ENV (.*)$", DOCKERFILE, re.M)
    assert env.split() == router.CONFIG["Env"]
    for key, name in (("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")):
        (words,) = re.findall(rf"^{key} \[(.*)\]$", DOCKERFILE, re.M)
        assert [word.strip().strip('"') for word in words.split(",")] == router.CONFIG[name]


def test_its_packages_are_those_of_the_lock_with_their_hashes(tmp_path: Path) -> None:
    (program,) = re.findall(r"awk -v start=\"\$name==\" '([^']*)'", DOCKERFILE)
    for name in router.python_packages():
        found = subprocess.run(
            ["awk", "-v", f"start={name}==", program, str(LOCK)], capture_output=True, text=True, check=True
        ).stdout
        assert len(re.findall(r"^\S", found, re.M)) == 1 and "--hash=sha256:" in found, name


def test_the_wrapper_is_a_shell_script_that_pulls_nothing() -> None:
    script = router.FOLDER / "weave"
    subprocess.run(["sh", "-n", str(script)], check=True)
    text = script.read_text()
    assert "--pull never" in text and "--privileged" not in text
    assert script.stat().st_mode & 0o111


def test_what_a_program_needs() -> None:
    found = elf.needed(Path(shutil.which("ls") or "").read_bytes())
    assert "libc.so.6" in found and any(name.startswith("/lib") for name in found)
    listed = subprocess.run(["ldd", shutil.which("ls") or ""], capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in found)
    assert elf.needed(Path(sys.executable).resolve().read_bytes())
    assert elf.needed(b"#!/bin/sh\n") == [] and elf.needed(b"") == []


def _argument(name: str) -> list[str]:
    (found,) = re.findall(rf'^ARG {name}="([^"]*)"', DOCKERFILE, re.M)
    return str(found).split()
