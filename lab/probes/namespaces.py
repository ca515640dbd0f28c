"""Entering the containers' network namespaces from one process, and noticing when a container is gone.

Owns the descriptors of namespaces and processes. A socket keeps the namespace that it was made in alive, and the
kernel of a namespace that is kept alive still answers pings: so nothing may stay open once the container's process
has ended. Its pidfd tells at once; opening the path again for every try is the second line.
"""

import os
import re
from pathlib import Path

from lab.fabric.syscalls import Clone, pidfd_open, setns

__all__ = ["NamespaceGone", "Spaces", "watch"]

_PROC = re.compile(r"/proc/(\d+)/")


class NamespaceGone(Exception):
    """The namespace does not exist (any more)."""


class Spaces:
    """Which network namespace this process is in. The process must have one thread only."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._away = False

    def enter(self, path: str) -> None:
        """Go into the namespace at a path, an empty one being home; raises `NamespaceGone`."""
        if not path:
            self.home()
            return
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NamespaceGone(path) from error
        try:
            setns(fd, Clone.NEWNET)
        except OSError as error:
            raise NamespaceGone(f"{path}: {error}") from error
        finally:
            os.close(fd)
        self._away = True

    def home(self) -> None:
        """Back to where the process was started."""
        if self._away:
            setns(self._home, Clone.NEWNET)
            self._away = False

    def close(self) -> None:
        """Go home and let go."""
        self.home()
        os.close(self._home)


def watch(path: str) -> int | None:
    """A descriptor that becomes readable when the process behind `/proc/PID/ns/net` ends.

    None for other paths, and where /proc and this process disagree about pids (it is mounted for another pid
    namespace): then the next try notices. Raises `NamespaceGone` when the process has already ended.
    """
    match = _PROC.match(path)
    if match is None:
        return None
    pid = int(match[1])
    try:
        fd = pidfd_open(pid)
    except OSError:
        if not Path(path).exists():
            raise NamespaceGone(path) from None
        return None
    # The kernel tells the pid of a pidfd as seen from the mount of /proc.
    fields = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="utf-8").split()
    if str(pid) in fields[fields.index("Pid:") + 1 :][:1]:
        return fd
    os.close(fd)
    return None
