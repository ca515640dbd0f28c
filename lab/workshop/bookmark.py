"""Where a learner is on a page, kept between classes: a small file of the user's, below XDG_STATE_HOME.

Owns that file. A page that changed is another page; a file that cannot be read counts as none.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from lab.workshop.text import CoursePart

__all__ = ["Bookmark", "CoursePosition"]

_PAGES = 32
"""Pages of which a place is kept; the oldest goes first."""


class CoursePosition(msgspec.Struct, frozen=True):
    """The next command to type: the part's number and the command's index in it, from 0."""

    part: int
    command: int


class Bookmark:
    """The place of one page. `problem` says why a place could not be kept; empty while it could."""

    def __init__(self, parts: tuple[CoursePart, ...]) -> None:
        self._page = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
        self.problem = ""

    def get(self) -> CoursePosition | None:
        """The place that was kept, if any."""
        return self._read().get(self._page)

    def keep(self, place: CoursePosition | None) -> None:
        """Keep a place; None forgets it."""
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
    """Raises `RuntimeError` for a user without a home."""
    home = os.environ.get("XDG_STATE_HOME")
    return Path(home or Path.home() / ".local/state", "overlay-lab", "workshop.json")
