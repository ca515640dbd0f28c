"""What goes between simulated hosts for a protocol of `lab.protocols`. Owns the envelope, and nothing in it."""

from typing import Any

from msgspec import Struct

__all__ = ["Letter"]


class Letter(Struct, frozen=True):
    """A message and who sent it."""

    sender: str
    message: Any
    reliable: bool
