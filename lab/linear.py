"""Regular expressions that others wrote, in linear time: those of a scenario, of its commands, of a class's page.

Python's `re` tries ways one after the other, and a short expression can have more of them than a life has seconds. RE2
has no such case, and the same text gets the same answer however busy the machine is (a time limit would not). What RE2
cannot do (looking ahead or behind, referring to a group) is refused here; `lab.verbs._match` allows it. Expressions in
this project's own code stay with `re`; `tests/unit/test_regular_expressions.py` shows that each of them is linear.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

__all__ = ["BadPattern", "Pattern", "compile", "escape"]

_re2: Any = re2  # not annotated: taken as it is
_MOST_MEMORY = 8 << 20


class BadPattern(ValueError):
    """No regular expression, or one that takes more than linear time; the text says what is wrong."""


class Pattern:
    """A compiled expression."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def found(self, text: str) -> bool:
        """Whether it is in the text."""
        return self._compiled.search(text) is not None

    def end(self, text: str) -> int:
        """Where its first match in the text ends; -1: there is none."""
        match = self._compiled.search(text)
        return -1 if match is None else int(match.end())

    def matches(self, text: str) -> Iterator[str]:
        """All that it matches, from left to right."""
        return (match[0] for match in self._compiled.finditer(text))


@lru_cache(maxsize=256)
def compile(text: str, *, lines: bool = False, ignore_case: bool = False) -> Pattern:
    """`lines`: `^` and `$` are the borders of lines, not of the text. Raises `BadPattern`."""
    options = _re2.Options()
    options.log_errors = False
    options.max_mem = _MOST_MEMORY
    options.case_sensitive = not ignore_case
    try:
        return Pattern(_re2.compile(f"(?m){text}" if lines else text, options))
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise BadPattern(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None


def escape(text: str) -> str:
    """An expression that matches this text alone."""
    return str(_re2.escape(text))
