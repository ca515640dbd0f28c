"""One host's small file system, which can be made full: every write gets ENOSPC, including the lab's own engine.

Owns a tmpfs. To fill it, its size is set to its current use, and again whenever space is freed. It is in the lab's
mount namespace, so it outlives the host and ends with the lab. Knows no host.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from lab.fabric.syscalls import Mount, mount

__all__ = ["MOST", "SmallDisk"]

MOST = 64
"""Maximum number of hosts with such a disk: each mount is copied into the namespace of each host."""
_USUAL = "50%"
"""The default size limit of a tmpfs, as a share of the machine's memory."""
_LOOK = 0.05
"""Seconds between two checks for freed space."""
_TRIES = 100


class SmallDisk:
    """One file system."""

    def __init__(self, path: Path, flags: int) -> None:
        self.path = path
        self._flags = flags
        self._filler: asyncio.Task[None] | None = None

    @classmethod
    def made(cls, path: Path, folders: Sequence[str], *, suid: bool = False) -> "SmallDisk | None":
        """Create one with these folders; None if this process may not mount. `suid`: allow setuid programs."""
        disk = cls(path, Mount.NODEV if suid else Mount.NODEV | Mount.NOSUID)
        if path.is_mount():
            return disk
        path.mkdir(parents=True, exist_ok=True)
        try:
            mount("tmpfs", str(path), "tmpfs", disk._flags, f"mode=755,size={_USUAL}")
        except PermissionError:
            return None
        for name in folders:
            (path / name).mkdir()
            (path / name).chmod(0o1777 if name == "tmp" else 0o755)
        return disk

    def set_full(self, full: bool) -> None:
        """Fill the disk from now on, or restore its usual size. Must be called in an event loop."""
        if self._filler is not None:
            self._filler.cancel()
            self._filler = None
        if full:
            self._fill()
            self._filler = asyncio.create_task(self._keep_full())
        else:
            self._resize(_USUAL)

    async def _keep_full(self) -> None:
        """Take freed space again."""
        while True:
            await asyncio.sleep(_LOOK)
            if os.statvfs(self.path).f_bavail:  # a tmpfs
                self._fill()

    def _fill(self) -> None:
        """Shrink it to its current use; retried if a write happens at the same time."""
        for _ in range(_TRIES):
            space = os.statvfs(self.path)
            used = (space.f_blocks - space.f_bfree) * space.f_frsize
            with contextlib.suppress(_Grown):
                self._resize(str(max(used, space.f_frsize)))  # 0 would mean no limit
                return
        raise OSError(errno.EBUSY, f"{self.path} is written too fast to be made full")

    def _resize(self, size: str) -> None:
        try:
            mount("", str(self.path), flags=Mount.REMOUNT | self._flags, data=f"size={size}")
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise _Grown from None
            raise


class _Grown(Exception):
    """More is on it now than the new size allows."""
