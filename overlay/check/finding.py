"""The result of a check: level, what was found, what was expected, and the remedy. Pure data.

Commands are in backticks within the sentence of the remedy, as in every message of the overlay.
"""

import re
from enum import Enum

from msgspec import Struct

__all__ = ["Finding", "Level", "fine", "note", "unseen", "wrong"]

_COMMAND = re.compile("`([^`]*)`")


class Level(Enum):
    """The severity; the value is the word in the table."""

    FINE = "ok"
    NOTE = "note"
    """It works, but somebody should know about it."""
    WRONG = "WRONG"
    UNSEEN = "-"
    """It could not be checked; `found` has the reason."""


class Finding(Struct, frozen=True, kw_only=True):
    """One row of `weave check`."""

    level: Level
    found: str
    expected: str = ""
    remedy: str = ""
    """A sentence, with the commands in backticks."""
    where: str = ""
    """The host on which to type the remedy; empty: this one."""
    check: str = ""
    """The name of the check; the registry fills it in."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of the remedy, in order."""
        return tuple(_COMMAND.findall(self.remedy))


def fine(found: str) -> Finding:
    """All is well; `found` is a short summary."""
    return Finding(level=Level.FINE, found=found)


def note(found: str, remedy: str = "", *, expected: str = "", where: str = "") -> Finding:
    """It works, but somebody should know about it."""
    return Finding(level=Level.NOTE, found=found, expected=expected, remedy=remedy, where=where)


def wrong(found: str, expected: str, remedy: str, *, where: str = "") -> Finding:
    """Something does not work, or will not work."""
    return Finding(level=Level.WRONG, found=found, expected=expected, remedy=remedy, where=where)


def unseen(why: str) -> Finding:
    """It could not be checked."""
    return Finding(level=Level.UNSEEN, found=why)
