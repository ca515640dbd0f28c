"""Converts addresses, subnets and the range between text and the offsets of the ring. No state, no protocol.

An offset counts from the first address of the range. Works for IPv4 and IPv6 ranges of at most 2**64 addresses.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network

from overlay.errors import ConfigError, UsageError

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address

SMALLEST_SUBNET = 4
"""Addresses. A smaller subnet has no usable address after the first and the last are excluded."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet within the range: offsets `start` to `end` (exclusive), and the prefix length."""

    start: int
    end: int
    prefix: int
    text: str

    @property
    def first_usable(self) -> int:
        """The first address is the subnet's own."""
        return self.start + 1

    @property
    def end_usable(self) -> int:
        """Exclusive. The last address is the subnet's broadcast address."""
        return self.end - 1


class Universe:
    """The range that the ring divides, and the default subnet in it."""

    def __init__(self, iprange: str, default_subnet: str) -> None:
        """Takes CIDRs; an empty `default_subnet` is the whole range. Raises `ConfigError`."""
        try:
            self.network: Network = ip_network(iprange)
        except ValueError as error:
            raise ConfigError(f"address range {iprange!r} is not a network as 10.32.0.0/12: {error}") from error
        self.text = str(self.network)
        self.size = self.network.num_addresses
        self._base = int(self.network.network_address)
        if not SMALLEST_SUBNET <= self.size <= 2**64:
            shortest = self.network.max_prefixlen - 64 if self.network.version == 6 else 0
            raise ConfigError(
                f"address range {self.text} has {self.size} addresses; expected a prefix length "
                f"from /{shortest} to /{self.network.max_prefixlen - 2}"
            )
        try:
            self.default_subnet = self.subnet(default_subnet or self.text)
        except UsageError as error:
            raise ConfigError(f"default subnet: {error}") from error

    def subnet(self, text: str) -> Subnet:
        """The subnet of `text` (CIDR; empty: the default subnet). Raises `UsageError`."""
        if not text:
            return self.default_subnet
        try:
            network = ip_network(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is not a subnet as 10.32.1.0/24: {error}") from error
        if network.version != self.network.version or not (
            self._base <= int(network.network_address)
            and int(network.broadcast_address) <= int(self.network.broadcast_address)
        ):
            raise UsageError(
                f"subnet {text} is not within the address range {self.text}: choose one within, give an address of it "
                f"by hand, or launch all peers with another range"
            )
        if network.num_addresses < SMALLEST_SUBNET:
            raise UsageError(
                f"subnet {text} has {network.num_addresses} addresses, expected at least {SMALLEST_SUBNET} "
                f"(its first and last are never given)"
            )
        start = int(network.network_address) - self._base
        return Subnet(start, start + network.num_addresses, network.prefixlen, str(network))

    def offset(self, address: IpAddress) -> int | None:
        """The offset of `address` in the range; None outside of it."""
        if address.version != self.network.version:
            return None
        offset = int(address) - self._base
        return offset if 0 <= offset < self.size else None

    def address(self, offset: int) -> str:
        """The text of the address at `offset`."""
        return str(self.network.network_address + offset)

    def span(self, start: int, end: int) -> str:
        """Text for users of the offsets `start` to `end` (exclusive): a CIDR if possible."""
        size = end - start
        if size == 1:
            return self.address(start)
        if size & (size - 1) == 0 and start % size == 0:
            return f"{self.address(start)}/{self.network.max_prefixlen - size.bit_length() + 1}"
        return f"{self.address(start)}-{self.address(end - 1)}"


def parse_interface(text: str) -> tuple[IpAddress, int]:
    """Address and prefix length of "a.b.c.d/n" (or IPv6). Raises `UsageError`."""
    try:
        interface = ip_interface(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an address with its prefix length as 10.32.1.7/24: {error}") from error
    if "/" not in text:
        raise UsageError(f"{text!r} lacks a prefix length; expected an address as {text}/24")
    return interface.ip, interface.network.prefixlen


def parse_address(text: str) -> IpAddress:
    """The address of "a.b.c.d" or "a.b.c.d/n" (or IPv6). Raises `UsageError`."""
    try:
        return ip_interface(text).ip
    except ValueError as error:
        raise UsageError(f"{text!r} is not an address as 10.32.1.7: {error}") from error
