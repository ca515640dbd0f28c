"""Parses a line for `sh -c` on a simulated host: commands with redirections, joined by `|`, `&&`, `||` and `;`.

Owns the syntax, and which parts of it are not simulated; pure. `shlex` unquotes words, and nothing is expanded. Must
not know what a command does.
"""

import re
import shlex

from msgspec import Struct

__all__ = ["Item", "NotSimulated", "Redirect", "ShellCommand", "commands", "parse"]

_QUOTED = r"""'[^']*'|"(?:\\.|[^"\\])*"|\\[^\n]"""
_WORD = rf"""(?:{_QUOTED}|[^\s'"\\|&;<>()])+"""
_TOKEN = re.compile(
    r"[ \t]+|\\\n|#[^\n]*"
    rf"|(?P<fd>\d?)(?P<how>>>|>&|>|<(?![<&]))[ \t]*(?P<target>{_WORD})"
    rf"|(?P<operator>&&|\|\||[|;\n])|(?P<word>{_WORD})",
    re.S,
)
_EXPANDED = re.compile(r"`|\$[\w({?!@*#$-]|[*?[]|^~")
_COMPOUND = re.compile(r"(if|for|while|until|case|function|[{}!]|then|do|done|fi|esac)$|[A-Za-z_]\w*=")


class NotSimulated(Exception):
    """The line needs a shell feature that is not simulated; the text names it."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"`{found}`: the shell of simulated hosts knows commands joined by | && || ; and newlines, quotes and"
            " redirections; it has no variables, expansions (quote a character to mean itself), compound commands,"
            " subshells, background jobs and here-documents"
        )


class Redirect(Struct, frozen=True):
    """`2>>file`: descriptor, operator (`<`, `>`, `>>`, `>&`), file or descriptor."""

    fd: int
    how: str
    target: str


class ShellCommand(Struct, frozen=True):
    """One command: its words and redirections."""

    argv: tuple[str, ...]
    redirects: tuple[Redirect, ...] = ()


class Item(Struct, frozen=True):
    """One pipeline, and when it runs: always (empty), if the previous one succeeded (`&&`) or failed (`||`)."""

    when: str
    pipeline: tuple[ShellCommand, ...]


def parse(line: str) -> tuple[Item, ...]:
    """Parse a line; raises `NotSimulated`."""
    items: list[Item] = []
    when, place = "", 0
    pipeline: list[ShellCommand] = []
    words: list[str] = []
    redirects: list[Redirect] = []
    line += "\n"
    while place < len(line):
        found = _TOKEN.match(line, place)
        begin, place = place, found.end() if found is not None else 0
        if found is None or (not words and found["word"] and _COMPOUND.match(found["word"])):
            raise NotSimulated(line[begin : begin + 12].strip())
        if text := found["word"] or found["target"]:
            bare = re.sub(_QUOTED, _what_quotes_leave, text)
            if _EXPANDED.search(bare + line[place : place + 1]) and text != "[":
                raise NotSimulated(line[begin : begin + 12].strip())
            plain = shlex.split(text)[0]
            if found["word"]:
                words.append(plain)
            else:
                redirects.append(Redirect(int(found["fd"] or found["how"] != "<"), found["how"], plain))
        elif operator := found["operator"]:
            if words:
                pipeline.append(ShellCommand(tuple(words), tuple(redirects)))
            elif operator != "\n" or redirects or pipeline or when:
                raise NotSimulated(line[begin : begin + 12].strip() or "a line that ends without a command")
            words, redirects = [], []
            if operator != "|" and pipeline:
                items.append(Item(when, tuple(pipeline)))
                pipeline, when = [], operator if operator in ("&&", "||") else ""
    return tuple(items)


def _what_quotes_leave(quoted: re.Match[str]) -> str:
    """Expansions that a shell performs even inside quotes."""
    return re.sub(r"\\.|[*?[]", "", quoted[0]) if quoted[0].startswith('"') else ""


def commands(items: tuple[Item, ...]) -> list[ShellCommand]:
    """All commands of a line, in their order."""
    return [command for item in items for command in item.pipeline]
