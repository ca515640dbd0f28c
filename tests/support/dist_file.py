"""`dist/weave` for tests: made once for a run of the tests, and variants of it."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path

from overlay_hosts import ROOT, Host
from tiers import cannot_run

from lab.dist.__main__ import TOP
from lab.dist.pack import pack
from lab.dist.wheels import wheels
from lab.errors import LabError

import overlay  # isort: skip

__all__ = ["DistHost", "all_wheels", "of_version", "weave_file"]

_FOLDER = tempfile.TemporaryDirectory(prefix="dist")


@functools.cache
def all_wheels() -> tuple[Path, ...]:
    """The wheels that the file is made of; got from the package index the first time on a machine."""
    try:
        return tuple(wheels(TOP, print))
    except LabError as error:
        cannot_run(str(error))


@functools.cache
def weave_file() -> Path:
    """What `make dist` makes."""
    path = Path(_FOLDER.name, "as released", "weave")
    pack(path, all_wheels())
    return path


@functools.cache
def of_version(version: str, state: int = 1) -> Path:
    """The same program with another version number, and another version of its state on disk."""
    changed = {
        "overlay/__init__.py": _with("__init__.py", f'"{overlay.__version__}"', f'"{version}"'),
        "overlay/runtime/disk.py": _with("runtime/disk.py", "_VERSION = 1\n", f"_VERSION = {state}\n"),
    }
    path = Path(_FOLDER.name, version, "weave")
    pack(path, all_wheels(), changed=changed)
    return path


def _with(name: str, before: str, after: str) -> bytes:
    text = Path(TOP, "overlay", name).read_text(encoding="utf-8")
    assert text.count(before) == 1, (name, before)
    return text.replace(before, after).encode()


class DistHost(Host):
    """A host on which `weave` is a copy of that one file, run by the system's own Python."""

    @property
    def file(self) -> Path:
        return self.disk / "weave"

    @property
    def env(self) -> dict[str, str]:
        found = {key: value for key, value in super().env.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        words = found["PATH"].split(os.pathsep)
        return {**found, "PATH": os.pathsep.join(word for word in words if ".venv" not in word)}

    def first_words(self, number: int) -> list[str]:
        return ["env", f"PYTHONPATH={ROOT}", *super().first_words(number)]

    def install(self, file: Path) -> None:
        """As `cp` does it: into the file that is there already, if one is."""
        self.file.write_bytes(file.read_bytes())
        self.file.chmod(0o755)

    def weave(self, *words: str, check: bool = True, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.file), *words, check=check, timeout=timeout)
