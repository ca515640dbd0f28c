"""The cgroups of labs' own engines: named, so that they can be removed, because a cgroup outlives its processes.

When a lab ends, or its command is killed, its janitor removes the cgroups (`launch(after=…)`). If the janitor is killed
too, the next lab removes them. Works in the machine's own pid and mount namespaces.
"""

import contextlib
import os
import secrets
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_PREFIX = "overlay-lab-"
_PATIENCE = 3.0
"""Maximum seconds until the kernel releases a cgroup whose processes have just ended."""


def new_name() -> str:
    """A name for the groups of a new lab."""
    return f"{_PREFIX}{secrets.token_hex(6)}"


def remove(name: str) -> None:
    """Remove the cgroups of this name, which have no processes any more, in every hierarchy."""
    deadline = time.monotonic() + _PATIENCE
    left = [top / name for top in _hierarchies()]
    while left and time.monotonic() < deadline:
        left = [place for place in left if not _remove(place)]
        time.sleep(0.05 if left else 0)


def sweep() -> None:
    """Remove cgroups of past labs: those without a process in any hierarchy."""
    strays = {place.name for top in _hierarchies() for place in top.glob(f"{_PREFIX}*")}
    for name in sorted(strays):
        if not any(_busy(top / name) for top in _hierarchies()):
            for top in _hierarchies():
                _remove(top / name)


def _busy(place: Path) -> bool:
    for directory, _, files in os.walk(place):
        with contextlib.suppress(OSError):
            if "cgroup.procs" in files and Path(directory, "cgroup.procs").read_text(encoding="utf-8"):
                return True
    return False


def _hierarchies() -> list[Path]:
    """Mount points of cgroup v1 hierarchies, or the one of version 2."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, place, kind, *_ = line.split()
            if kind in ("cgroup", "cgroup2"):
                found.append(Path(place))
    return found


def _remove(place: Path) -> bool:
    """Remove the cgroup and all below; returns whether they are gone. A cgroup with processes stays."""
    if not place.exists():
        return True
    for directory, _, _ in os.walk(place, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
    return not place.exists()
