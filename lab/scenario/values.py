"""The small values of a scenario file: durations, percentages, rates and sizes, text in and exact numbers out.

Owns their syntax and the pydantic types that carry it (and its JSON schema). Knows nothing of the scenario's shape.
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_LONGEST = 366 * 24 * UNITS["h"]

_RATES = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_RATE = re.compile(r"(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)")

_FREQUENCY = re.compile(r"(\d+(?:\.\d+)?)/(ms|s|m|h)")

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(b|kb|mb|gb|kib|mib|gib|)", re.IGNORECASE)


def parse_duration(text: str) -> int:
    """Nanoseconds of `200ms`, `1s`, `1.5s`, `2m`, `1m30s`; raises ValueError for anything else, and beyond a year."""
    if not _DURATION.fullmatch(text):
        raise ValueError("expected a duration as 200ms, 1s or 2m")
    total = sum((Decimal(number) * UNITS[unit] for number, unit in _DURATION_PART.findall(text)), Decimal(0))
    if total != int(total) or total > _LONGEST:
        raise ValueError("expected a duration of whole nanoseconds, at most a year")
    return int(total)


def format_duration(ns: int) -> str:
    """The shortest exact text that `parse_duration` reads back: 1500000000 -> `1500ms`."""
    for unit in ("h", "m", "s", "ms", "us"):
        if ns and ns % UNITS[unit] == 0:
            return f"{ns // UNITS[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"


def parse_percentage(text: str) -> float:
    """0.01 of `1%`; raises ValueError unless between 0% and 100%."""
    try:
        value = Decimal(text[:-1]) if re.fullmatch(r"\d+(\.\d+)?%", text) else Decimal(-1)
    except InvalidOperation:
        value = Decimal(-1)
    if not 0 <= value <= 100:
        raise ValueError("expected a percentage between 0% and 100%")
    return float(value / 100)


def parse_rate(text: str) -> int:
    """Bits per second of `10mbit`, `1.5gbit`; raises ValueError."""
    match = _RATE.fullmatch(text)
    value = Decimal(match[1]) * _RATES[match[2]] if match else Decimal(0)
    if not 1 <= value <= 10**15 or value != int(value):
        raise ValueError("expected a rate as 500kbit, 10mbit or 1gbit")
    return int(value)


def parse_frequency(text: str) -> int:
    """Nanoseconds from one to the next of `2/s`, `30/m`; raises ValueError."""
    match = _FREQUENCY.fullmatch(text)
    count = Decimal(match[1]) if match else Decimal(0)
    if not match or not 0 < count <= UNITS[match[2]] // UNITS["us"]:
        raise ValueError("expected a rate as 2/s or 30/m")
    return int(UNITS[match[2]] / count)


def parse_size(text: str) -> int:
    """Bytes of `1500`, `64KB`, `1MiB`; raises ValueError."""
    match = _SIZE.fullmatch(text)
    value = Decimal(match[1]) * _SIZES[match[2].lower()] if match else Decimal("-1")
    if not 0 <= value <= 10**15 or value != int(value):
        raise ValueError("expected a size as 1500, 64KB or 1MiB")
    return int(value)


RESOLVED: dict[str, Any] = {"resolved": True}
"""The pydantic context in which values stand as numbers, as in the resolved form."""


def _reader(parse: Callable[[str], Any], *, number: bool = False, least: int = 0) -> BeforeValidator:
    """Text goes through `parse`; a number passes as it is where the resolved form is allowed (`number`), from `least`
    on, or is zero."""

    def read(value: object, info: ValidationInfo) -> object:
        if info.context is RESOLVED and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            text = ""
        elif isinstance(value, str):
            text = value.strip()
        elif (value == 0 and not least) or (number and isinstance(value, int) and value >= least):
            return int(value)
        else:
            text = str(value)
        try:
            return parse(text)
        except ValueError as error:
            expected = str(error).removeprefix("expected ")
            raise PydanticCustomError("value", "expected {expected}", {"expected": expected}) from None

    return BeforeValidator(read)


Duration = Annotated[
    int,
    _reader(parse_duration),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$", "examples": ["200ms", "1s", "2m"]}
    ),
]
"""Integer nanoseconds, written `200ms`, `1s`, `2m`."""

Percentage = Annotated[
    float,
    _reader(parse_percentage),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$", "examples": ["1%", "0.5%"]}),
]
"""A fraction between 0 and 1, written `1%`."""

Rate = Annotated[
    int,
    _reader(parse_rate),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?[kmg]?bit$", "examples": ["10mbit"]}),
]
"""Bits per second, written `10mbit`."""

Frequency = Annotated[
    int,
    _reader(parse_frequency, number=True, least=UNITS["us"]),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?/(ms|s|m|h)$", "examples": ["2/s", "30/m"]}),
]
"""How often, written `2/s`; held as the nanoseconds from one to the next."""

Size = Annotated[
    int,
    _reader(parse_size, number=True),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["64KB", 1500]}),
]
"""Bytes, written `1500`, `64KB` or `1MiB`."""
