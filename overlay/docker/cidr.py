"""`WEAVE_CIDR` and `WEAVE_ALLOW_SPOOFING`: the settings in a container's environment. Pure."""

from collections.abc import Sequence

from overlay.errors import UsageError

__all__ = ["SPOOFING", "VARIABLE", "allows_spoofing", "wanted_addresses"]

VARIABLE = "WEAVE_CIDR"
SPOOFING = "WEAVE_ALLOW_SPOOFING"
_WORDS = {"": False, "0": False, "false": False, "1": True, "true": True}


def allows_spoofing(env: Sequence[str]) -> bool:
    """Whether the container may send with any MAC and any address. Raises `UsageError`.

    `env` is the environment of the request; the image must not set this.
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

    None: the container stays off the overlay (`none`, or no variable if that is not the default). Empty: any address of
    the default subnet. The specifications are not checked here.
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
