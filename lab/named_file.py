"""Reads a file that a user names on a command line or in a scenario: once, completely, with limits of size and time.

Owns which files may be read: regular files, and anything that yields bytes (`/dev/stdin`, `<(…)`, a named pipe), until
it stops.
"""

import errno
import os
import select
import stat
from pathlib import Path

__all__ = ["read_named"]

_LARGEST = 1 << 26
_PATIENCE = 10_000
"""Timeout without a byte from a pipe, in milliseconds."""
_CHUNK = 1 << 16


def read_named(path: Path) -> bytes:
    """The content of a file; raises `OSError` with the reason."""
    # Non-blocking, because opening a named pipe would otherwise wait for a writer.
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
