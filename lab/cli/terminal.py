"""Standard output and error of a command: their capabilities, whether they are terminals, write errors. The one place.

Owns the three standard streams of the process: after `prepare`, writing never raises. A character that the terminal
cannot show is replaced. A reader that stops reading (`| head`) does not stop the command. A write error (a full disk, a
closed descriptor) is reported once on standard error and remembered, so that the command can end with the right exit
code. Knows nothing of what is printed.
"""

import codecs
import errno
import io
import os
import select
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["live", "lost", "prepare", "width"]

_REPLACEMENTS = dict(
    zip("✓✗…→×–—−•·“”‘’µ≥≤", ("+", "x", "...", "->", "x", *"---*-", '"', '"', "'", "'", "u", ">=", "<="), strict=True)
)
"""Replacements of the characters that the lab itself prints; any other is written as its escape, `\\u6771`."""
_ERRORS = "lab-replace"
_STANDARD = 3
"""Descriptors 0, 1 and 2 are the standard streams."""

_lost: list[str] = []


def lost() -> str:
    """The error that kept output from being written to standard output; empty if all of it was written."""
    return _lost[0] if _lost else ""


def live() -> bool:
    """Whether to print colours and updating lines: on a terminal that can show them, unless NO_COLOR
    (https://no-color.org) is set."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def width() -> int | None:
    """Columns of the terminal; None if lines may have any length (a pipe, a file)."""
    return max(shutil.get_terminal_size().columns, 1) if sys.stdout.isatty() else None


def prepare() -> None:
    """Replace the standard streams. Called once, before anything is printed or opened."""
    codecs.register_error(_ERRORS, _replace)
    closed = [number for number in range(_STANDARD) if not _is_open(number)]
    for _ in closed:
        # Otherwise the first opened files and sockets get these numbers, and output is written into them.
        os.open(os.devnull, os.O_RDWR)
    if 0 in closed:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stderr = _stream(2, sys.stderr, lambda _: None)
    sys.stdout = _stream(1, sys.stdout, _remember)
    if 1 in closed:
        _remember("it is closed")


def _remember(why: str) -> None:
    if not _lost:
        _lost.append(why)
        print(f"lab: standard output cannot be written: {why}", file=sys.stderr)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor; after a write error it discards the output."""

    def __init__(self, number: int, failed: Callable[[str], None]) -> None:
        self._number = number
        self._failed = failed

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: "WriteableBuffer", /) -> int:
        try:
            while True:
                try:
                    return os.write(self._number, data)
                except BlockingIOError:
                    # Another process made the terminal non-blocking.
                    select.select([], [self._number], [])
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._number)
            os.close(nowhere)
            if error.errno != errno.EPIPE:
                self._failed(error.strerror or str(error))
            return memoryview(data).nbytes


def _stream(number: int, before: TextIO | None, failed: Callable[[str], None]) -> TextIO:
    encoding = getattr(before, "encoding", None) or "utf-8"
    raw = _Descriptor(number, failed)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, line_buffering=number == 2 or raw.isatty()
    )


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    escaped = (_REPLACEMENTS.get(char) or char.encode("ascii", "backslashreplace").decode("ascii") for char in found)
    return "".join(escaped), error.end
