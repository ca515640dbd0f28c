"""The walk-through's page as data. Its command blocks are the test: exactly what is written is typed.

A block is a fence ```` ```console ````. A line `HOST:~$ COMMAND` (or `HOST:~# COMMAND`) is typed on that host, a line
`# COMMAND` in the most recently opened container shell. Lines below a command must appear in its output, in order; `…`
in them matches any text. A command must exit with 0, except the last one of a block marked ```` ```console fails ````,
which must not. Pure.
"""

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from lab import linear
from lab.errors import LabError

_ON_HOST = re.compile(r"^(?P<host>[A-Za-z0-9.-]+):~[$#] (?P<command>.+)$")
_IN_CONTAINER = re.compile(r"^# (?P<command>.+)$")
_PART = re.compile(r"^## (?P<number>\d+)\. (?P<title>.+)$")
_FENCE = re.compile(r"^```(?P<kind>\w*)(?P<marks>.*)$")
PRINTED_ID = "04d37c6f7781"
"""The page's example of a container id; when it is typed, the most recently printed id is used."""


class TypedCommand(Struct, frozen=True, kw_only=True):
    """One line to type. `host` is empty for the open shell of a container."""

    host: str
    line: str
    expected: tuple[str, ...] = ()
    fails: bool = False


class CourseStep(Struct, frozen=True, kw_only=True):
    """Some prose, followed by commands."""

    prose: str
    commands: tuple[TypedCommand, ...]


class CoursePart(Struct, frozen=True, kw_only=True):
    """One numbered section of the page."""

    number: int
    title: str
    steps: tuple[CourseStep, ...]


def parse(text: str) -> tuple[CoursePart, ...]:
    """The parts of a page in order. Raises `LabError` with the line number of a block that cannot be typed."""
    parts: list[CoursePart] = []
    number, title = -1, ""
    steps: list[CourseStep] = []
    prose: list[str] = []
    lines = enumerate(text.splitlines(), 1)
    for at, line in lines:
        if head := _PART.match(line):
            if number >= 0:
                parts.append(CoursePart(number=number, title=title, steps=_closed(steps, prose)))
            number, title = int(head["number"]), head["title"]
            steps, prose = [], []
        elif fence := _FENCE.match(line):
            block = list(_block(lines, at))
            if fence["kind"] == "console" and number >= 0:
                commands = _commands(block, at, fails="fails" in fence["marks"].split())
                steps.append(CourseStep(prose="\n".join(prose).strip(), commands=commands))
                prose = []
        else:
            prose.append(line)
    if number >= 0:
        parts.append(CoursePart(number=number, title=title, steps=_closed(steps, prose)))
    if not parts:
        raise LabError("the page has no numbered parts (`## 1. …`), so there is nothing to type")
    return tuple(parts)


def _closed(steps: Sequence[CourseStep], prose: Sequence[str]) -> tuple[CourseStep, ...]:
    rest = "\n".join(prose).strip()
    return (*steps, CourseStep(prose=rest, commands=())) if rest else tuple(steps)


def _block(lines: Iterator[tuple[int, str]], opened: int) -> Iterator[str]:
    for _, line in lines:
        if line.startswith("```"):
            return
        yield line
    raise LabError(f"line {opened}: this block is never closed")


def _commands(block: Sequence[str], at: int, *, fails: bool) -> tuple[TypedCommand, ...]:
    found: list[TypedCommand] = []
    for offset, line in enumerate(block, at + 1):
        if match := _ON_HOST.match(line):
            found.append(TypedCommand(host=match["host"], line=match["command"].strip()))
        elif match := _IN_CONTAINER.match(line):
            found.append(TypedCommand(host="", line=match["command"].strip()))
        elif found and line.strip():
            last = found[-1]
            found[-1] = TypedCommand(host=last.host, line=last.line, expected=(*last.expected, line.strip()))
        elif line.strip():
            raise LabError(f"line {offset}: output before any command; a command is `HOST:~$ …` or `# …`: {line!r}")
    if fails and found:
        last = found[-1]
        found[-1] = TypedCommand(host=last.host, line=last.line, expected=last.expected, fails=True)
    return tuple(found)


def lacking(expected: Sequence[str], output: str) -> str:
    """The first expected line that is not in the output after the previous ones; empty if all are."""
    rest = output
    for line in expected:
        pieces = [r"\s+".join(map(linear.escape, piece.split())) for piece in line.split("…")]
        end = linear.compile(".*".join(pieces)).end(rest)
        if end < 0:
            return line
        rest = rest[end:]
    return ""
