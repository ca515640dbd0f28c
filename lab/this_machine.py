"""Resources of the machine that runs a lab: programs, including the administrator's, memory, and a cache directory.

Owns where to look. Knows nothing of their use.
"""

import os
import shutil
from pathlib import Path

from lab.errors import LabError


def search_path() -> str:
    """PATH plus the administrator's directories, which an ordinary user's PATH lacks."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin"


def program(name: str) -> str | None:
    """The path of a program; None if there is none."""
    return shutil.which(name, path=search_path())


def cache() -> Path:
    """The user's directory for data that can be regenerated: below XDG_CACHE_HOME."""
    if place := os.environ.get("XDG_CACHE_HOME"):
        return Path(place, "overlay-lab")
    try:
        return Path.home() / ".cache" / "overlay-lab"
    except RuntimeError:
        raise LabError("this user has no home directory to keep a cache in: set HOME or XDG_CACHE_HOME") from None


def free_memory() -> int:
    """Available memory of this machine in bytes."""
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62
