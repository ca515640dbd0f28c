"""Makes foreign text harmless for logs and terminals. Pure.

Text from others (names, nicknames, DNS names, errors of engines) may contain line ends (which forge log lines), escape
sequences (which control a terminal) and bidirectional marks. This module makes all of them visible.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["LINES", "clean", "clean_json", "clean_tree"]

LINES = "\n\t"
"""Characters that a multi-line text may keep."""
_UNUSUAL = re.compile(r"[^\x20-\x7e]+")
"""Only text that matches is checked character by character, so that a long report stays fast."""


def clean(text: str, *, most: int = 0, keep: str = "") -> str:
    r"""`text` with everything unprintable written as an escape: ESC as `\x1b`, U+202E as `\u202e`.

    Unprintable are controls (C0, DEL, C1), format characters such as bidirectional marks, every line end and every
    blank except U+0020, surrogates, private and unassigned characters; `keep` names exceptions. `most`: maximum number
    of characters, the rest is cut (0: no limit).
    """
    if most and len(text) > most:
        text = text[: most - 1] + "…"
    bare = text
    for char in keep:
        bare = bare.replace(char, "")
    if bare.isprintable():
        return text
    return _escaped(text, keep, _shown)


def clean_tree(value: Any, *, keep: str = "") -> Any:
    """A JSON value with every text in it (keys too) cleaned."""
    if isinstance(value, str):
        return value if value.isprintable() else clean(value, keep=keep)
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) and key.isprintable() else clean_tree(key): clean_tree(each, keep=keep)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [clean_tree(each, keep=keep) for each in value]
    return value


def clean_json(text: str) -> str:
    """A JSON document with the same meaning, in which unprintable characters are JSON's own escapes."""
    if text.isprintable():
        return text
    return _escaped(text, LINES, _escape)


def _escaped(text: str, keep: str, escape: Callable[[str], str]) -> str:
    def run(found: re.Match[str]) -> str:
        return "".join([char if char.isprintable() or char in keep else escape(char) for char in found[0]])

    return _UNUSUAL.sub(run, text)


@lru_cache(maxsize=1024)
def _shown(char: str) -> str:
    return char.encode("unicode_escape").decode()


@lru_cache(maxsize=1024)
def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
