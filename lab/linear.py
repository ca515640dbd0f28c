"""Foreign regular expressions in linear time: those of a scenario, of its commands, and of pages.

Python's `re` backtracks, and a short expression can take exponential time. RE2 cannot, and the same text gives the same
result however busy the machine is (unlike a time limit). Features that RE2 lacks (lookahead, lookbehind,
backreferences) are refused here; `lab.verbs._match` allows it. Expressions in this project's own code use `re`;
`tests/unit/test_regular_expressions.py` checks that each of them is linear.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

__all__ = ["BadPattern", "Pattern", "compile", "escape"]

_re2: Any = re2  # without annotations: taken as it is
_MOST_MEMORY = 8 << 20


class BadPattern(ValueError):
    """Not a regular expression, or one that needs more than linear time; the text says what is wrong."""


class Pattern:
    """A compiled expression."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def found(self, text: str) -> bool:
        """Whether the text contains a match."""
        return self._compiled.search(text) is not None

    def end(self, text: str) -> int:
        """The end of the first match in the text; -1: there is none."""
        match = self._compiled.search(text)
        return -1 if match is None else int(match.end())

    def matches(self, text: str) -> Iterator[str]:
        """All matches, from left to right."""
        return (match[0] for match in self._compiled.finditer(text))


@lru_cache(maxsize=256)
def compile(text: str, *, lines: bool = False, ignore_case: bool = False) -> Pattern:
    """Compile an expression. `lines`: `^` and `$` match at lines, not only at the text's ends. Raises `BadPattern`."""
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
    """An expression that matches exactly this text."""
    return str(_re2.escape(text))
