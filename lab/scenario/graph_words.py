"""The words that programs have for what a link does (shadow's `latency` and `packet_loss`, a Zoo's `LinkSpeedRaw`), as
a scenario's own.

Pure. What says something of a link and cannot be read for sure is refused, never guessed; where a number has no unit
but its word has one by convention, a note says which was taken.
"""

import re
from collections.abc import Mapping
from typing import Any

from lab.errors import LabError
from lab.links import Link

LINK_KEYS = tuple(name for name in Link.__dataclass_fields__ if name not in ("burst", "table", "deliveries"))
"""A link's own words: taken as they stand, and checked as in a scenario."""
_DELAYS = ("latency", "delay_ms", "latency_ms")
_LOSSES = ("packetloss", "packet_loss", "loss_rate")
_RATES = ("bandwidth", "capacity", "bw", "linkspeed", "linkspeedraw", "speed", "datarate", "data_rate")
_IGNORED = ("rtt", "bandwidthup", "bandwidthdown", "bandwidth_up", "bandwidth_down")
"""Words that say something of a link which a link here has not in that form."""
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h|)")
_TIME_NAMES = {
    **dict.fromkeys(("nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("microsecond", "microseconds"), "us"),
    **dict.fromkeys(("millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:bits?|bps|bit/s|b/s)", re.IGNORECASE)


class UnclearAttribute(LabError):
    """An attribute that says something of a link, but not what."""


def link_of(data: Mapping[str, Any], units: Mapping[str, str] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a link that an edge's attributes say, and a note on each that was guessed or left.

    `units`: in what the bare numbers of an attribute count. Raises `UnclearAttribute`."""
    link = {key: data[key] for key in LINK_KEYS if key in data}
    notes: dict[str, str] = {}
    for key, value in data.items():
        word = str(key).lower()
        for words, mine, read, unit in (
            (_DELAYS, "delay", _delay, "milliseconds"),
            (_LOSSES, "loss", _loss, "a fraction of 1"),
            (_RATES, "rate", _rate, ""),
        ):
            if word not in words:
                continue
            said = str(value).strip()
            if mine == "rate":
                said = with_unit(key, said, data, units or {})
            found, exact = read(said)
            if not found:
                raise UnclearAttribute(_unreadable(key, value, mine))
            if mine in link:
                notes[key] = f"the edges' `{key}` is ignored where `{mine}` says it too"
            else:
                link[mine] = found
                if not exact:
                    notes[key] = f"the edges' `{key}` is taken as `{mine}`, in {unit}"
        if word in _IGNORED:
            notes[key] = f"the edges' `{key}` is ignored: a link has {', '.join(LINK_KEYS)}"
    return link, notes


def with_unit(key: str, said: str, data: Mapping[str, Any], units: Mapping[str, str]) -> str:
    """A rate's text with its unit: what the scenario says of the attribute, or the Topology Zoo's two conventions."""
    try:
        number = float(said)
    except ValueError:
        return said
    unit = units.get(key)
    if unit is None and key.lower() == "linkspeedraw":
        unit = "bit"
    if unit is None and key.lower() == "linkspeed":
        unit = {"k": "kbit", "m": "mbit", "g": "gbit", "": "bit"}.get(str(data.get("LinkSpeedUnits", "?")).lower())
    return f"{round(number * UNITS_OF_RATES[unit])} bit" if unit is not None and 0 < number < 1e15 else said


def _unreadable(key: str, value: object, mine: str) -> str:
    found = f"edges whose `{key}` can be read (found {value!r}): write `{mine}: {_AS[mine]}` on them"
    return found + (f", or `units: {{{key}: mbit}}` next to `file`" if mine == "rate" else "")


UNITS_OF_RATES = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_AS = {"delay": "40ms", "loss": "1%", "rate": "10mbit"}


def _delay(text: str) -> tuple[str, bool]:
    """A duration, and whether the text has a unit; empty if it is none."""
    number, _, name = text.partition(" ")
    match = _TIME.fullmatch(f"{number}{_TIME_NAMES.get(name.strip().lower(), name.strip())}")
    if match is None:
        return "", False
    return _decimal(match[1]) + (match[2] or "ms"), bool(match[2])


def _loss(text: str) -> tuple[str, bool]:
    """A percentage, of `1%` or of the fraction 0.01."""
    if re.fullmatch(r"\d+(?:\.\d+)?\s*%", text):
        return text.replace(" ", ""), True
    try:
        value = float(text)
    except ValueError:
        return "", False
    return (f"{round(value * 100, 9):f}".rstrip("0").rstrip(".") + "%", False) if 0 <= value <= 1 else ("", False)


def _rate(text: str) -> tuple[str, bool]:
    """A rate of bits with its unit; a bare number could be anything."""
    match = _RATE.fullmatch(text)
    return (f"{_decimal(match[1])}{match[2].lower()}bit", True) if match else ("", False)


def _decimal(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
