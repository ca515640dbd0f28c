"""A flow as a key of nftables sets, and as expressions that load this key from a packet.

A key: source, destination, protocol, source port, destination port, as in the opener's packets. ICMP has its identifier
in place of the source port. Pure.
"""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

from overlay.kernel import nft_words as expr

__all__ = [
    "CLOSING",
    "DESTINATIONS",
    "ERROR_HEADER",
    "ESTABLISHED",
    "FLOWS",
    "HEADERS",
    "ICMP",
    "L4PROTO",
    "LIVES",
    "OPENED",
    "PROTOCOLS",
    "SIZES",
    "SOURCES",
    "TCP",
    "UDP",
    "FlowKey",
    "FlowKeyLoader",
    "flow",
    "fragment_bits",
    "is_protocol",
    "key",
    "life",
]

L4PROTO = 16
FLOWS = {4: "flows4", 6: "flows6"}
TCP, UDP, ICMP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
SIZES = {4: 4, 6: 16}
SOURCES, DESTINATIONS = {4: 12, 6: 8}, {4: 16, 6: 24}
HEADERS = {4: 20, 6: 40}
PROTOCOLS = {4: 9, 6: 6}
_FRAGMENT = 44
ERROR_HEADER = 8
OPENED, ESTABLISHED, CLOSING = 120, 86_400, 120
LIVES = {UDP: 180, "icmp": 30, "other": 600}
"""Seconds for which a flow is known after its last packet."""


class FlowKey(Struct, frozen=True):
    """The flow by its opener: a key of `flows4` or `flows6`."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: int
    source_port: int
    port: int


def flow(key: bytes) -> FlowKey:
    """The flow of a key."""
    size = 4 if len(key) == 20 else 16
    protocol, source_port, port = (int.from_bytes(key[at : at + 2]) for at in range(2 * size, len(key), 4))
    source, destination = ip_address(key[:size]), ip_address(key[size : 2 * size])
    return FlowKey(source, destination, protocol >> 8, source_port, port)


def key(of: FlowKey) -> bytes:
    """The key of a flow."""
    ports = struct.pack("!B3xH2xH2x", of.protocol, of.source_port, of.port)
    return of.source.packed + of.destination.packed + ports


def life(of: FlowKey) -> int:
    """For how many milliseconds an existing flow stays known."""
    return 1000 * (ESTABLISHED if of.protocol == TCP else LIVES[UDP])


class FlowKeyLoader:
    """Expressions that load the key of a flow."""

    def __init__(self, version: int) -> None:
        self._version, self._size = version, SIZES[version]
        self._words = self._size // 4

    def _place(self, field: int) -> int:
        """The register of a key's field: two addresses, then one register each."""
        return expr.REGISTER + (field * self._words if field < 2 else 2 * self._words + field - 2)

    def _addresses(self, *, swapped: bool) -> tuple[bytes, ...]:
        offsets = (DESTINATIONS, SOURCES) if swapped else (SOURCES, DESTINATIONS)
        return tuple(
            expr.load(expr.NETWORK, where[self._version], self._size, self._place(field))
            for field, where in enumerate(offsets)
        )

    def _protocol(self) -> bytes:
        return expr.meta(L4PROTO, self._place(2))

    def _quoted_protocol(self) -> bytes:
        where = ERROR_HEADER + PROTOCOLS[self._version]
        return expr.load(expr.TRANSPORT, where, 1, self._place(2))

    def _no_port(self, field: int) -> bytes:
        return expr.constant(bytes(2), self._place(field))

    def ports(self, *, swapped: bool = False) -> tuple[bytes, ...]:
        """The key of a TCP or UDP packet."""
        first, second = (2, 0) if swapped else (0, 2)
        loads = (
            expr.load(expr.TRANSPORT, first, 2, self._place(3)),
            expr.load(expr.TRANSPORT, second, 2, self._place(4)),
        )
        return (*self._addresses(swapped=swapped), self._protocol(), *loads)

    def echo(self, *, swapped: bool = False) -> tuple[bytes, ...]:
        """The key of an echo request, or of a reply (`swapped`)."""
        number = expr.load(expr.TRANSPORT, 4, 2, self._place(3))
        head = (*self._addresses(swapped=swapped), self._protocol())
        return (*head, number, self._no_port(4))

    def bare(self, *, swapped: bool = False) -> tuple[bytes, ...]:
        """The key of a packet of a protocol without ports."""
        none = (self._no_port(3), self._no_port(4))
        return (*self._addresses(swapped=swapped), self._protocol(), *none)

    def part(self) -> tuple[bytes, ...]:
        """The key of a fragment: addresses, protocol, identification."""
        if self._version == 4:
            identity = expr.load(expr.NETWORK, 4, 2, self._place(3))
        else:
            identity = expr.load6(_FRAGMENT, 4, 4, self._place(3))
        return (*self._addresses(swapped=False), self._protocol(), identity)

    def _quoted_addresses(self, *, swapped: bool) -> tuple[bytes, ...]:
        """The addresses of a packet quoted in an ICMP error. The error's receiver sent that packet, so the error's
        destination is its source."""
        theirs, ours = (0, 1) if swapped else (1, 0)
        inner = ERROR_HEADER + DESTINATIONS[self._version]
        return (
            expr.load(expr.NETWORK, DESTINATIONS[self._version], self._size, self._place(ours)),
            expr.load(expr.TRANSPORT, inner, self._size, self._place(theirs)),
        )

    def quoted(self, *, swapped: bool) -> tuple[bytes, ...]:
        """The key of a TCP or UDP packet quoted in an error."""
        inner = ERROR_HEADER + HEADERS[self._version]
        first, second = (inner + 2, inner) if swapped else (inner, inner + 2)
        loads = (
            expr.load(expr.TRANSPORT, first, 2, self._place(3)),
            expr.load(expr.TRANSPORT, second, 2, self._place(4)),
        )
        return (*self._quoted_addresses(swapped=swapped), self._quoted_protocol(), *loads)

    def quoted_echo(self, *, swapped: bool) -> tuple[bytes, ...]:
        """The key of an echo request quoted in an error, or of a reply (`swapped`)."""
        number = expr.load(expr.TRANSPORT, ERROR_HEADER + HEADERS[self._version] + 4, 2, self._place(3))
        head = (*self._quoted_addresses(swapped=swapped), self._quoted_protocol())
        return (*head, number, self._no_port(4))

    def quoted_other(self, *, swapped: bool) -> tuple[bytes, ...]:
        """The key of a quoted packet of a protocol without ports."""
        none = (self._no_port(3), self._no_port(4))
        return (*self._quoted_addresses(swapped=swapped), self._quoted_protocol(), *none)


def is_protocol(protocol: int) -> tuple[bytes, ...]:
    return expr.meta(L4PROTO), expr.equals(bytes((protocol,)))


def fragment_bits(version: int, mask: int) -> tuple[bytes, ...]:
    """Bits of the fragment offset field; an IPv6 packet without this field does not match."""
    field = expr.load(expr.NETWORK, 6, 2) if version == 4 else expr.load6(_FRAGMENT, 2, 2)
    return field, expr.masked(mask.to_bytes(2, "big"))
