"""Whether a scenario's regular expression is in an output, and never for longer than its step may take.

RE2 (`lab.linear`) answers in linear time. What it cannot do (looking ahead or behind, referring to a group) is left to
Python's `re` in a process of its own, which can be ended: a match inside this one could not.
"""

import json
import subprocess
import sys

from lab import linear

__all__ = ["MatchTimeout", "found"]

_CHILD = "import json, re, sys; words = json.load(sys.stdin); sys.exit(0 if re.search(*words) else 3)"
_MULTILINE = 8
"""`re.MULTILINE`."""


class MatchTimeout(Exception):
    """It takes too long; the text says what to do."""


def found(pattern: str, text: str, *, lines: bool, patience: float) -> bool:
    """`lines`: `^` and `$` are the borders of lines. Raises `MatchTimeout` after `patience` seconds."""
    try:
        return linear.compile(pattern, lines=lines).found(text)
    except linear.BadPattern:
        words = json.dumps([pattern, text, _MULTILINE if lines else 0])
    try:
        done = subprocess.run([sys.executable, "-I", "-c", _CHILD], input=words, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise MatchTimeout(
            f"the regular expression {pattern!r} takes longer than {patience:g} s on {len(text)} characters: "
            "write it without looking ahead and behind, and without \\1"
        ) from None
    return done.returncode == 0
