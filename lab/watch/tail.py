"""A growing history file and its readers: whole lines of a file, read from any offset.

Readers have their own offsets in the file and no queues: unread data stays in the file, so a slow reader costs no
memory, and a reader that reconnects continues at its offset. Knows nothing of records.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from lab.errors import LabError

__all__ = ["GrowingLines", "Spool", "follow"]

CHUNK = 1 << 16
"""Bytes to read at once, unless a single line is longer."""
LONGEST = 1 << 26
"""Maximum bytes of a line; the first one holds a whole scenario."""
_LOOK_AGAIN = 0.1
"""Seconds between two checks of the size, because a write by another process sends no notification."""


class GrowingLines:
    """One open file. An offset is a number of bytes from its beginning, always that of a line's first byte."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def starts_line(self, offset: int) -> bool:
        """Whether a line begins at the offset, or will."""
        if offset <= 0:
            return offset == 0
        return os.pread(self._fd, 1, offset - 1) == b"\n"

    def replaced(self, path: Path) -> bool:
        """Whether the path now names another file: a history that became too long was rewritten."""
        mine = os.fstat(self._fd)
        try:
            now = path.stat()
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) != (now.st_dev, now.st_ino)

    def behind(self, line: bytes) -> int:
        """The offset after the last copy of a line; the end if there is none."""
        found = offset = 0
        while True:
            lines, after = self.read(offset)
            if not lines:
                return found or offset
            for each in lines:
                offset += len(each) + 1
                found = offset if each == line else found
            assert offset == after

    def read(self, offset: int) -> tuple[list[bytes], int]:
        """Some whole lines from an offset, without line ends, and the offset after them; no lines if there are no more
        now."""
        size = CHUNK
        while True:
            data = os.pread(self._fd, size, offset)
            end = data.rfind(b"\n") + 1
            if end:
                return data[: end - 1].split(b"\n"), offset + end
            if len(data) < size:
                return [], offset
            if size >= LONGEST:
                raise LabError(f"a line of more than {LONGEST >> 20} MiB in the history: no record is so long")
            size *= 4


class Spool(GrowingLines):
    """Lines that one task writes and many read. The file has no name, so it disappears in every case when the process
    ends."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            super().__init__(os.dup(file.fileno()))
        self.size = 0
        self.stirs = 0
        """Number of notifications so far."""
        self._condition = asyncio.Condition()

    async def append(self, lines: Iterable[bytes]) -> None:
        """Append lines, each without its end, and wake waiting readers."""
        data = memoryview(b"".join(line + b"\n" for line in lines))
        while data:
            written = os.pwrite(self._fd, data, self.size)
            self.size += written
            data = data[written:]
        await self.stir()

    async def stir(self) -> None:
        """Wake waiting readers although nothing was added."""
        async with self._condition:
            self.stirs += 1
            self._condition.notify_all()

    async def stirred(self, seen: int) -> None:
        """Wait until there were more notifications than `seen`."""
        async with self._condition:
            await self._condition.wait_for(lambda: self.stirs > seen)


async def follow(path: Path) -> AsyncGenerator[list[bytes], None]:
    """All lines of a file that another process writes, in batches, without end; yields an empty list whenever there are
    no more lines for now. Raises `OSError`."""
    lines = GrowingLines(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    last = b""
    try:
        offset = 0
        while True:
            replaced = lines.replaced(path)  # before reading: a replaced file does not grow any more
            found, offset = lines.read(offset)
            yield found
            last = found[-1] if found else last
            if replaced and not found:
                lines.close()
                lines = GrowingLines(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                offset = lines.behind(last)
            await asyncio.sleep(0 if found or replaced else _LOOK_AGAIN)
    finally:
        lines.close()
