"""Formats counts, durations and names, and defines the order of names. Pure; knows nothing of a lab."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["MOST_TOLD", "are", "count", "few", "latex", "natural", "sample_line", "span", "step_number", "were"]

MOST_TOLD = 40
"""Most names in an error message."""
_DIGITS = re.compile(r"(\d+)")


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: `1 host`, `2 hosts`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def are(number: int) -> str:
    """The verb after a count, in the present tense."""
    return "is" if number == 1 else "are"


def were(number: int) -> str:
    """The verb after a count, in the past tense."""
    return "was" if number == 1 else "were"


def few(names: Iterable[str], *, most: int = 3) -> str:
    """All names in their order, or only the first and the last of more than `most`."""
    ordered = sorted(names, key=natural)
    return ", ".join(ordered) if len(ordered) <= most else f"{ordered[0]} … {ordered[-1]} ({len(ordered):,})"


def step_number(index: int) -> str:
    """The name of a step for users, from its index in the history: the first is `step 1`."""
    return f"step {index + 1}"


def sample_line(sample: Mapping[str, Any]) -> str:
    """One try of a probe, as plain data, formatted for users."""
    became = "ok" if sample["ok"] else f"failed ({sample.get('error') or 'no answer'})"
    answers = f" {', '.join(sample['answers'])}" if sample.get("answers") else ""
    return f"{sample['t'] / 1e9:8.2f}s {sample['probe']} {sample['source']} → {sample['target']}: {became}{answers}"


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """A sort key for names: numbers in them compare as numbers, so that web-2 comes before web-10."""
    parts = _DIGITS.split(text)
    return tuple((parts[at], int(parts[at + 1]) if at + 1 < len(parts) else -1) for at in range(0, len(parts), 2))


def span(ns: int | None) -> str:
    """A duration in a suitable unit: `0 s`, `850 µs`, `12 ms`, `1.34 s`, `95 s`."""
    if ns is None:
        return "not reached"
    if ns == 0:
        return "0 s"
    if ns < 1_000_000:
        return f"{ns / 1e3:.0f} µs"
    if ns < 10_000_000:
        return f"{ns / 1e6:.1f} ms"
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.0f} ms"
    return f"{ns / 1e9:.2f} s" if ns < 10_000_000_000 else f"{ns / 1e9:.1f} s"


def file_name(file: str) -> str:
    """A file's name without its folder."""
    return file.rpartition("/")[2]


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "<": r"$<$",
    ">": r"$>$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def latex(text: str) -> str:
    """A text as LaTeX prints it."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
