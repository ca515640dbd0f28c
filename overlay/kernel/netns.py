"""Enters another network namespace for the duration of a `with` block.

Owns setns(2), which Python 3.11 lacks, and the return. A socket opened inside stays in that namespace, so callers open
what they need and leave at once; they must not await inside.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from overlay.errors import EnvironmentProblem

__all__ = ["inside"]

_CLONE_NEWNET = 0x40000000


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(ctypes.c_int(fd), ctypes.c_int(_CLONE_NEWNET)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Enter the network namespace of this descriptor (of `/proc/PID/ns/net`); only the calling thread moves.

    Raises `EnvironmentProblem` if the kernel does not allow it.
    """
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _setns(namespace)
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot enter the container's network namespace ({error}): the router needs CAP_SYS_ADMIN there"
            ) from None
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)
