"""Enters the containers' network namespaces from one process, and detects when a container is gone.

Owns the descriptors of namespaces and processes. A socket keeps its namespace alive, and the kernel still answers pings
in such a namespace, so nothing may stay open once the container's process has ended. Its pidfd reports that at once;
opening the path again for every try is the second check.
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
    """The network namespace in which this process is. The process must have only one thread."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._away = False

    def enter(self, path: str) -> None:
        """Enter the namespace at a path; an empty path means the original one. Raises `NamespaceGone`."""
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
        """Return to the original namespace."""
        if self._away:
            setns(self._home, Clone.NEWNET)
            self._away = False

    def close(self) -> None:
        """Return to the original namespace and close all descriptors."""
        self.home()
        os.close(self._home)


def watch(path: str) -> int | None:
    """A descriptor that becomes readable when the process of `/proc/PID/ns/net` ends.

    None for other paths, and if /proc and this process disagree about pids (it is mounted for another pid namespace):
    then the next try detects it. Raises `NamespaceGone` when the process has already ended.
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
    # The kernel reports the pid of a pidfd as seen from the mount of /proc.
    fields = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="utf-8").split()
    if str(pid) in fields[fields.index("Pid:") + 1 :][:1]:
        return fd
    os.close(fd)
    return None
