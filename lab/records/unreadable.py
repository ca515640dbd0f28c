"""Data that the lab has stored and reads again: what nobody of this version wrote ends in a sentence, in one place.

A file may have the right form and hold what no run writes (another version's words, an edit by hand). Code that works
on it would fail somewhere; it is named, and what it would have come to is unknown (exit code 3).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from lab.errors import LabError, Unreadable

__all__ = ["understood"]


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """Raises `Unreadable` for whatever goes wrong inside because of what the file holds."""
    try:
        yield
    except (LabError, OSError, MemoryError, click.ClickException, click.Abort):
        raise
    except Exception as error:
        raise Unreadable(
            f"{path} holds what no run of this version writes ({type(error).__name__}: {error}): it was changed, or "
            "another version wrote it; if neither is so, this is a fault of the lab: please report it"
        ) from error
