"""Tables for a terminal or a file. Owns their layout; pure except for `show`, which prints one.

Cells are printed unchanged: no markup, no truncation. If a table is wider than the terminal, each row becomes a block
with a line per cell; a pipe or a file has no width limit.
"""

import unicodedata
from collections.abc import Sequence

import click

from lab.cli import terminal
from overlay.clean import clean

__all__ = ["columns_of", "lay_out", "show"]

_GAP = "  "


def show(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    title: str = "",
    styles: Sequence[str] = (),
) -> None:
    """Print a table on standard output. `right`: headers of numeric columns; `styles`: one word per row
    (bold, dim)."""
    rows = [[clean(cell, keep="\n") for cell in row] for row in rows]
    if title:
        click.echo(title)
    width = terminal.width()
    header, blocks = lay_out(headers, rows, width=width, right=right)
    for line in header:
        click.echo(click.style(line, bold=True))
    for index, lines in enumerate(blocks):
        style = styles[index] if index < len(styles) else ""
        for line in lines:
            click.echo(click.style(line, bold=style == "bold", dim=style == "dim") if style else line)


def lay_out(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None, right: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """(lines of the header, lines of each row). `width` None: no limit."""
    cells = [[_lines(cell) for cell in row] for row in rows]
    wide = [
        max([columns_of(header), *(columns_of(line) for row in cells for line in row[index])])
        for index, header in enumerate(headers)
    ]
    if width is not None and sum(wide) + len(_GAP) * (len(wide) - 1) > width:
        return [], [_block(headers, row, last=row is cells[-1]) for row in cells]
    flush = [header in right for header in headers]
    head = _line(headers, wide, flush)
    body = []
    for row in cells:
        height = max(map(len, row), default=1)
        padded = [[*lines, *[""] * (height - len(lines))] for lines in row]
        body.append([_line([lines[index] for lines in padded], wide, flush) for index in range(height)])
    return [head], body


def columns_of(text: str) -> int:
    """Number of columns of a text: two for each wide East Asian character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _lines(cell: str) -> list[str]:
    return cell.split("\n")


def _line(cells: Sequence[str], wide: Sequence[int], flush: Sequence[bool]) -> str:
    padded = []
    for cell, size, to_the_right in zip(cells, wide, flush, strict=True):
        blank = " " * (size - columns_of(cell))
        padded.append(blank + cell if to_the_right else cell + blank)
    return _GAP.join(padded).rstrip()


def _block(headers: Sequence[str], row: Sequence[Sequence[str]], *, last: bool) -> list[str]:
    """A row on a terminal that is too narrow: `header: cell`, without empty cells."""
    lines = []
    for header, (first, *more) in zip(headers, row, strict=True):
        if first or more:
            lines.append(f"{header}: {first}" if header else first)
            lines += [f"{_GAP}{line}" for line in more]
    return lines if last else [*lines, ""]
