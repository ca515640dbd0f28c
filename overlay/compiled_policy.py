"""A policy as one host's packet filter takes it: addresses, protocols and ports. Pure data.

Knows nothing of names, labels or who said what: `overlay.policy.compile` makes one from those, a driver puts it into
the kernel, and the simulator asks `decide`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

__all__ = ["Address", "CompiledPolicy", "FlowRule", "Network", "Protocol"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Protocol = Literal["tcp", "udp", "icmp"]
"""`icmp` is ICMP and ICMPv6."""

DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class FlowRule:
    """What is decided of flows that match all fields. Of IPv4 and IPv6 networks a flow matches those of its family."""

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
    """Which policy it came from, for counters and the log: of printable ASCII, at most 200 characters."""

    def matches(self, source: Address, destination: Address, protocol: Protocol | None, port: int) -> bool:
        """Whether this rule is about the flow. `protocol` None: another one, or unknown."""
        if self.protocol is not None and self.protocol != protocol:
            return False
        if self.ports and not any(first <= port <= last for first, last in self.ports):
            return False
        return _within(source, self.source) and _within(destination, self.destination)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return not networks or any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """Decides about flows that cross the bridge, by who opens them: the first rule that matches, else `accept_rest`.

    Replies, ICMP errors about an accepted flow and fragments of it pass; so do ARP, neighbour discovery, MLD and IGMP.
    """

    rules: tuple[FlowRule, ...] = ()
    accept_rest: bool = True
    protected: tuple[Address, ...] = ()
    """Where the overlay's own name server listens: port 53 there, UDP and TCP, is never cut, nor are its answers."""

    @property
    def empty(self) -> bool:
        """Whether it decides nothing, so that nothing needs to be in the kernel."""
        return not self.rules and self.accept_rest

    def decide(
        self, source: Address, destination: Address, protocol: Protocol | None, port: int
    ) -> tuple[bool, FlowRule | None]:
        """Whether somebody may open this flow, and the rule that says so; None: it is the rest, or protected."""
        if port == DNS_PORT and protocol in ("tcp", "udp") and destination in self.protected:
            return True, None
        for rule in self.rules:
            if rule.matches(source, destination, protocol, port):
                return rule.accept, rule
        return self.accept_rest, None
