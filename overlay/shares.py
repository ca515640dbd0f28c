"""A fixed number of places shared by many clients. Pure: takes a ticket, returns the ticket that loses its place.

When all places are taken a newcomer still gets one: the source with the most places, and within it the address with the
most, loses its oldest. So a flood displaces only itself. An IPv6 source is a /64, because a host with one address there
has all of them.
"""

from ipaddress import IPv6Address, ip_address

__all__ = ["Shares", "source"]


def source(host: str) -> str:
    """The source of an IP literal: an IPv4 address itself, the /64 of an IPv6 address. Other text: itself."""
    if ":" not in host:
        return host
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    prefix = str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return f"{prefix}%{address.scope_id}" if address.scope_id else prefix


class Shares:
    """At most `each` places for one source and `total` for all. A ticket is a unique number."""

    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = total
        self._tickets: dict[str, dict[str, dict[int, None]]] = {}
        """Tickets by source and host; empty dicts are removed."""
        self._counts: dict[str, int] = {}
        self._hosts: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def take(self, host: str, ticket: int) -> int | None:
        """Give `ticket` a place; returns the ticket that loses its place to it, if any."""
        of = source(host)
        gone: int | None = None
        if self._counts.get(of, 0) >= self._each:
            gone = self._oldest(of)
        elif len(self._hosts) >= self._total:
            gone = self._oldest(max(self._counts, key=self._counts.__getitem__))
        if gone is not None:
            self.give_back(gone)
        self._hosts[ticket] = host
        self._tickets.setdefault(of, {}).setdefault(host, {})[ticket] = None
        self._counts[of] = self._counts.get(of, 0) + 1
        return gone

    def give_back(self, ticket: int) -> None:
        """Free the place of `ticket`, if it has one."""
        host = self._hosts.pop(ticket, None)
        if host is None:
            return
        of = source(host)
        hosts = self._tickets[of]
        del hosts[host][ticket]
        if not hosts[host]:
            del hosts[host]
        self._counts[of] -= 1
        if not self._counts[of]:
            del self._counts[of], self._tickets[of]

    def _oldest(self, of: str) -> int:
        hosts = self._tickets[of]
        host = max(hosts, key=lambda each: len(hosts[each]))
        return next(iter(hosts[host]))

    def check_invariants(self) -> None:
        """Raises `AssertionError`."""
        assert len(self._hosts) <= self._total
        assert self._counts.keys() == self._tickets.keys()
        for of, hosts in self._tickets.items():
            assert self._counts[of] == sum(map(len, hosts.values())) <= self._each
            assert all(hosts.values()), "a host without tickets is remembered"
        assert sum(self._counts.values()) == len(self._hosts)
