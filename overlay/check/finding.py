"""What a check says: how bad it is, what was found, what was expected, what to type. Pure data.

Commands stand in backticks within the sentence of the remedy, as in every message of the overlay.
"""

import re
from enum import Enum

from msgspec import Struct

__all__ = ["Finding", "Level", "fine", "note", "unseen", "wrong"]

_COMMAND = re.compile("`([^`]*)`")


class Level(Enum):
    """How bad it is; the value is the word of the table."""

    FINE = "ok"
    NOTE = "note"
    """It works, but somebody should know."""
    WRONG = "WRONG"
    UNSEEN = "-"
    """It could not be looked at; `found` says why."""


class Finding(Struct, frozen=True, kw_only=True):
    """One row of `weave check`."""

    level: Level
    found: str
    expected: str = ""
    remedy: str = ""
    """A sentence, with the commands in backticks."""
    where: str = ""
    """The host on which the remedy is typed; empty: this one."""
    check: str = ""
    """Which check says so; the registry fills it in."""

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type, in order."""
        return tuple(_COMMAND.findall(self.remedy))


def fine(found: str) -> Finding:
    """All is well; `found` says in short what was seen."""
    return Finding(level=Level.FINE, found=found)


def note(found: str, remedy: str = "", *, expected: str = "", where: str = "") -> Finding:
    """It works, but somebody should know."""
    return Finding(level=Level.NOTE, found=found, expected=expected, remedy=remedy, where=where)


def wrong(found: str, expected: str, remedy: str, *, where: str = "") -> Finding:
    """Something does not work, or will not."""
    return Finding(level=Level.WRONG, found=found, expected=expected, remedy=remedy, where=where)


def unseen(why: str) -> Finding:
    """It could not be looked at."""
    return Finding(level=Level.UNSEEN, found=why)
