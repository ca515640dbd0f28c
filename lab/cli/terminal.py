"""Standard output and error of a command: what they can show, who looks, and what became of them. The one place.

Owns the three standard streams of the process: `prepare` makes them such that writing never raises. A character that
the terminal cannot show is replaced, a reader that stops reading (`| head`) stops nothing, and what cannot be written
(a full disk, a closed descriptor) is said once on standard error and remembered, so that the command can end with the
exit code that says so. Knows nothing of what is printed.
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
"""What stands for the characters that the lab itself prints; any other is written as its escape, `\\u6771`."""
_ERRORS = "lab-replace"
_STANDARD = 3
"""Descriptors 0, 1 and 2 are the standard streams."""

_lost: list[str] = []


def lost() -> str:
    """Why something that was to be read on standard output was not written; empty when all of it was."""
    return _lost[0] if _lost else ""


def live() -> bool:
    """Whether to print colours and lines that change: to a terminal that can show them, unless NO_COLOR
    (https://no-color.org) is set."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def width() -> int | None:
    """Columns of the terminal; None where lines may be of any length (a pipe, a file)."""
    return max(shutil.get_terminal_size().columns, 1) if sys.stdout.isatty() else None


def prepare() -> None:
    """Take the standard streams over. Called once, before anything is printed or opened."""
    codecs.register_error(_ERRORS, _replace)
    closed = [number for number in range(_STANDARD) if not _is_open(number)]
    for _ in closed:
        # Else the first files and sockets that are opened get these numbers, and output is written into them.
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
    """Writes to a descriptor until that fails; from then on to nowhere."""

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
                    # Somebody else made the terminal non-blocking.
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
