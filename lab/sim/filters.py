"""The text commands of a simulated host: cat, tee, grep, diff, head, on a host's files and standard input. Pure.

Owns their output and exit codes, for the options that scenarios use; any other option is refused by name. Files are a
mapping of absolute paths to bytes; `/dev/null` always exists and is empty.
"""

import getopt
import re
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from difflib import SequenceMatcher

from msgspec import Struct

from lab import linear

__all__ = ["FILTERS", "NULL", "BadUse", "Files", "FilterResult", "options_of"]

Files = MutableMapping[str, str]
NULL = "/dev/null"
ZERO = "/dev/zero"
"""Endless: only `head -c` reads it."""


class FilterResult(Struct, frozen=True):
    """The result of a command."""

    code: int
    out: str = ""
    err: str = ""


Filter = Callable[[Sequence[str], str, Files], FilterResult]


class BadUse(Exception):
    """A wrong option or a missing file; args: exit code, text."""


def _read(name: str, stdin: str, files: Files) -> str:
    if name == "-":
        return stdin
    if name == NULL:
        return ""
    if name not in files:
        raise BadUse(1, f"{name}: No such file or directory")
    return files[name]


def options_of(argv: Sequence[str], short: str, long: Sequence[str] = ()) -> tuple[dict[str, list[str]], list[str]]:
    """Parse options (as typed, each with its values) and operands. Raises `BadUse`."""
    try:
        found, rest = getopt.gnu_getopt(argv[1:], short, long)
    except getopt.GetoptError as error:
        raise BadUse(2, f"{error} by the simulated {argv[0]}") from None
    options: dict[str, list[str]] = {}
    for name, value in found:
        options.setdefault(name, []).append(value)
    return options, rest


def _cat(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    _, names = options_of(argv, "")
    return FilterResult(0, "".join(_read(name, stdin, files) for name in names or ["-"]))


def _tee(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = options_of(argv, "a")
    for name in names:
        if name != NULL:
            files[name] = (files.get(name, "") if "-a" in options else "") + stdin
    return FilterResult(0, stdin)


def _grep(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, rest = options_of(argv, "EFivqowe:f:")
    patterns = [*options.get("-e", [])]
    for name in options.get("-f", []):
        patterns += _read(name, stdin, files).splitlines()
    if "-e" not in options and "-f" not in options:
        if not rest:
            raise BadUse(2, "no pattern")
        patterns += rest.pop(0).split("\n")
    none = "[^\\x00-\\x{10FFFF}]"
    try:
        pattern = linear.compile(
            "|".join(f"(?:{_pattern(text, options)})" for text in patterns) or none, ignore_case="-i" in options
        )
    except linear.BadPattern as error:
        raise BadUse(2, f"the simulated grep cannot read this pattern: {error}") from None
    lines = "".join(_read(name, stdin, files) for name in rest or ["-"]).splitlines()
    found = [line for line in lines if pattern.found(line) != ("-v" in options)]
    shown = [text for line in found for text in pattern.matches(line) if text] if "-o" in options else found
    return FilterResult(int(not found), "" if "-q" in options else _lines(shown))


def _pattern(text: str, options: dict[str, list[str]]) -> str:
    if "-F" in options:
        text = linear.escape(text)
    elif "-E" not in options:
        # In basic expressions an operator must be escaped, and is a literal without the escape.
        text = re.sub(r"\\?[(){}+?|]", lambda match: match[0][1:] if match[0][0] == "\\" else "\\" + match[0], text)
    return rf"\b(?:{text})\b" if "-w" in options else text


def _diff(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    _, names = options_of(argv, "")
    if len(names) != 2:
        raise BadUse(2, f"diff takes two files, found {len(names)}")
    left, right = (_read(name, stdin, files).splitlines() for name in names)
    shown: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal":
            verb = {"replace": "c", "delete": "d", "insert": "a"}[tag]
            shown.append(f"{_span(a, b, insert=verb == 'a')}{verb}{_span(c, d, insert=verb == 'd')}")
            shown += [f"< {line}" for line in left[a:b]]
            shown += ["---"] if tag == "replace" else []
            shown += [f"> {line}" for line in right[c:d]]
    return FilterResult(int(bool(shown)), _lines(shown))


def _span(first: int, last: int, *, insert: bool) -> str:
    if insert:
        return str(first)
    return str(first + 1) if last == first + 1 else f"{first + 1},{last}"


def _head(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    words = [f"-n{word[1:]}" if re.fullmatch(r"-\d+", word) else word for word in argv]
    options, names = options_of(words, "c:n:")
    ((unit, (*_, text)),) = (options or {"-n": ["10"]}).items()
    if not text.isdigit():
        raise BadUse(1, f"{unit} {text}: expected a number")
    if unit == "-c" and names == [ZERO]:
        return FilterResult(0, "\0" * int(text))
    whole = "".join(_read(name, stdin, files) for name in names or ["-"])
    if unit == "-c":
        return FilterResult(0, whole.encode()[: int(text)].decode(errors="ignore"))
    return FilterResult(0, _lines(whole.splitlines()[: int(text)]))


def _echo(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    words = list(argv[1:])
    newline = "\n"
    if words[:1] == ["-n"]:
        newline = ""
        del words[0]
    return FilterResult(0, " ".join(words) + newline)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _complaining(run: Filter) -> Filter:
    def guarded(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
        try:
            return run(argv, stdin, files)
        except BadUse as error:
            code, text = error.args
            return FilterResult(code if argv[0] != "diff" else 2, "", f"{argv[0]}: {text}\n")

    return guarded


FILTERS: dict[str, Filter] = {
    name: _complaining(run)
    for name, run in {
        "cat": _cat,
        "diff": _diff,
        "echo": _echo,
        "false": lambda argv, stdin, files: FilterResult(1),
        "grep": _grep,
        "head": _head,
        "sync": lambda argv, stdin, files: FilterResult(0),
        "tee": _tee,
        "true": lambda argv, stdin, files: FilterResult(0),
    }.items()
}
