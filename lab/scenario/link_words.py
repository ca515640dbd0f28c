"""A link's parameters in a few words, as a scenario says them. Pure."""

from collections.abc import Mapping
from typing import Any

from lab.scenario.values import format_duration

__all__ = ["link_words"]

_FRACTIONS = ("loss", "duplicate", "reorder", "corrupt")


def link_words(values: Mapping[str, Any]) -> str:
    """Names of `Link`'s fields -> values: the parameters that a reader looks for, or else their names."""
    words = []
    for name, value in values.items():
        if name in ("delay", "jitter"):
            words.append(f"{name} {format_duration(value)}")
        elif name in _FRACTIONS:
            words.append(f"{name} {value * 100:g}%")
        elif name == "rate":
            words.append(f"rate {_rate(value)}" if value else "no rate limit")
        elif name == "mtu":
            words.append(f"mtu {value}")
        elif name in ("burst", "queue"):
            words.append(name)
    return ", ".join(words) or ", ".join(values)


def _rate(value: int) -> str:
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value}bit"
