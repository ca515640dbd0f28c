"""Options of a protocol in scenarios: their validation, and the values that the class gets. Durations become
nanoseconds.

The default in `defaults` determines the type of an option. Knows no protocol.
"""

from collections.abc import Mapping
from typing import Any

from lab.scenario.values import parse_duration

__all__ = ["misfit", "settled_options"]


def _is_duration(value: object) -> bool:
    try:
        return isinstance(value, str) and parse_duration(value) >= 0
    except ValueError:
        return False


def misfit(default: bool | int | str, value: object) -> str:
    """The expected type, if an option's value does not fit; empty if it fits."""
    if _is_duration(default):
        return "" if _is_duration(value) else "a duration as 200ms"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return "" if fits else "a whole number, 0 or more"
    return "" if isinstance(value, str) else "some text"


def settled_options(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All options with their values, durations in nanoseconds."""
    return {
        key: parse_duration(str(given.get(key, value))) if _is_duration(value) else given.get(key, value)
        for key, value in defaults.items()
    }
