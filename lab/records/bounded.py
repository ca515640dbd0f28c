"""The history of a run without an end, with a size limit: old tries, views and load records are dropped.

Owns what is kept, and that a reader finds a complete file at any moment. All steps are kept, because a saved session
and the report need them; of other records at least the last `limit / 2` bytes are kept. `Meta.kept_from` is the time
from which the history is complete. Knows nothing of runs.
"""

import contextlib
import fcntl
from pathlib import Path
from typing import IO

import msgspec

from lab.records.history import AnyRecord, Event, LinkUse, Meta, PeerGone, View, Writer, encode

__all__ = ["LIMIT", "BoundedHistory"]

LIMIT = 128 << 20
"""Maximum bytes of tries, views and load: five hours of six pairs that are probed ten times a second."""

Line = tuple[int, int]
"""(offset, length)."""


class BoundedHistory(Writer):
    """Appends records to a history, and rewrites it without its older half when it is too long."""

    def __init__(self, file: IO[bytes], path: Path, limit: int = LIMIT) -> None:
        """`file` is the history, open and empty."""
        super().__init__(file)
        self._path = path
        self._half = limit // 2
        self._meta: Meta | None = None
        self._size = self._head = 0
        """Bytes of the file, and of the lines at its beginning that were kept by earlier rewrites."""
        self._cut: int | None = None
        """The offset from which the next rewrite keeps everything."""
        self._cut_at = 0
        """The time of the cut."""
        self._before, self._behind = _LinePlaces(), _LinePlaces()
        """Lines that the next rewrite keeps before the cut, and lines after it that later rewrites will keep."""

    def write(self, record: AnyRecord) -> None:
        """See `Writer`."""
        line = encode(record)
        self._file.write(line)
        self._file.flush()
        if isinstance(record, Meta):
            self._meta = record
        else:
            (self._before if self._cut is None else self._behind).note(record, (self._size, len(line)))
        self._size += len(line)
        if self._cut is None and self._size - self._head >= self._half:
            self._cut, self._cut_at = self._size, record.t
        elif self._cut is not None and self._size - self._cut >= self._half:
            self._shorten(self._cut)
            self._cut, self._cut_at = self._size, record.t

    def _shorten(self, cut: int) -> None:
        """Rewrite the file with the lines that are kept."""
        partial = self._path.with_name(f"{self._path.name}.new")
        try:
            with self._path.open("rb") as old:
                new, places = self._written(partial, old, cut)
            partial.replace(self._path)
        except OSError:  # no room for both files: it grows on, and the rewrite is tried again after another half
            with contextlib.suppress(OSError):
                partial.unlink()
            self._before, self._behind = self._before.followed_by(self._behind, 0), _LinePlaces()
            return
        self._file.close()
        self._file = new
        self._head, self._size = places.end, new.tell()
        self._before, self._behind = places.followed_by(self._behind, places.end - cut), _LinePlaces()

    def _written(self, partial: Path, old: IO[bytes], cut: int) -> tuple[IO[bytes], "_LinePlaces"]:
        assert self._meta is not None
        places = _LinePlaces()
        new = partial.open("wb")
        try:
            with contextlib.suppress(OSError):  # the lock's holder writes this run, see `open_history`
                fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.write(encode(msgspec.structs.replace(self._meta, kept_from=self._cut_at)))
            for (place, length), host in self._before.ordered():
                places.put(host, (new.tell(), length))
                old.seek(place)
                new.write(old.read(length))
            places.end = new.tell()
            old.seek(cut)
            while data := old.read(1 << 20):
                new.write(data)
            new.flush()
        except BaseException:
            new.close()
            raise
        return new, places


class _LinePlaces:
    """Lines that are kept: all records of actions, and the last view of each host."""

    def __init__(self) -> None:
        self.steps: list[Line] = []
        self.views: dict[str, Line] = {}
        self.end = 0
        """Offset after the last of them, in a file that begins with them."""

    def note(self, record: AnyRecord, line: Line) -> None:
        """Add a line if it is kept."""
        if isinstance(record, View):
            self.views[record.host] = line
        elif isinstance(record, Event | PeerGone | LinkUse):
            self.steps.append(line)

    def put(self, host: str, line: Line) -> None:
        """Add the line of a host's view, or of another record."""
        if host:
            self.views[host] = line
        else:
            self.steps.append(line)

    def ordered(self) -> list[tuple[Line, str]]:
        """In file order; with the host if the line is a view."""
        return sorted([*((line, "") for line in self.steps), *((line, host) for host, line in self.views.items())])

    def followed_by(self, later: "_LinePlaces", moved: int) -> "_LinePlaces":
        """Both combined; the later ones are shifted by `moved` bytes."""
        found = _LinePlaces()
        found.steps = self.steps + [(place + moved, length) for place, length in later.steps]
        found.views = self.views | {host: (place + moved, length) for host, (place, length) in later.views.items()}
        return found
