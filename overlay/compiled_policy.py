"""A policy as one host's packet filter gets it: addresses, protocols and ports. Pure data.

Knows nothing of names, labels or authors: `overlay.policy.directory` makes it from those, a driver puts it into the
kernel, and the simulator calls `decide`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

__all__ = ["Address", "CompiledPolicy", "FlowRule", "Network", "Protocol"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Protocol = Literal["tcp", "udp", "icmp"]
"""`icmp` means ICMP and ICMPv6."""

DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class FlowRule:
    """The verdict on flows that match all fields. A flow matches only networks of its own IP version."""

    accept: bool
    source: tuple[Network, ...]
    """(): any. Sorted, IPv4 first, without overlaps."""
    destination: tuple[Network, ...]
    """(): any. Sorted, IPv4 first, without overlaps."""
    protocol: Protocol | None
    """None: any."""
    ports: tuple[tuple[int, int], ...]
    """Destination ports as inclusive ranges, sorted, without overlaps; (): any. With ports `protocol` is tcp or udp."""
    name: str
    """The policy that it came from, for counters and the log: printable ASCII, at most 200 characters."""

    def matches(self, source: Address, destination: Address, protocol: Protocol | None, port: int) -> bool:
        """Whether this rule matches the flow. `protocol` None: another or unknown protocol."""
        if self.protocol is not None and self.protocol != protocol:
            return False
        if self.ports and not any(first <= port <= last for first, last in self.ports):
            return False
        return _within(source, self.source) and _within(destination, self.destination)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return not networks or any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """Decides on flows across the bridge, by the side that opens them: the first matching rule, else `accept_rest`.

    Replies, ICMP errors about an accepted flow and its fragments pass; so do ARP, neighbour discovery, MLD and IGMP.
    """

    rules: tuple[FlowRule, ...] = ()
    accept_rest: bool = True
    protected: tuple[Address, ...] = ()
    """Addresses of the overlay's own name server: port 53 there, UDP and TCP, and its answers always pass."""

    @property
    def empty(self) -> bool:
        """Whether it decides nothing, so that the kernel needs no rules."""
        return not self.rules and self.accept_rest

    def decide(
        self, source: Address, destination: Address, protocol: Protocol | None, port: int
    ) -> tuple[bool, FlowRule | None]:
        """Whether the flow may be opened, and the rule that decides; None: the default, or the address is protected."""
        if port == DNS_PORT and protocol in ("tcp", "udp") and destination in self.protected:
            return True, None
        for rule in self.rules:
            if rule.matches(source, destination, protocol, port):
                return rule.accept, rule
        return self.accept_rest, None
