"""One peer's state on disk: small files, each replaced as a whole and durably, under a lock.

Owns the directory, the order of syncs, the reserve for a full disk, and the handling of damaged files. A file is the
line `overlay-state 1 <crc32 of the rest, hex> <key>` followed by the data. Knows nothing of what the data means.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from overlay.errors import EnvironmentProblem

__all__ = ["Disk", "DiskFull", "damaged"]

log = logging.getLogger(__name__)

_VERSION = 1
"""Increase this when an older program could misread the new format; older programs then refuse the file with a
message."""
_MAGIC = b"overlay-state %d " % _VERSION
_OTHER = re.compile(rb"overlay-state ([0-9]{1,9}) ")
_SUFFIX = ".state"
_RESERVE = "reserve"
_PROBE = "probe.tmp"
_RESERVE_BYTES = 1 << 18
_MARGIN = 1 << 17
"""Bytes that must be free in addition to the reserve before new state is accepted."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(EnvironmentProblem):
    """The disk cannot be written: even the reserve is used up, or the directory refuses files."""


class Disk:
    """The state directory of one peer, locked for this process. Implements `overlay.runtime.node_runner.Store`."""

    latency = 0
    """Always 0, because `persist` blocks for the write."""

    def __init__(self, directory: Path) -> None:
        """Create the directory if it is missing, and lock it. Raises `EnvironmentProblem`."""
        self.directory = directory
        self.full = ""
        """Why no new state is accepted: no room, or an unwritable directory. Empty if it is."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EnvironmentProblem(f"cannot use {directory} for this peer's state: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(self._lock, directory / "lock"):
                raise BlockingIOError  # a `weave reset` removed it in between
        except BlockingIOError:
            self._close()
            raise EnvironmentProblem(
                f"another router uses {directory}: `weave stop` ends it, WEAVE_DB names another directory"
            ) from None
        self._fill_reserve()

    def load(self) -> dict[str, bytes]:
        """All keys with their data. A damaged file is renamed with the suffix `.damaged`, and logged."""
        found = {}
        for path in sorted(self.directory.iterdir()):
            if path.name.endswith(".tmp"):
                path.unlink(missing_ok=True)
            if not path.name.endswith(_SUFFIX):
                continue
            content = path.read_bytes()
            if (newer := _OTHER.match(content)) and not content.startswith(_MAGIC):
                raise EnvironmentProblem(
                    f"{path} is state of version {newer[1].decode()}, and this program reads version {_VERSION}: "
                    "start the version that wrote it, or drop it with `weave reset`"
                )
            parsed = _parse(content)
            if parsed is None:
                aside = path.with_suffix(".damaged")
                path.rename(aside)
                log.error("%s is damaged: set aside as %s, this peer starts without it", path, aside.name)
                continue
            found[parsed[0]] = parsed[1]
        return found

    def persist(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Make the last data of each key durable, in the order of `items`. Raises `DiskFull` if a file cannot be
        written for any reason; nothing is guaranteed to be stored then.

        All files are synced, then renamed in order, then the directory is synced once.
        """
        latest = dict(items)
        try:
            self._write(latest)
        except OSError as error:
            if error.errno not in _FULL:
                self.full = self._unwritable(error)
                raise DiskFull(self.full) from None
            if not self.full:
                log.error("%s is full: no new addresses until there is room", self.directory)
            self.full = f"{self.directory} is full ({error.strerror}): make room"
            with contextlib.suppress(OSError):
                (self.directory / _RESERVE).unlink(missing_ok=True)
            try:
                self._write(latest)
            except OSError as again:
                raise DiskFull(f"cannot write {self.directory}: {again.strerror}; make room") from None

    def check_room(self) -> str:
        """Why there is no room for new state, or "". First tries to restore the reserve."""
        try:
            if not (self.directory / _RESERVE).exists():
                self._fill_reserve()
            space = os.statvfs(self._directory_fd)
            if not os.access(self.directory, os.W_OK):
                os.close(os.open(self.directory / _PROBE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                (self.directory / _PROBE).unlink()
            if space.f_bavail * space.f_frsize < _MARGIN:
                self.full = f"{self.directory} is full: make room, at least {_MARGIN >> 10} KiB"
            elif self.full and (self.directory / _RESERVE).exists():
                log.info("%s can be written again", self.directory)
                self.full = ""
        except OSError as error:
            self.full = self._unwritable(error)
        return self.full

    def erase(self) -> None:
        """Delete all state; the lock stays held."""
        for path in sorted(self.directory.iterdir()):
            if path.name.endswith((_SUFFIX, ".tmp", ".damaged")):
                path.unlink(missing_ok=True)
        os.fsync(self._directory_fd)

    def remove(self) -> None:
        """Delete the directory too, unless it contains foreign files; the lock stays held until `close`."""
        self.erase()
        for name in (_RESERVE, "lock"):
            (self.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def close(self) -> None:
        """Release the lock."""
        self._close()

    def _close(self) -> None:
        os.close(self._lock)
        os.close(self._directory_fd)

    def _write(self, latest: dict[str, bytes]) -> None:
        prepared = []
        try:
            for key, data in latest.items():
                path = self.directory / (quote(key, safe="") + _SUFFIX)
                temporary = path.with_suffix(".tmp")
                prepared.append((temporary, path))
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                try:
                    _write_all(descriptor, _format(key, data))
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            for temporary, path in prepared:
                temporary.replace(path)
            os.fsync(self._directory_fd)
        except OSError:
            for temporary, _ in prepared:
                with contextlib.suppress(OSError):  # the first error is the one to report
                    temporary.unlink(missing_ok=True)
            raise

    def _fill_reserve(self) -> None:
        """Reserve some room, so that existing state stays writable when others fill the disk."""
        path = self.directory / _RESERVE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            full = f"{self.directory} is full ({error.strerror}): make room"
            self.full = full if error.errno in _FULL else self._unwritable(error)

    def _unwritable(self, error: OSError) -> str:
        """The error message; logged once until writing works again."""
        text = f"{self.directory} cannot be written ({error.strerror or error}): make it writable"
        if text != self.full:
            log.error("%s; until then there are no new addresses", text)
        return text


def _is(descriptor: int, path: Path) -> bool:
    """Whether this path names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def damaged(directory: Path) -> tuple[str, ...]:
    """Names of state files that are set aside or unreadable. Takes no lock, so use it only for display."""
    found = []
    for path in sorted(directory.iterdir()):
        if path.name.endswith(".damaged"):
            found.append(path.name)
        elif path.name.endswith(_SUFFIX):
            with contextlib.suppress(FileNotFoundError):  # replaced in between
                if _parse(path.read_bytes()) is None:
                    found.append(path.name)
    return tuple(found)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _format(key: str, data: bytes) -> bytes:
    rest = key.encode() + b"\n" + data
    return _MAGIC + f"{zlib.crc32(rest):08x} ".encode() + rest


def _parse(content: bytes) -> tuple[str, bytes] | None:
    header = len(_MAGIC) + 9
    if not content.startswith(_MAGIC) or len(content) < header:
        return None
    rest = content[header:]
    key, newline, data = rest.partition(b"\n")
    if not newline or content[len(_MAGIC) : header] != f"{zlib.crc32(rest):08x} ".encode():
        return None
    return key.decode(errors="replace"), data
