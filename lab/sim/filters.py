"""The text commands of a simulated host: cat, tee, grep, diff and the like, on a host's files and standard input. Pure.

Owns what each prints and how it ends, for the options that scenarios use; any other option is refused by name. Files
are a mapping of absolute paths to bytes; `/dev/null` is always there and always empty.
"""

import re
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from difflib import SequenceMatcher

from msgspec import Struct

from lab import linear

__all__ = ["FILTERS", "NULL", "Files", "FilterResult"]

Files = MutableMapping[str, str]
NULL = "/dev/null"
ZERO = "/dev/zero"
"""Endless: only `head -c` reads it."""


class FilterResult(Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str = ""
    err: str = ""


Filter = Callable[[Sequence[str], str, Files], FilterResult]


class _Bad(Exception):
    """A wrong option or a missing file; args: exit code, text."""


def _read(name: str, stdin: str, files: Files) -> str:
    if name == "-":
        return stdin
    if name == NULL:
        return ""
    if name not in files:
        raise _Bad(1, f"{name}: No such file or directory")
    return files[name]


def _options(argv: Sequence[str], known: str, valued: str = "") -> tuple[dict[str, list[str]], list[str]]:
    """Options by letter (each with its values), and the operands."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    words = list(argv[1:])
    while words:
        word = words.pop(0)
        if word == "--":
            return found, rest + words
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in valued:
                if not letters and not words:
                    raise _Bad(2, f"option -{letter} lacks its value")
                found.setdefault(letter, []).append(letters or words.pop(0))
                break
            if letter not in known:
                raise _Bad(2, f"the simulated {argv[0]} has no option {word}")
            found.setdefault(letter, []).append("")
    return found, rest


def _cat(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    _, names = _options(argv, "u")
    return FilterResult(0, "".join(_read(name, stdin, files) for name in names or ["-"]))


def _tee(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = _options(argv, "a")
    for name in names:
        if name != NULL:
            files[name] = (files.get(name, "") if "a" in options else "") + stdin
    return FilterResult(0, stdin)


def _grep(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, rest = _options(argv, "EFGivqcnowxsh", "efm")
    patterns = [*options.get("e", [])]
    for name in options.get("f", []):
        patterns += _read(name, stdin, files).splitlines()
    if "e" not in options and "f" not in options:
        if not rest:
            raise _Bad(2, "no pattern")
        patterns += rest.pop(0).split("\n")
    none = "[^\\x00-\\x{10FFFF}]"
    try:
        pattern = linear.compile(
            "|".join(f"(?:{_pattern(text, options)})" for text in patterns) or none, ignore_case="i" in options
        )
    except linear.BadPattern as error:
        raise _Bad(2, f"the simulated grep cannot read this pattern: {error}") from None
    lines = "".join(_read(name, stdin, files) for name in rest or ["-"]).splitlines()
    found: list[str] = []
    count = 0
    limit = int(options["m"][0]) if "m" in options else None
    for number, line in enumerate(lines, 1):
        if limit is not None and count >= limit:
            break
        if pattern.found(line) == ("v" in options):
            continue
        count += 1
        before = f"{number}:" if "n" in options else ""
        shown = [text for text in pattern.matches(line) if text] if "o" in options else [line]
        found += [before + text for text in shown]
    if "q" in options:
        return FilterResult(int(not count))
    if "c" in options:
        return FilterResult(int(not count), f"{count}\n")
    return FilterResult(int(not count), _lines(found))


def _pattern(text: str, options: dict[str, list[str]]) -> str:
    if "F" in options:
        text = linear.escape(text)
    elif "E" not in options:
        # Basic expressions: what is special bare is not so escaped, and the other way about.
        text = re.sub(r"\\?[(){}+?|]", lambda match: match[0][1:] if match[0][0] == "\\" else "\\" + match[0], text)
    if "w" in options:
        text = rf"\b(?:{text})\b"
    return rf"^(?:{text})$" if "x" in options else text


def _diff(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = _options(argv, "qubwB")
    if len(names) != 2:
        raise _Bad(2, f"diff takes two files, found {len(names)}")
    left, right = (_read(name, stdin, files).splitlines() for name in names)
    if left == right:
        return FilterResult(0)
    if "q" in options:
        return FilterResult(1, f"Files {names[0]} and {names[1]} differ\n")
    shown: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal":
            verb = {"replace": "c", "delete": "d", "insert": "a"}[tag]
            shown.append(f"{_span(a, b, insert=verb == 'a')}{verb}{_span(c, d, insert=verb == 'd')}")
            shown += [f"< {line}" for line in left[a:b]]
            shown += ["---"] if tag == "replace" else []
            shown += [f"> {line}" for line in right[c:d]]
    return FilterResult(1, _lines(shown))


def _span(first: int, last: int, *, insert: bool) -> str:
    if insert:
        return str(first)
    return str(first + 1) if last == first + 1 else f"{first + 1},{last}"


def _head(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    if argv[0] == "head" and any(word.startswith("-c") for word in argv[1:]):
        return _first_octets(argv, stdin, files)
    number, names = _count(argv)
    lines = "".join(_read(name, stdin, files) for name in names or ["-"]).splitlines()
    return FilterResult(
        0, _lines(lines[:number] if argv[0] == "head" else lines[len(lines) - min(number, len(lines)) :])
    )


def _first_octets(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = _options(argv, "q", "c")
    text = options["c"][-1]
    if not text.isdigit():
        raise _Bad(1, f"-c {text}: expected a number")
    if names == [ZERO]:
        return FilterResult(0, "\0" * int(text))
    octets = "".join(_read(name, stdin, files) for name in names or ["-"]).encode()[: int(text)]
    return FilterResult(0, octets.decode(errors="ignore"))


def _count(argv: Sequence[str]) -> tuple[int, list[str]]:
    words = [f"-n{word[1:]}" if re.fullmatch(r"-\d+", word) else word for word in argv]
    options, names = _options(words, "q", "n")
    text = options.get("n", ["10"])[-1]
    if not text.isdigit():
        raise _Bad(1, f"-n {text}: expected a number")
    return int(text), names


def _wc(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = _options(argv, "lwc")
    text = "".join(_read(name, stdin, files) for name in names or ["-"])
    counts = {"l": text.count("\n"), "w": len(text.split()), "c": len(text.encode())}
    shown = [str(count) for letter, count in counts.items() if letter in options or not options]
    return FilterResult(0, " ".join(shown) + "\n")


def _sort(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = _options(argv, "rnu")
    lines = "".join(_read(name, stdin, files) for name in names or ["-"]).splitlines()

    def number(line: str) -> tuple[float, str]:
        match = re.match(r"\s*-?\d+(\.\d+)?", line)
        return (float(match[0]) if match else 0.0, line)

    lines = sorted(lines, key=number if "n" in options else None, reverse="r" in options)
    return FilterResult(0, _lines(dict.fromkeys(lines) if "u" in options else lines))


def _uniq(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    _, names = _options(argv, "")
    lines = "".join(_read(name, stdin, files) for name in names or ["-"]).splitlines()
    return FilterResult(0, _lines(line for index, line in enumerate(lines) if index == 0 or line != lines[index - 1]))


def _echo(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    words = list(argv[1:])
    newline = "\n"
    if words[:1] == ["-n"]:
        newline = ""
        del words[0]
    return FilterResult(0, " ".join(words) + newline)


def _true(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    return FilterResult(0)


def _false(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    return FilterResult(1)


def _test(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    words = list(argv[1:])
    if argv[0] == "[":
        if words[-1:] != ["]"]:
            raise _Bad(2, "missing ]")
        words.pop()
    match words:
        case ["-e" | "-f" | "-r", name]:
            return FilterResult(int(name not in files and name != NULL))
        case ["-s", name]:
            return FilterResult(int(not files.get(name)))
        case ["-n", text]:
            return FilterResult(int(not text))
        case ["-z", text]:
            return FilterResult(int(bool(text)))
        case [left, "=" | "==", right]:
            return FilterResult(int(left != right))
        case [left, "!=", right]:
            return FilterResult(int(left == right))
        case [text]:
            return FilterResult(int(not text))
    raise _Bad(2, f"the simulated test cannot decide `{' '.join(words)}`")


def _rm(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    options, names = _options(argv, "f")
    for name in names:
        if files.pop(name, None) is None and "f" not in options:
            raise _Bad(1, f"cannot remove {name}: No such file or directory")
    return FilterResult(0)


def _cp(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
    _, names = _options(argv, "")
    if len(names) != 2:
        raise _Bad(1, f"{argv[0]} takes two files, found {len(names)}")
    files[names[1]] = _read(names[0], stdin, files)
    return FilterResult(0)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _complaining(run: Filter) -> Filter:
    def guarded(argv: Sequence[str], stdin: str, files: Files) -> FilterResult:
        try:
            return run(argv, stdin, files)
        except _Bad as error:
            code, text = error.args
            return FilterResult(code if argv[0] != "diff" else 2, "", f"{argv[0]}: {text}\n")

    return guarded


FILTERS: dict[str, Filter] = {
    name: _complaining(run)
    for name, run in {
        "[": _test,
        "cat": _cat,
        "cp": _cp,
        "diff": _diff,
        "echo": _echo,
        "false": _false,
        "grep": _grep,
        "head": _head,
        "rm": _rm,
        "sort": _sort,
        "tail": _head,
        "tee": _tee,
        "test": _test,
        "true": _true,
        "sync": _true,
        "uniq": _uniq,
        "wc": _wc,
    }.items()
}
