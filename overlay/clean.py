"""Foreign words made harmless for logs and terminals. Pure.

Names, nicknames, DNS names, errors of engines: what others chose may hold line ends (which forge log lines), escape
sequences (which drive a terminal) and marks that turn the direction of writing. Every one of them becomes visible.
"""

from typing import Any

__all__ = ["LINES", "clean", "clean_json", "clean_tree"]

LINES = "\n\t"
"""What a text of several lines may keep."""


def clean(text: str, *, most: int = 0, keep: str = "") -> str:
    """`text` with everything unprintable written as an escape: ESC as `\\x1b`, U+202E as `\\u202e`.

    Unprintable are controls (C0, DEL, C1), format characters such as bidirectional marks, every line end and every
    blank but U+0020, surrogates, private and unassigned characters; `keep` names exceptions. `most`: cut beyond so
    many characters (0: never).
    """
    if most and len(text) > most:
        text = text[: most - 1] + "…"
    bare = text
    for char in keep:
        bare = bare.replace(char, "")
    if bare.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )


def clean_tree(value: Any, *, keep: str = "") -> Any:
    """A value as JSON knows them, with every text in it (keys too) cleaned."""
    if isinstance(value, str):
        return clean(value, keep=keep)
    if isinstance(value, dict):
        return {clean_tree(key): clean_tree(each, keep=keep) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_tree(each, keep=keep) for each in value]
    return value


def clean_json(text: str) -> str:
    """A JSON document with the same meaning, in which unprintable characters are JSON's own escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in LINES else _escape(char) for char in text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
