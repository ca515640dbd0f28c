"""What the machine that a lab runs on has: programs, the administrator's too, memory, and a place for caches.

Owns where is looked. Knows nothing of what they are for.
"""

import os
import shutil
from pathlib import Path

from lab.errors import LabError


def search_path() -> str:
    """PATH with the administrator's directories, which an ordinary user's lacks."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin"


def program(name: str) -> str | None:
    """The path of a program, None where there is none."""
    return shutil.which(name, path=search_path())


def cache() -> Path:
    """Where what can be made again is kept for this user: below XDG_CACHE_HOME."""
    if place := os.environ.get("XDG_CACHE_HOME"):
        return Path(place, "overlay-lab")
    try:
        return Path.home() / ".cache" / "overlay-lab"
    except RuntimeError:
        raise LabError("this user has no home directory to keep a cache in: set HOME or XDG_CACHE_HOME") from None


def free_memory() -> int:
    """Bytes that this machine can still give."""
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62
