"""The engine's data on the host's disk: each container's record and its output.

Owns the folder `containers/ID/` of the state directory: `config.json` (replaced atomically) and `json.log` (one JSON
object per line of output, as Docker's json-file driver writes it; at 8 MB the older half moves to `json.log.1`).
Everything is synchronous, because the disk is a tmpfs. Knows nothing of processes or HTTP.
"""

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lab.engine.clock import rfc3339
from lab.engine.streams import STDERR, STDOUT

__all__ = ["ContainerLog", "ContainerRecord", "ContainerStore", "LogEntry"]

_MAX_LINE = 16 * 1024
"""Longer lines are stored in pieces, as in Docker."""
_MAX_FILE = 8 << 20


class ContainerRecord(Struct, kw_only=True):
    """The stored record of a container: its request, and its last run's result. Times: integer ns since the epoch."""

    id: str
    name: str
    created: int
    body: dict[str, Any]
    """The create request as received."""
    status: str = "created"
    exit_code: int = 0
    error: str = ""
    started: int = 0
    finished: int = 0
    restarts: int = 0
    stopped_by_hand: bool = False


class LogEntry(Struct, frozen=True):
    """One line of output, or a piece of a long one."""

    log: str
    stream: str
    time: str
    """RFC 3339 with nanoseconds."""


class ContainerStore:
    """The folder `containers/` of one engine."""

    def __init__(self, state_dir: str) -> None:
        self._root = Path(state_dir, "containers")
        self._root.mkdir(parents=True, exist_ok=True)

    def folder(self, container: str) -> Path:
        return self._root / container

    def save(self, record: ContainerRecord) -> None:
        """Write a record; a crash leaves the old one or the new one."""
        folder = self.folder(record.id)
        folder.mkdir(exist_ok=True)
        new, whole = folder / "config.json.new", folder / "config.json"
        try:
            new.write_bytes(msgspec.json.encode(record))
            new.replace(whole)
        except OSError as error:
            new.unlink(missing_ok=True)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise OSError(error.errno, error.strerror, str(whole)) from None

    def load(self) -> Iterator[ContainerRecord]:
        """All records, oldest first. A folder without a readable record was not completely created, and is removed."""
        records = []
        for folder in sorted(self._root.iterdir()):
            try:
                records.append(msgspec.json.decode((folder / "config.json").read_bytes(), type=ContainerRecord))
            except (OSError, msgspec.MsgspecError):
                shutil.rmtree(folder, ignore_errors=True)
        return iter(sorted(records, key=lambda record: record.created))

    def remove(self, container: str) -> None:
        shutil.rmtree(self.folder(container), ignore_errors=True)


class ContainerLog:
    """The output of one container over all of its runs: a `streams.Sink` that can be read and followed."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        self.path = path
        self._older = path.with_suffix(".log.1")
        self._now = now
        self._fd = -1
        self._size = 0
        self._partial = {STDOUT: bytearray(), STDERR: bytearray()}
        self._followers: list[Callable[[LogEntry | None], None]] = []

    def feed(self, stream: int, data: bytes) -> None:
        partial = self._partial[stream]
        partial += data
        if b"\n" not in data and len(partial) < _MAX_LINE:
            return
        lines = bytes(partial).split(b"\n")
        rest = lines.pop()
        pieces = [line + b"\n" for line in lines]
        while len(rest) >= _MAX_LINE:
            pieces.append(rest[:_MAX_LINE])
            rest = rest[_MAX_LINE:]
        self._partial[stream] = bytearray(rest)
        self._write(stream, pieces)

    def finish(self) -> None:
        """A run has ended: write output without a final newline, and notify followers."""
        for stream, partial in self._partial.items():
            if partial:
                self._write(stream, [bytes(partial)])
                self._partial[stream] = bytearray()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        for follower in tuple(self._followers):
            follower(None)

    def follow(self, follower: Callable[[LogEntry | None], None]) -> Callable[[], None]:
        """Call `follower` with every new entry, and None at the end of a run; returns a function that ends this."""
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def read(self, tail: int | None = None) -> Iterator[LogEntry]:
        """The entries so far, oldest first; with `tail` only the last `tail` of them."""
        entries = self._read_all()
        return entries if tail is None else iter(deque(entries, maxlen=tail))

    def _read_all(self) -> Iterator[LogEntry]:
        decode = msgspec.json.Decoder(LogEntry).decode
        for path in (self._older, self.path):
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as lines:
                for line in lines:
                    with contextlib.suppress(msgspec.MsgspecError):  # the host lost power while a line was written
                        yield decode(line)

    def _write(self, stream: int, pieces: list[bytes]) -> None:
        if self._fd < 0 or self._size > _MAX_FILE:
            self._open()
        time = rfc3339(self._now())
        name = "stdout" if stream == STDOUT else "stderr"
        entries = [LogEntry(piece.decode(errors="replace"), name, time) for piece in pieces]
        data = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        with contextlib.suppress(OSError):  # a full disk must not end the container; the lines are lost, as in Docker
            self._size += os.write(self._fd, data)
        for follower in tuple(self._followers):
            for entry in entries:
                follower(entry)

    def _open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self.path.replace(self._older)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size
