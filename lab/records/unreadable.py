"""Reading stored data: a file that this version did not write ends in one error message, raised in one place.

A file may have the right form but contents that no run writes (from another version, or edited by hand). Code that
processes it would fail somewhere; instead the file is named, and the result is unknown (exit code 3).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from lab.errors import LabError, Unreadable

__all__ = ["understood"]


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """Convert any error inside that the file's contents cause into `Unreadable`."""
    try:
        yield
    except (LabError, OSError, MemoryError, click.ClickException, click.Abort):
        raise
    except Exception as error:
        raise Unreadable(
            f"{path} holds what no run of this version writes ({type(error).__name__}: {error}): it was changed, or "
            "another version wrote it; if neither is so, this is a fault of the lab: please report it"
        ) from error
