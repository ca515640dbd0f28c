"""`WEAVE_CIDR`: what a container's environment says of its place on the overlay. Pure."""

from collections.abc import Sequence

__all__ = ["VARIABLE", "wanted_addresses"]

VARIABLE = "WEAVE_CIDR"


def wanted_addresses(env: Sequence[str], *, by_default: bool = True) -> tuple[str, ...] | None:
    """The address specifications in an environment ("NAME=VALUE"; the last one of a name counts).

    None: the container stays off the overlay (`none`, or nothing said where that is not the default). Empty: any
    address of the default subnet. The specifications themselves are not checked here.
    """
    value: str | None = None
    for entry in env:
        name, equals, text = entry.partition("=")
        if name == VARIABLE and equals:
            value = text
    if value is None:
        return () if by_default else None
    words = tuple(value.split())
    return None if "none" in words else words
