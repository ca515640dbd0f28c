"""The small file system of one host, which can be made full: everything on it gets ENOSPC, the lab's own engine too.

Owns a tmpfs whose size is set to what is used on it, and again whenever something there makes room, as long as it is
to be full. It is in the lab's mount namespace, so it outlives the host and ends with the lab. Knows no host.
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
"""Hosts of a lab that get one: each mount is copied into the namespace of each host."""
_USUAL = "50%"
"""Of the machine's memory: what a tmpfs may hold by default."""
_LOOK = 0.05
"""Seconds between two looks whether something has made room."""
_TRIES = 100


class SmallDisk:
    """One file system."""

    def __init__(self, path: Path, flags: int) -> None:
        self.path = path
        self._flags = flags
        self._filler: asyncio.Task[None] | None = None

    @classmethod
    def made(cls, path: Path, folders: Sequence[str], *, suid: bool = False) -> "SmallDisk | None":
        """One with these folders; None where this process may not mount. `suid`: programs there may change users."""
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
        """Leave no room from now on, or as much as usual. Must be called in an event loop."""
        if self._filler is not None:
            self._filler.cancel()
            self._filler = None
        if full:
            self._fill()
            self._filler = asyncio.create_task(self._keep_full())
        else:
            self._resize(_USUAL)

    async def _keep_full(self) -> None:
        """Whatever is freed is taken again."""
        while True:
            await asyncio.sleep(_LOOK)
            if os.statvfs(self.path).f_bavail:  # a tmpfs
                self._fill()

    def _fill(self) -> None:
        """Make it as small as what is on it; tried again when something is written just then."""
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
    """There is more on it by now than should fit."""
