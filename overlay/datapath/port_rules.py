"""What a container's port on the bridge may send, as data: a MAC, addresses, or anything (`--allow-spoofing`).

Owns how these rules are encoded as keys in the sets of the kernel's filter, and decoded. Pure: `kernel.port_filter` has
the table and the rules that look the keys up.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["GUARDED", "MACS", "OWN4", "OWN6", "PortRule", "PortWanted", "elements", "parse", "widened"]

MACS, OWN4, OWN6, GUARDED = "macs", "own4", "own6", "guarded"
"""The sets: (port, MAC), (port, MAC, address) for IPv4 and IPv6, and the ports that may send nothing else."""

_NAME = 16
_MAC = 6
_PADDED = 8
"""Fields are padded to a multiple of four bytes."""


class PortWanted(Struct, frozen=True, kw_only=True):
    """The wanted configuration of a container on the bridge."""

    container: str
    pid: int
    mac: str
    addresses: tuple[str, ...]
    multicast: bool = True
    spoofing: bool = False


class PortRule(Struct, frozen=True):
    """What one port may send."""

    mac: str
    addresses: tuple[str, ...] = ()
    """Literals, in the order in which they were added."""
    free: bool = False
    """The port may send anything: it is not guarded."""


def widened(before: PortRule | None, after: PortRule) -> PortRule:
    """The rule while a port changes from one to another: both are allowed. A MAC changes only with the interface."""
    if before is None or before.mac != after.mac:
        return after
    both = tuple(dict.fromkeys((*before.addresses, *after.addresses)))
    return replace(after, addresses=both, free=before.free or after.free)


def elements(rules: Mapping[str, PortRule]) -> dict[str, list[bytes]]:
    """The elements of all sets for these rules, by port."""
    found: dict[str, list[bytes]] = {MACS: [], OWN4: [], OWN6: [], GUARDED: []}
    for port, rule in rules.items():
        name = port.encode().ljust(_NAME, b"\0")
        key = name + bytes.fromhex(rule.mac.replace(":", "")).ljust(_PADDED, b"\0")
        found[MACS].append(key)
        for literal in rule.addresses:
            address = ip_address(literal)
            found[OWN4 if address.version == 4 else OWN6].append(key + address.packed)
        if not rule.free:
            found[GUARDED].append(name)
    return found


def parse(found: Mapping[str, tuple[bytes, ...]]) -> dict[str, PortRule]:
    """The rules that these elements encode, by port."""
    guarded = frozenset(found.get(GUARDED, ()))
    rules = {_name(key): PortRule(_mac(key), free=key[:_NAME] not in guarded) for key in sorted(found.get(MACS, ()))}
    for key in (*sorted(found.get(OWN4, ())), *sorted(found.get(OWN6, ()))):
        packed = key[_NAME + _PADDED :]
        address = str(IPv6Address(packed) if len(packed) == 16 else ip_address(packed))
        rule = rules.get(_name(key))
        if rule is not None and rule.mac == _mac(key):
            rules[_name(key)] = replace(rule, addresses=(*rule.addresses, address))
    return rules


def _name(key: bytes) -> str:
    return key[:_NAME].rstrip(b"\0").decode(errors="replace")


def _mac(key: bytes) -> str:
    return key[_NAME : _NAME + _MAC].hex(":")
