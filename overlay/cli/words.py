"""Words of a command line: errors, similar words, and leading addresses. Pure."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from urllib.parse import quote

from overlay.errors import OverlayError, UsageError

__all__ = [
    "IN_CONTAINER",
    "Usage",
    "engine_socket",
    "host_names",
    "is_literal",
    "named",
    "nearest",
    "number",
    "one",
    "plain",
    "quoted",
    "take_addresses",
]

IN_CONTAINER = "--in-container"
"""The flag of `launch` and `launch-proxy` that `overlay.cli.container` implements."""

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?")


class Usage(OverlayError):
    """The words of a command are invalid; exit code 2."""


def nearest(word: str, known: Iterable[str], *, dashes: bool = False) -> str:
    """`, did you mean `x`?` for the most similar known word, or an empty string. `dashes`: the words are flags, so
    print the answer with dashes: `--password`, `-H`."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    if not found:
        return ""
    lead = ("-" if len(found[0]) == 1 else "--") if dashes else ""
    return f", did you mean `{lead}{found[0]}`?"


def host_names(value: str) -> tuple[str, ...]:
    """The names of an `--allow-host`, in lower case. Raises `Usage`."""
    names = [word.strip().lower() for word in value.split(",") if word.strip()]
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise Usage(f"--allow-host {name}: expected the name of a host, without port, as lab.example")
    return tuple(names)


def engine_socket(flag: str, value: str) -> str:
    """The path of the engine's unix socket, with or without `unix://`; empty: the default one. Raises `Usage`."""
    path = value.removeprefix("unix://")
    if path and not path.startswith("/"):
        raise Usage(f"{flag} {value}: expected the engine's unix socket, as unix:///var/run/docker.sock")
    return path


def number(flag: str, text: str, low: int, high: int) -> int:
    """A number within bounds. Raises `Usage`."""
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise Usage(f"{flag} {text}: expected a number from {low} to {high}")
    return int(text)


def take_addresses(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Leading address specifications, and the remaining words. Raises `Usage` for an invalid one."""
    from overlay.addresses import looks_like_address, parse_address

    count = 0
    while count < len(words) and looks_like_address(words[count]):
        try:
            parse_address(words[count])
        except UsageError as error:
            raise Usage(str(error)) from None
        count += 1
    return list(words[:count]), list(words[count:])


def plain(words: Sequence[str], command: str, flags: Sequence[str] = ()) -> list[str]:
    """The words, if none of them is a flag. Raises `Usage`."""
    for word in words:
        if word.startswith("-") and len(word) > 1:
            known = f", only {' '.join(flags)}" if flags else ""
            raise Usage(f"{command} has no flag `{word}`{nearest(word, flags) or known}")
    return list(words)


def one(words: Sequence[str], command: str, what: str = "CONTAINER") -> str:
    """The only word. Raises `Usage` if there are more, or none."""
    if len(words) != 1:
        found = f"{len(words)} of them: {' '.join(words)}" if words else "none"
        raise Usage(f"{command} takes one {what}, found {found}")
    return words[0]


def named(words: Sequence[str]) -> tuple[str, list[str]]:
    """The NAME of `-h NAME`, and the other words. Raises `Usage`."""
    name, rest = "", list(words)
    if "-h" in rest:
        at = rest.index("-h")
        if at + 1 == len(rest):
            raise Usage("-h lacks its NAME")
        name = rest[at + 1]
        del rest[at : at + 2]
    return name, rest


def is_literal(word: str) -> bool:
    """Whether a word is an address without prefix length (not a container)."""
    return (word.replace(".", "").isdigit() and word.count(".") == 3) or (":" in word and not word.startswith("weave:"))


def quoted(word: str) -> str:
    """A word quoted as one part of a path."""
    return quote(word, safe="")
