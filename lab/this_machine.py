"""What the machine that a lab runs on has: programs, those of the administrator included, and memory.

Owns where is looked. Knows nothing of what they are for.
"""

import os
import shutil
from pathlib import Path


def search_path() -> str:
    """PATH with the administrator's directories, which an ordinary user's lacks."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin"


def program(name: str) -> str | None:
    """The path of a program, None where there is none."""
    return shutil.which(name, path=search_path())


def free_memory() -> int:
    """Bytes that this machine can still give."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62
