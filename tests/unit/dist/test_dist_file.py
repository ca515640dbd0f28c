"""`dist/weave`: what is in it, that it is the same wherever it is made, and how it starts, or says why not."""

from typing import Any
import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from dist_file import all_wheels, weave_file
from tiers import cannot_run

from lab.dist import start
from lab.dist.__main__ import TOP
from lab.dist.pack import pack, stripped
from lab.dist.wheels import MACHINES, PYTHONS
from lab.errors import LabError


def weave(file: Path, *words: str, code: int = 0, **environment: str) -> str:
    """Run a file with next to nothing in the environment; what it wrote."""
    done = subprocess.run(
        [file, *words],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done
    return done.stdout + done.stderr


def test_two_builds_in_two_folders_are_the_same_to_the_byte(tmp_path: Path) -> None:
    copy = tmp_path / "a copy"
    copy.mkdir()
    for part in ("overlay", "lab"):
        shutil.copytree(
            TOP / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy
        )
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(TOP / name, copy)
    all_wheels()
    subprocess.run(
        ["sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-m", "lab.dist", str(tmp_path / "weave")],
        cwd=copy,
        env={**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert (tmp_path / "weave").read_bytes() == weave_file().read_bytes()
    assert (tmp_path / "weave").stat().st_mode & 0o777 == 0o755


def test_it_holds_the_overlay_for_every_python_and_nothing_of_the_lab() -> None:
    assert weave_file().stat().st_size < 25_000_000
    with zipfile.ZipFile(weave_file()) as archive:
        names = archive.namelist()
        text = b"".join(archive.read(name) for name in names if name.startswith("common/overlay/")).decode()
    assert not [name for name in names if "/lab/" in name or name.startswith(("lab/", "common/pytest"))]
    assert not re.findall(r"^ *(?:import|from) lab\b.*", text, re.MULTILINE)
    overlay = {f"common/{file.relative_to(TOP).as_posix()}" for file in TOP.glob("overlay/**/*.py")}
    assert overlay <= set(names)
    kinds: dict[str, set[str]] = {}
    for name in names:
        folder, _, module = name.partition("/")
        if folder.startswith(("cp3", "abi3")):
            kinds.setdefault(folder, set()).add(module.partition(".")[0])
    compiled = {f"cp{python.replace('.', '')}-{machine}" for python in PYTHONS for machine in MACHINES}
    assert set(kinds) == compiled | {f"abi3-{machine}" for machine in MACHINES}
    for kind in compiled:  # what works without its compiled module may lack it for the newest Python
        assert kinds[kind] >= {"aiohttp/_http_parser", "msgspec/_core", "_cffi_backend", "multidict/_multidict"}, kind
    assert {name.split("/")[1] for name in names if name.startswith("licenses/")} >= {"cryptography", "aiohttp"}


def test_a_stripped_library_has_all_that_is_loaded() -> None:
    with pytest.raises(LabError):
        stripped(b"\x7fELF\x01" + bytes(100))
    (wheel,) = [
        one for one in all_wheels() if one.name.startswith("aiohttp-") and f"cp311-{PYTHONS[0]}" not in one.name
    ][:1]
    with zipfile.ZipFile(wheel) as archive:
        whole = next(archive.read(name) for name in archive.namelist() if name.endswith(".so"))
    part = stripped(whole)
    assert len(part) < len(whole) / 2 and whole[64 : len(part)] == part[64:]


def test_it_starts_without_a_home_and_writes_nothing(tmp_path: Path) -> None:
    """Also as a user who may write nowhere: nothing is unpacked, so there is nothing that others could replace."""
    empty = tmp_path / "home"
    empty.mkdir()
    environment: dict[str, Any] = {"HOME": str(empty), "TMPDIR": str(empty), "XDG_CACHE_HOME": str(empty)}
    assert weave(weave_file(), "version", **environment) == "weave 0.1.0\n"
    assert "--ipalloc-range" in weave(weave_file(), "help", "launch", **environment)  # takes a compiled module
    assert not list(empty.iterdir())
    if os.geteuid() == 0:
        file = tmp_path / "weave"
        shutil.copy(weave_file(), file)
        for folder in (tmp_path, *tmp_path.parents[:-1]):
            if not folder.stat().st_mode & 0o001:
                os.chmod(folder, folder.stat().st_mode | 0o011)  # noqa: PTH101
        words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(file), "help", "launch"]
        done = subprocess.run(words, env={"PATH": "/usr/bin:/bin", "HOME": "/"}, capture_output=True, check=False)
        assert done.returncode == 0, done


def test_modules_of_others_are_not_taken(tmp_path: Path) -> None:
    """Of the folder where it is run, or where Python is told to look: the archive comes first."""
    for name in ("msgspec", "overlay", "cryptography"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')\n")
    words = [str(weave_file()), "help", "launch"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "planted" not in done.stderr + done.stdout


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    data = bytearray(weave_file().read_bytes())
    with zipfile.ZipFile(weave_file()) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("code-") and name.endswith("/overlay/cli/main.py"))
        place = archive.getinfo(name)
    data[place.header_offset + 400] ^= 0xFF
    broken = tmp_path / "weave"
    broken.write_bytes(data)
    broken.chmod(0o755)
    assert weave(broken, "version", code=1) == f"weave: {broken} is damaged: copy it here again\n"


def test_an_old_python_goes_on_with_a_newer_one_or_says_what_is_missing(tmp_path: Path) -> None:
    ast.parse(Path(str(start.__file__)).read_text(encoding="utf-8"), feature_version=(3, 6))  # it can be read at all
    pretend = "import runpy, sys; sys.version_info = (3, 9, 2, 'final', 0); sys.argv = sys.argv[1:]; " \
        "runpy.run_path(sys.argv[0], run_name='__main__')"  # fmt: skip
    newer = tmp_path / "python3.13"

    def run() -> tuple[int, str]:
        words = [sys.executable, "-c", pretend, str(weave_file()), "status", "peers"]
        environment = {"PATH": str(tmp_path)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = run()
    assert code == 1 and said.startswith("weave: needs Python 3.11 or newer, and ") and " is 3.9: install" in said
    newer.write_text('#!/bin/sh\necho "newer: $*"\n')
    newer.chmod(0o755)
    assert run() == (0, f"newer: {weave_file()} status peers\n")
    newer.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$@"\n')  # an old one under a newer one's name
    code, said = run()
    assert code == 1 and "needs Python 3.11 or newer" in said


def test_another_python_or_processor_is_refused_in_a_sentence(tmp_path: Path) -> None:
    own = f"cp{sys.version_info.major}{sys.version_info.minor}-"
    if f"{sys.version_info.major}.{sys.version_info.minor}" not in PYTHONS:
        cannot_run("this Python is not among those that the file is made for")
    file = tmp_path / "weave"
    pack(file, [wheel for wheel in all_wheels() if own not in wheel.name or "-abi3-" in wheel.name])
    done = subprocess.run([sys.executable, file, "version"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has compiled modules for " in done.stderr and f"none for this Python (cpython-{own[2:-1]}" in done.stderr
