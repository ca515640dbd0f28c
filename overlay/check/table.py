"""The findings as text: a table of 80 columns, or JSON. Pure."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from overlay.check.finding import Finding, Level

__all__ = ["as_json", "text"]

_WIDTH = 80
_LEVEL, _CHECK = 6, 10
_INDENT = " " * (_LEVEL + _CHECK)


def text(findings: Sequence[Finding]) -> str:
    """One row for each finding; those that are not `ok` have the expectation and the remedy. Findings that could not be
    checked come last, one row for each reason."""
    lines = [line for found in findings if found.level is not Level.UNSEEN for line in _row(found)]
    reasons: dict[str, list[str]] = {}
    for found in findings:
        if found.level is Level.UNSEEN:
            reasons.setdefault(found.found, []).append(found.check)
    for reason, checks in reasons.items():
        lines += _wrapped(f"{Level.UNSEEN.value:<{_LEVEL}}", f"{', '.join(checks)}: {reason}")
    return "\n".join([*lines, "", _sum(findings)])


def _row(found: Finding) -> Iterator[str]:
    head = f"{found.level.value:<{_LEVEL}}{found.check:<{_CHECK}}"
    yield from _wrapped(head, found.found)
    if found.expected:
        yield from _wrapped(f"{_INDENT}expected  ", found.expected)
    if found.remedy:
        yield from _wrapped(
            f"{_INDENT}{'type':<10}", f"on {found.where}: {found.remedy}" if found.where else found.remedy
        )


def _wrapped(head: str, body: str) -> list[str]:
    return textwrap.wrap(
        body,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,  # commands must stay intact
        break_on_hyphens=False,
    )


def _sum(findings: Sequence[Finding]) -> str:
    count = {level: sum(found.level is level for found in findings) for level in Level}
    words = [
        f"{count[level]} {name}"
        for level, name in (
            (Level.WRONG, "wrong"),
            (Level.NOTE, "to know"),
            (Level.FINE, "ok"),
            (Level.UNSEEN, "not looked at"),
        )
        if count[level]
    ]
    return ", ".join(words) if count[Level.WRONG] else f"nothing is wrong: {', '.join(words)}"


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "wrong": sum(found.level is Level.WRONG for found in findings),
        "findings": [
            {
                "check": found.check,
                "level": {Level.FINE: "ok", Level.UNSEEN: "unseen"}.get(found.level, found.level.value.lower()),
                "found": found.found,
                "expected": found.expected,
                "remedy": found.remedy,
                "commands": list(found.commands),
                "where": found.where,
            }
            for found in findings
        ],
    }
