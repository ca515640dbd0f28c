"""What follows from an immutable message, kept with it: worked out once, however many peers hold the same object."""

from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


def kept(message: Any, key: str, make: Callable[[Any], Made]) -> Made:
    """`make(message)`, the same each time. `message` is a struct with a `__dict__`; no two callers share a `key`."""
    held: dict[str, Made] = message.__dict__
    found = held.get(key)
    if found is None:
        found = held[key] = make(message)
    return found
