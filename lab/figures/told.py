"""The text of a figure: the finding, how to read it, and its numbers as a table. Pure."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

__all__ = ["FORMATS", "STYLES", "Told", "seconds", "table"]


FORMATS = ("png", "svg", "pdf")
"""File formats of pictures."""
STYLES = ("screen", "paper")
"""Styles of pictures (`lab.plots.style`)."""


class Told(Struct, frozen=True, kw_only=True):
    """One figure without its picture."""

    name: str
    """Stem of its files."""
    title: str
    """The finding, in a few words."""
    caption: str
    """One sentence: what is drawn, and how to read it."""
    csv: str = ""
    parts: Callable[[], Iterable[str]] | None = None
    """The table in parts instead of `csv`, where it may be too long to be kept at once."""

    def table(self) -> Iterable[str]:
        """The table, in parts."""
        return (self.csv,) if self.parts is None else self.parts()


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV (RFC 4180, but with plain newlines)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def seconds(t: int) -> float:
    """Nanoseconds as seconds, for axes."""
    return t / 1e9
