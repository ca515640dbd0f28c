"""The address syntax of the command line and the control API: `[ip:]a.b.c.d/n`, `net:a.b.c.0/n`, `net:default`.

Pure text to data; owns the error messages for malformed addresses.
"""

import ipaddress
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from overlay.config import Address
from overlay.errors import UsageError
from overlay.ranges import misfit, reserved

__all__ = ["AddressSpec", "looks_like_address", "matching", "parse_address", "parse_peer_name", "parse_target", "sized"]


class AddressSpec(Struct, frozen=True):
    """`claim`: exactly this "a.b.c.d/n"; `allocate`: any address of this subnet (empty: the default one)."""

    kind: Literal["claim", "allocate"]
    value: str


def looks_like_address(word: str) -> bool:
    """Whether a word of a command line is an address (and not an image, a container or a flag)."""
    if word.startswith(("ip:", "net:")):
        return True
    host, slash, length = word.rpartition("/")
    if not slash or not length.isdigit():
        return False
    return host.replace(".", "").isdigit() or (":" in host and not set(host) - set("0123456789abcdefABCDEF:."))


def parse_address(text: str) -> AddressSpec:
    """Parse one address specification. Raises `UsageError`."""
    if text == "net:default":
        return AddressSpec("allocate", "")
    if text.startswith("net:"):
        try:
            network = ipaddress.ip_network(text.removeprefix("net:"))
        except ValueError as error:
            raise UsageError(f"`{text}` is no subnet ({error}): expected net:a.b.c.0/n") from None
        if "/" not in text:
            raise UsageError(f"`{text}` lacks its length: expected net:a.b.c.0/n, as net:10.2.3.0/24")
        return AddressSpec("allocate", str(network))
    literal = text.removeprefix("ip:")
    try:
        interface = ipaddress.ip_interface(literal)
    except ValueError:
        raise UsageError(f"`{text}` is no address: expected a.b.c.d/n, net:a.b.c.0/n or net:default") from None
    if "/" not in literal:
        raise UsageError(f"`{text}` lacks its length: expected {literal}/24 or another number of bits")
    network = interface.network
    if word := misfit(interface.ip, network):
        raise UsageError(f"{text} is the {word} address of {network}: no container can have it")
    if why := reserved(ipaddress.ip_network(interface.ip)):
        raise UsageError(f"no container can have {text}: {why}")
    return AddressSpec("claim", str(interface))


def matching(spec: AddressSpec, held: Sequence[str], default: str) -> tuple[str, ...]:
    """The addresses in `held` ("a.b.c.d/n") that match a specification; `default`: the default subnet."""
    if spec.kind == "claim":
        return tuple(cidr for cidr in held if cidr == spec.value)
    subnet = ipaddress.ip_network(spec.value or default)
    return tuple(cidr for cidr in held if ipaddress.ip_interface(cidr).ip in subnet)


def sized(literal: str, subnet: str) -> str:
    """An address as "a.b.c.d/n", with the subnet's prefix length if it is in the subnet, otherwise the full length."""
    address, network = ipaddress.ip_address(literal), ipaddress.ip_network(subnet)
    return f"{address}/{network.prefixlen if address in network else address.max_prefixlen}"


def parse_peer_name(text: str) -> str:
    """A peer's full name: six bytes in hex; `::` means omitted zeros, so `::1` is 00:00:00:00:00:01.

    Raises `UsageError`.
    """
    left, gap, right = text.lower().partition("::")
    first, last = ([part for part in side.split(":") if part or side] for side in (left, right))
    parts = [*first, *["0"] * (6 - len(first) - len(last) if gap else 0), *last]
    sound = len(parts) == 6 and all(0 < len(part) <= 2 and not set(part) - set("0123456789abcdef") for part in parts)
    if not sound:
        raise UsageError(f"`{text}` is no name of a peer: expected six bytes in hex, as 7a:9f:eb:b6:0c:6e or ::1")
    return ":".join(part.zfill(2) for part in parts)


def parse_target(text: str, port: int) -> Address:
    """A peer to connect to: host, host:port, [v6]:port; `port` is the default. Host names are not resolved here.

    Raises `UsageError`.
    """
    host, number = text, str(port)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"`{text}` is no address of a peer: expected [v6 address]:port")
        number = rest[1:] or number
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise UsageError(f"`{text}` is no address of a peer: expected host or host:port")
    return Address(host, int(number))
