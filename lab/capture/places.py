"""Where packets are captured: a host, a service or one of its containers, or traffic between two hosts (`a->b`). Pure.

Owns the syntax of places and the names of capture files. Knows no lab: the caller supplies the existing names.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

__all__ = ["CapturePlace", "CaptureRequest", "file_stem", "halves", "proper_stem", "unique"]

_ARROWS: Final = ("<->", "->")
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class CaptureRequest(Struct, frozen=True, kw_only=True):
    """The content of one capture file."""

    on: tuple[str, ...]
    filter: str = ""
    interfaces: tuple[str, ...] = ()
    name: str
    """File name, without its extension."""
    most: int
    """Bytes."""


class CapturePlace(Struct, frozen=True, kw_only=True):
    """One network namespace: that of a host, or of a container on it."""

    label: str
    host: str
    container: str = ""
    between: tuple[str, ...] = ()
    """Addresses of the other host of a pair."""


def halves(place: str) -> tuple[str, str] | None:
    """The two hosts of a pair; None for any other place."""
    for arrow in _ARROWS:
        one, found, other = place.partition(arrow)
        if found:
            return one.strip(), other.strip()
    return None


def file_stem(places: tuple[str, ...]) -> str:
    """The default file name of such a capture."""
    words = "+".join(places)
    for arrow in _ARROWS:
        words = words.replace(arrow, "-to-")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-.")[:60]
    return stem if _STEM.fullmatch(stem) else "capture"


def proper_stem(name: str) -> bool:
    """Whether this is a valid file name."""
    return bool(_STEM.fullmatch(name))


def unique(stem: str, taken: Mapping[str, object]) -> str:
    """The name, or the next free one."""
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name
