"""A second league over some cells of a first, and whether the two agree. Pure.

Owns which cells are played again (a random part) and what agreement is: of neither cell the whole interval
is better than that of the other, by more than the measure can tell apart.
"""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256

from msgspec import Struct

from lab.errors import LabError
from lab.league.plan import Pairing
from lab.league.results import LeagueCell, LeagueRow, alike

__all__ = ["CellAgreement", "agreements", "part_of", "part_words"]


class CellAgreement(Struct, frozen=True, kw_only=True):
    """One cell of both leagues."""

    row: LeagueRow
    first: LeagueCell
    second: LeagueCell
    agree: bool


def part_words(text: str) -> Fraction:
    """The part that a word names: `1/3`, `0.5`, `all`. Raises `LabError`."""
    try:
        part = Fraction(1) if text == "all" else Fraction(text)
    except (ValueError, ZeroDivisionError):
        part = Fraction(0)
    if not 0 < part <= 1:
        raise LabError(f"--again {text}: expected a part of all cells as 1/3 or 0.5, or all")
    return part


def part_of(found: Sequence[Pairing], part: Fraction) -> list[Pairing]:
    """So many of the entries and questions that can be played, at random and at least one, in their order."""
    playable = [index for index, one in enumerate(found) if not one.why_not and not one.broken]
    if not playable:
        return []
    drawn = sorted(playable, key=lambda index: _lot(found[index]))[: max(1, round(part * len(playable)))]
    return [found[index] for index in sorted(drawn)]


def _lot(one: Pairing) -> bytes:
    """As good as random, and the same each time, so that an interrupted second league goes on with the same cells."""
    return sha256(f"{one.entry.label} {one.question.name}".encode()).digest()


def agreements(first: Sequence[LeagueRow], second: Sequence[LeagueRow]) -> list[CellAgreement]:
    """Every cell that both leagues have."""
    there = {(row.question.name, row.measure.name, cell.entry): cell for row in first for cell in row.cells}
    found = []
    for row in second:
        for cell in row.cells:
            before = there.get((row.question.name, row.measure.name, cell.entry))
            if before is not None:
                found.append(CellAgreement(row=row, first=before, second=cell, agree=alike(row, before, cell)))
    return found
