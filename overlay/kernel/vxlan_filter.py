"""Accepts VXLAN packets from peers only: nftables sets of underlay hosts, and rules that drop packets of all others.

The VXLAN device itself does not authenticate: anyone who can send a UDP packet to its port would be on the overlay.
Owns the table `weave-vxlan` of this network namespace. Decides nothing: the hosts come as an effect. The table exists
as long as the device, so that it also protects while no daemon runs. So its rules must work for bridges that are
created later.
"""

import logging
import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from overlay.errors import EnvironmentProblem
from overlay.kernel import nft_words as expr
from overlay.kernel import nftables as nft

__all__ = ["VxlanFilter"]

log = logging.getLogger(__name__)

TABLE = "weave-vxlan"
_SETS = {4: "peers", 6: "peers6"}
_CHAIN = "input"
_LOCAL_IN = 1
_PRIORITY = -300
"""Before connection tracking, so that dropped packets create no entry there."""
_INET = 1
"""NFPROTO_INET: both families in one table."""
_FAMILIES = {4: 2, 6: 10}
"""NFPROTO_IPV4, NFPROTO_IPV6."""
_KEYS = {4: (nft.IPV4, 4), 6: (nft.IPV6, 16)}
"""For each set: `nft`'s type number, and bytes."""
_SOURCES = {4: 12, 6: 8}
"""Offset of the source address in the IP header."""
_LINK_LOCAL = b"\xfe\x80" + bytes(6)
_IIFNAME, _NFPROTO, _L4PROTO, _IIFKIND = 6, 15, 16, 26


class VxlanFilter:
    """The filter for UDP packets to `port`. Call `install` first, then `allow` when the hosts change.

    A container can forge any source. `inside`: bridges without peers behind them. On all other bridges the host must
    have a route to the packet's source through the input interface, because a bridge can also be the host's uplink.
    """

    def __init__(self, port: int, inside: Iterable[str] = ()) -> None:
        self._port, self._inside, self._asks_routes = port, tuple(inside), True
        self.table = self._table(routes=True)
        self._hosts: dict[str, None] = {}

    def _table(self, *, routes: bool) -> nft.Table:
        """`routes`: include the rules that look up routes, which need a kernel with CONFIG_NFT_FIB_INET."""
        port = self._port
        return nft.Table(
            _INET,
            TABLE,
            [nft.Set(_SETS[version], (kind,), size) for version, (kind, size) in _KEYS.items()],
            [nft.Chain(_CHAIN, _LOCAL_IN, _PRIORITY)],
            [
                *(_from(name, port) for name in self._inside),
                *(_forged(port) if routes else ()),
                *(_rule(version, port) for version in _SETS),
            ],
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts whose packets are accepted."""
        return tuple(self._hosts)

    def install(self, hosts: Iterable[str]) -> None:
        """Create the table, or replace an earlier daemon's atomically. Raises `EnvironmentProblem`."""
        wanted = dict.fromkeys(hosts)
        try:
            self.table.install(_elements(wanted))
        except OSError as error:
            self._install_without_routes(wanted, error)
        self._hosts = wanted

    def _install_without_routes(self, hosts: Mapping[str, None], reason: OSError) -> None:
        """Install without route lookups; such a kernel still accepts only peers' addresses."""
        if not self._asks_routes:
            raise _missing(reason) from None
        self._asks_routes = False
        self.table.close()
        self.table = self._table(routes=False)
        try:
            self.table.install(_elements(hosts))
        except OSError as error:
            raise _missing(error) from None
        log.warning(
            "containers of other bridges than docker0 can forge peers' VXLAN packets: this kernel asks no routes in "
            "nftables (%s): `modprobe nft_fib_inet`, or a kernel with CONFIG_NFT_FIB_INET",
            reason.strerror or reason,
        )

    def allow(self, hosts: Iterable[str]) -> None:
        """Accept packets from exactly these hosts. Raises `OSError`. Does nothing without a table."""
        if not self.table.installed:
            return
        wanted = dict.fromkeys(hosts)
        self._hosts = wanted
        self.table.fill(_elements(wanted))

    def restore(self) -> None:
        """Create the table again, after somebody has changed it. Raises `EnvironmentProblem`."""
        self.install(self._hosts)

    def remove(self) -> None:
        """Remove the table, if there is one."""
        self.table.remove()

    def close(self) -> None:
        """Close the socket; the table stays."""
        self.table.close()


def _missing(error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"no nftables for the VXLAN port ({error.strerror or error}): `modprobe nf_tables`, or a kernel with "
        "CONFIG_NF_TABLES"
    )


def _elements(hosts: Iterable[str]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {name: [] for name in _SETS.values()}
    for host in hosts:
        address = _bare(host)
        found[_SETS[address.version]].append(address.packed)
    return found


def _to(port: int) -> tuple[bytes, ...]:
    """`udp dport PORT`. Fragments are reassembled before this hook."""
    return (
        *(expr.meta(_L4PROTO), expr.equals(bytes((socket.IPPROTO_UDP,)))),
        *(expr.load(expr.TRANSPORT, 2, 2), expr.equals(port.to_bytes(2, "big"))),
    )


def _drop(*expressions: bytes) -> nft.Rule:
    return nft.Rule(_CHAIN, (*expressions, expr.counter(), expr.verdict(expr.DROP)))


def _name(text: str) -> bytes:
    return expr.equals(text.encode().ljust(16, b"\0"))


def _from(name: str, port: int) -> nft.Rule:
    """`iifname NAME udp dport PORT counter drop`."""
    return _drop(expr.meta(_IIFNAME), _name(name), *_to(port))


def _forged(port: int) -> Iterator[nft.Rule]:
    """`iifkind bridge udp dport PORT fib saddr . iif oif missing counter drop`, and the same for link-local sources.

    Every link has a route to link-local addresses, and the set does not know which link a peer is on.
    """
    bridge = (expr.meta(_IIFKIND), _name("bridge"), *_to(port))
    yield _drop(*bridge, expr.routed_back(), expr.equals(bytes(4)))
    six = (expr.meta(_NFPROTO), expr.equals(bytes((_FAMILIES[6],))))
    yield _drop(*bridge, *six, expr.load(expr.NETWORK, _SOURCES[6], 8), expr.equals(_LINK_LOCAL))


def _rule(version: int, port: int) -> nft.Rule:
    """`udp dport PORT ip saddr != @peers counter drop`, or the same for IPv6."""
    return _drop(
        *(expr.meta(_NFPROTO), expr.equals(bytes((_FAMILIES[version],)))),
        *_to(port),
        *(expr.load(expr.NETWORK, _SOURCES[version], _KEYS[version][1]), expr.lookup(_SETS[version], absent=True)),
    )


def _bare(host: str) -> IPv4Address | IPv6Address:
    """The address without its interface (`fe80::1%eth0`), because a set has no interfaces."""
    return ip_address(host.partition("%")[0])
