"""Many DNS names at once: what a batch comes to, and how large the names of one host may become. Pure.

All names of a peer must fit into one message, because a peer that lacks them may get them all at once. Knows no
registry.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from overlay.dns.names import check_name, fold, packed
from overlay.errors import UsageError
from overlay.inputs import NameEntry
from overlay.wire.codec import MAX_MESSAGE
from overlay.wire.origins import NameValue

__all__ = ["MAX_NAMES_SIZE", "checked", "key_of", "size", "wanted"]

MAX_NAMES_SIZE = MAX_MESSAGE * 3 // 4
"""Bytes of the names of one peer, roughly: some 220,000 names of usual length."""
_AROUND = 24
"""Bytes of an entry in a message in addition to its texts, at most."""


def key_of(value: NameValue) -> str:
    """The key of a name among those of its peer."""
    return f"{fold(value.name)} {value.address} {value.container}"


def checked(entries: Iterable[NameEntry]) -> dict[str, NameValue]:
    """The values to register, by key. Raises `UsageError` for the first one that cannot be registered."""
    found: dict[str, NameValue] = {}
    for entry in entries:
        check_name(entry.name)
        raw = packed(entry.address)
        if raw is None:
            raise UsageError(f"name {entry.name}: found the address {entry.address!r}, expected an IP literal")
        address = entry.address if len(raw) == 4 else str(ip_address(entry.address))
        value = NameValue(entry.name, address, entry.container)
        found[key_of(value)] = value
    return found


def size(values: Mapping[str, NameValue]) -> int:
    """The bytes that these take in a message, at most."""
    return sum(
        len(key)
        + len(value.name)
        + len(value.address)
        + len(value.container)
        + _AROUND
        # Names and addresses are ASCII; the container is in the key too.
        + (0 if value.container.isascii() else 2 * (len(value.container.encode()) - len(value.container)))
        for key, value in values.items()
    )


def wanted(entries: Iterable[NameEntry]) -> dict[tuple[str, str], dict[str, None]]:
    """The entries to remove: the addresses for each (container, folded name); "" among them matches all."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for entry in entries:
        address = str(ip_address(entry.address)) if packed(entry.address) else entry.address
        found.setdefault((entry.container, fold(entry.name)), {})[address] = None
    return found
