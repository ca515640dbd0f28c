"""`WEAVE_CIDR` and `WEAVE_ALLOW_SPOOFING`: what a container's environment says of its place on the overlay. Pure."""

from collections.abc import Sequence

from overlay.errors import UsageError

__all__ = ["SPOOFING", "VARIABLE", "allows_spoofing", "wanted_addresses"]

VARIABLE = "WEAVE_CIDR"
SPOOFING = "WEAVE_ALLOW_SPOOFING"
_WORDS = {"": False, "0": False, "false": False, "1": True, "true": True}


def allows_spoofing(env: Sequence[str]) -> bool:
    """Whether the container may send with any MAC and any address. Raises `UsageError`.

    `env` is the request's own: the author of an image has no say in this.
    """
    value = "0"
    for entry in env:
        name, equals, text = entry.partition("=")
        if name == SPOOFING and equals:
            value = text.lower()
    if value not in _WORDS:
        raise UsageError(f"{SPOOFING}={value}: expected 1 or 0")
    return _WORDS[value]


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
