"""Parsers and error messages for option values that have no click type."""

from lab.errors import LabError
from lab.scenario.values import parse_duration

__all__ = ["duration"]


def duration(option: str, text: str) -> int:
    """Parse a duration into nanoseconds. Raises `LabError` with the option's name."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise LabError(f"{option}: found {text!r}, {error}") from None
