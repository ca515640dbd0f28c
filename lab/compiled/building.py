"""Compiles the modules into the user's cache: a copy of the sources, mypyc, a C compiler. Loads none of them.

A build gets its name when it is complete. Builders wait for each other; the next one removes what a killed one left.
"""

import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.compiled.loading import complete
from lab.compiled.parts import MODULES, TOP, folder, place
from lab.errors import LabError
from lab.fabric.syscalls import set_parent_death_signal

__all__ = ["build", "missing"]

KEPT = 4
"""Number of builds to keep: for several checkouts, and for switching between versions."""
_UNDONE = ".undone-"
_SCRIPT = """
from mypyc.build import mypycify
from setuptools import setup
setup(name="cores", packages=[], ext_modules=mypycify(
    ["--ignore-missing-imports", "--cache-dir=types", *{files!r}], opt_level="3", debug_level="0"))
"""


def missing() -> str:
    """What a build needs and this machine lacks, with the remedy; empty: nothing."""
    for module, package in (("mypyc", "mypy"), ("setuptools", "setuptools")):
        if importlib.util.find_spec(module) is None:
            return f"compiling needs the Python package {package}: pip install 'overlay-lab[compile]'"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"compiling needs a C compiler, and there is no {compiler}: sudo apt-get install gcc"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return f"compiling needs Python's headers, and {sysconfig.get_path('include')} has none: " + (
            "sudo apt-get install python3-dev"
        )
    return ""


def build(say: Callable[[str], None], *, force: bool = False) -> Path:
    """The build of these sources, created if there is none (`force`: always). Raises `LabError`."""
    where = folder()
    if complete(where) and not force:
        return where
    if lack := missing():
        raise LabError(lack)
    with _alone():
        if complete(where) and not force:
            return where
        say(f"compiling {len(MODULES)} modules (a minute or two, once for each version of the sources)")
        made = Path(tempfile.mkdtemp(prefix=_UNDONE, dir=place()))
        try:
            _compile(made)
            if folder() != where:
                raise LabError("the sources were changed while they were compiled: run it again")
            shutil.rmtree(where, ignore_errors=True)
            made.rename(where)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        _forget_old(where)
    return where


@contextmanager
def _alone() -> Iterator[None]:
    """Lock that excludes other builders."""
    place().mkdir(parents=True, exist_ok=True)
    with (place() / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in place().glob(f"{_UNDONE}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _forget_old(newest: Path) -> None:
    builds = [path for path in place().iterdir() if path.is_dir() and path != newest]
    for old in sorted(builds, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def _compile(made: Path) -> None:
    """Leave only the modules in `made`, each under its full name."""
    work = made / "work"
    for package in ("overlay", "lab"):
        shutil.copytree(TOP / package, work / package, ignore=shutil.ignore_patterns("__pycache__"))
    files = [f"{module.replace('.', '/')}.py" for module in MODULES]
    command = [sys.executable, "-c", _SCRIPT.format(files=files), "-q", "build_ext", "--build-lib=made"]
    done = subprocess.run(
        command,
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: set_parent_death_signal(signal.SIGKILL),
    )
    if done.returncode:
        raise LabError(f"the cores could not be compiled:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    for file in (work / "made").rglob("*.so"):
        file.rename(made / ".".join(file.relative_to(work / "made").parts))
    shutil.rmtree(work)
