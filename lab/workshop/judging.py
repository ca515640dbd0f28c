"""Whether a command did what its step requires, and hints for a learner whose command did not.

Owns the verdict on one command and the hints. Knows nothing of sessions or of the order of steps. Pure.
"""

import difflib
import re
import shlex

from lab.workshop.session import LineOutcome
from lab.workshop.text import TypedCommand, lacking
from lab.workshop.words import EN, Words

__all__ = ["hint", "opens_shell", "same", "wrong"]

_INSIDE = re.compile(r"(?:^|\s)(?:attach|-ti|-it)\s")
_COMMAND_NOT_FOUND = 127
_SHOWN = 2000
"""Maximum number of characters of a command's output in a message."""


def opens_shell(line: str) -> bool:
    """Whether this command of the page opens the shell of a container."""
    return bool(_INSIDE.search(line)) and "weave run" not in line


def wrong(command: TypedCommand, outcome: LineOutcome, words: Words = EN) -> str:
    """The error in the result of a command; empty if there is none."""
    output = outcome.output.strip()[-_SHOWN:]
    if missing := lacking(command.expected, outcome.output):
        return words.lacks.format(line=missing, output=output)
    if command.host:
        if command.fails and outcome.status == 0:
            return words.worked
        if not command.fails and outcome.status not in (0, None):
            return words.ended_with.format(code=outcome.status, output=output)
        if outcome.status is not None and opens_shell(command.line):
            return words.no_shell.format(output=output)
    return ""


def same(typed: str, line: str) -> bool:
    """Whether both are the same command, ignoring spaces, kinds of quotes and a leading `sudo`."""
    left, right = _split(typed), _split(line)
    return left is not None and left == right


def hint(command: TypedCommand, line: str, typed: str, outcome: LineOutcome | None, words: Words = EN) -> str:
    """A hint after `typed` (empty: nothing was typed yet) did not do what `line` does."""
    left, right = _split(typed), _split(line)
    if not typed or left is None or right is None:
        return words.hint_same.format(line=line)
    if outcome is not None and outcome.status == _COMMAND_NOT_FOUND and left and left[0] != right[0]:
        near = difflib.get_close_matches(left[0], right, 1, 0.5) or [right[0]]
        return words.hint_unknown.format(typed=left[0], wanted=near[0])
    for have, want in zip(left, right, strict=False):
        if have != want:
            return words.hint_differs.format(typed=have, wanted=want)
    if len(left) < len(right):
        return words.hint_missing.format(wanted=shlex.join(right[len(left) :]))
    if len(left) > len(right):
        return words.hint_more.format(typed=shlex.join(left[len(right) :]))
    if outcome is not None and (missing := lacking(command.expected, outcome.output)):
        return words.hint_expected.format(line=missing)
    return words.hint_same.format(line=line)


def _split(text: str) -> list[str] | None:
    """The words of a command line without a leading `sudo`; None if its quotes are not closed."""
    try:
        found = shlex.split(text)
    except ValueError:
        return None
    return found[1:] if found[:1] == ["sudo"] else found
