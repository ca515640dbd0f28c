"""The packages that the overlay imports, as wheels for every Python and processor that `dist/weave` supports.

Owns the list of packages (the closure of pyproject's dependencies, with the versions and hashes of requirements.lock)
and their place: the user's cache, so that later builds need no network.
"""

import contextlib
import email.parser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lab import this_machine
from lab.errors import LabError

__all__ = ["MACHINES", "PYTHONS", "wheels"]

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
MACHINES = ("x86_64", "aarch64")
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux_2_5", "manylinux1")
"""Debian 10, RHEL 8 and everything newer."""
_ONLY_BUILDS = ("pycparser",)
"""Dependencies of others that nothing here imports."""


def wheels(top: Path, say: Callable[[str], None]) -> list[Path]:
    """All wheels, sorted by name, downloaded from the package index if they are not in the cache.

    Raises `LabError`.
    """
    pins = _pins((top / "requirements.lock").read_text(encoding="utf-8"))
    wanted = tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    known = hashlib.sha256(repr((sorted(pins.items()), wanted, PYTHONS, MACHINES, _PLATFORMS, 1)).encode()).hexdigest()
    folder = this_machine.cache() / "wheels" / known[:20]
    if not folder.is_dir():
        say("getting the overlay's packages for all supported versions of Python (once)")
        attempt = folder.with_name(f"{folder.name}.{os.getpid()}")
        attempt.mkdir(parents=True)
        try:
            _fill(attempt, wanted, pins)
            with contextlib.suppress(OSError):  # another build was faster
                attempt.rename(folder)
        finally:
            shutil.rmtree(attempt, ignore_errors=True)
    return sorted(folder.glob("*.whl"))


def _pins(lock: str) -> dict[str, str]:
    """Name -> its lines of the lock file, without markers."""
    found = {}
    for block in re.split(r"\n(?=\S)", lock.replace("\\\n", " ")):
        match = re.match(r"([A-Za-z0-9._-]+)(==[^\s;]+)", block)
        if match:
            hashes = " ".join(re.findall(r"--hash=\S+", block))
            found[str(canonicalize_name(match[1]))] = f"{match[1]}{match[2]} {hashes}"
    return found


def _fill(folder: Path, wanted: Sequence[str], pins: dict[str, str]) -> None:
    """Download the closure: first for one Python, to find out which packages are compiled, then those
    for all others."""
    names: dict[str, None] = {}
    queue = [Requirement(line) for line in wanted]
    while queue:  # level by level, because the dependencies of a package are in its wheel
        fresh = [name for name in dict.fromkeys(str(canonicalize_name(one.name)) for one in queue) if name not in names]
        fresh = [name for name in fresh if name not in _ONLY_BUILDS]
        names.update(dict.fromkeys(fresh))
        if not fresh:
            break
        _download(folder, fresh, pins, PYTHONS[0], MACHINES[0])
        queue = [need for name in fresh for need in _needs(_wheel_of(folder, name))]
    compiled = [name for name in names if not _wheel_of(folder, name).name.endswith("-none-any.whl")]
    stable = [name for name in compiled if "-abi3-" in _wheel_of(folder, name).name]
    own = [name for name in compiled if name not in stable]
    jobs = [(own, python, machine) for python in PYTHONS for machine in MACHINES]
    jobs += [(stable, PYTHONS[0], machine) for machine in MACHINES]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda job: _download(folder, job[0], pins, job[1], job[2]), jobs))


def _wheel_of(folder: Path, name: str) -> Path:
    for path in sorted(folder.glob("*.whl")):
        if canonicalize_name(path.name.partition("-")[0]) == name:
            return path
    raise LabError(f"pip brought no wheel of {name}")


def _needs(wheel: Path) -> list[Requirement]:
    """The requirements of a wheel under any of the supported versions of Python."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.parser.BytesParser().parsebytes(archive.read(name), headersonly=True)
    found = [Requirement(line) for line in metadata.get_all("Requires-Dist") or ()]
    return [one for one in found if one.marker is None or any(one.marker.evaluate(each) for each in _environments())]


def _environments() -> list[dict[str, str]]:
    return [
        {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine, "extra": ""}
        | {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
        | {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
        for python in PYTHONS
        for machine in MACHINES
    ]


def _download(folder: Path, names: Sequence[str], pins: dict[str, str], python: str, machine: str) -> None:
    missing = [name for name in names if name not in pins]
    if missing:
        raise LabError(f"requirements.lock lacks {', '.join(missing)}: make it again with `make lock`")
    listed = folder / f"{python}-{machine}-{names[0] if names else ''}.txt"
    listed.write_text("".join(f"{pins[name]}\n" for name in names), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "-r", str(listed), "-d", str(folder)]
    command += ["--implementation", "cp", "--python-version", python]
    command += [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    listed.unlink()
    if done.returncode:
        raise LabError(f"pip could not get packages for Python {python} on {machine}:\n{done.stderr[-2000:]}")
