"""Messages between simulated hosts for a protocol of `lab.protocols`. Owns the envelope, not its content."""

from typing import Any

from msgspec import Struct

__all__ = ["Letter"]


class Letter(Struct, frozen=True):
    """A message and its sender."""

    sender: str
    message: Any
    reliable: bool
