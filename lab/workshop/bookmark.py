"""A learner's place on a page, kept between classes: a small file of the user's, below XDG_STATE_HOME.

Owns that file. A changed page counts as a new one; an unreadable file counts as missing.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from lab.workshop.text import CoursePart

__all__ = ["Bookmark", "CoursePosition"]

_PAGES = 32
"""Maximum number of pages with a stored place; the oldest is dropped first."""


class CoursePosition(msgspec.Struct, frozen=True):
    """The next command to type: the part's number and the command's index in it, from 0."""

    part: int
    command: int


class Bookmark:
    """The place on one page. `problem` says why a place could not be stored; empty if it could."""

    def __init__(self, parts: tuple[CoursePart, ...]) -> None:
        self._page = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
        self.problem = ""

    def get(self) -> CoursePosition | None:
        """The stored place, if any."""
        return self._read().get(self._page)

    def keep(self, place: CoursePosition | None) -> None:
        """Store a place; None deletes it."""
        pages = {page: kept for page, kept in self._read().items() if page != self._page}
        if place is not None:
            pages[self._page] = place
        newest = dict(list(pages.items())[-_PAGES:])
        try:
            path = _file()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            fresh.write_bytes(msgspec.json.encode(newest))
            fresh.replace(path)
        except (OSError, RuntimeError) as error:
            self.problem = str(error)

    def _read(self) -> dict[str, CoursePosition]:
        with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError):
            return msgspec.json.decode(_file().read_bytes(), type=dict[str, CoursePosition])
        return {}


def _file() -> Path:
    """The file's path. Raises `RuntimeError` for a user without a home directory."""
    home = os.environ.get("XDG_STATE_HOME")
    return Path(home or Path.home() / ".local/state", "overlay-lab", "workshop.json")
