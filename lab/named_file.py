"""Reading a file that somebody names on a command line or in a scenario: once, whole, bounded, and never for ever.

Owns what may be read: regular files and whatever gives bytes (`/dev/stdin`, `<(…)`, a named pipe), as long as it does.
"""

import errno
import os
import select
import stat
from pathlib import Path

__all__ = ["read_named"]

_LARGEST = 1 << 26
_PATIENCE = 10_000
"""Milliseconds without a byte from a pipe."""
_CHUNK = 1 << 16


def read_named(path: Path) -> bytes:
    """What a file holds; raises `OSError` with the reason."""
    # Not blocking: the opening of a named pipe would wait for somebody to write into it.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    data = bytearray()
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        patience = select.poll()
        patience.register(fd, select.POLLIN)
        while True:
            # A regular file is always ready.
            if not patience.poll(_PATIENCE):
                raise TimeoutError(errno.ETIMEDOUT, f"nothing came from it for {_PATIENCE // 1000} s")
            try:
                part = os.read(fd, _CHUNK)
            except BlockingIOError:
                continue
            if not part:
                return bytes(data)
            data += part
            if len(data) > _LARGEST:
                raise OSError(errno.EFBIG, f"it has more than {_LARGEST >> 20} MiB")
    finally:
        os.close(fd)
