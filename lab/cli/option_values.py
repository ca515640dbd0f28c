"""Values of options that click has no type for: how they are read, and what is said of wrong ones."""

from lab.errors import LabError
from lab.scenario.values import parse_duration

__all__ = ["duration"]


def duration(option: str, text: str) -> int:
    """Nanoseconds. Raises `LabError` with the option's name."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise LabError(f"{option}: found {text!r}, {error}") from None
