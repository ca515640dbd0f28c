"""Limits what containers may send: an nftables table of the family `bridge` on the overlay's bridge.

Each port may send frames with its own MAC and its own addresses only, in ARP and neighbour discovery too. Unspecified
and link-local sources pass with the own MAC; router advertisements, redirects and messages of DHCP servers do not pass.
A port without a rule is not guarded, because many kernels cannot tell a frame's bridge, and the ports of other bridges
must not be affected. Owns the table `weave-ports`, which stays while no daemon runs and is adopted by the next one. A
frame costs one set lookup, because the most frequent frames are matched first. Decides nothing: the callers that plug
containers in choose the rules.
"""

import logging
import socket
from collections.abc import Callable, Iterator, Mapping

from overlay.datapath.port_rules import GUARDED, MACS, OWN4, OWN6, PortRule, elements, parse
from overlay.datapath.vxlan import TUNNEL_PORT
from overlay.kernel import nft_words as expr
from overlay.kernel import nftables as nft

__all__ = ["PortFilter"]

log = logging.getLogger(__name__)

TABLE = "weave-ports"
_FAMILY = 7
"""NFPROTO_BRIDGE."""
_PRE_ROUTING = 0
_PRIORITY = -300
_SETS = (
    nft.Set(MACS, (nft.IFNAME, nft.ETHER), 24),
    nft.Set(OWN4, (nft.IFNAME, nft.ETHER, nft.IPV4), 28),
    nft.Set(OWN6, (nft.IFNAME, nft.ETHER, nft.IPV6), 40),
    nft.Set(GUARDED, (nft.IFNAME,), 16),
)
_PROTOCOL, _IIFNAME, _L4PROTO, _IIFKIND = 1, 6, 16, 26
_MAC_REGISTER, _ADDRESS_REGISTER = expr.REGISTER + 4, expr.REGISTER + 6
_UNSPECIFIED6 = bytes(16)
_LINK_LOCAL4, _LINK_LOCAL6 = b"\xa9\xfe", b"\xfe\x80" + bytes(6)
_IP, _IP6, _ARP = 0x0800, 0x86DD, 0x0806
_ADVERTISEMENT, _SOLICITATION, _ROUTER, _REDIRECT = 136, 135, 134, 137
_FRAGMENT = 44
_BARE, _ONE_OPTION = 24, 32
"""Payload length of a neighbour message without options, and with one option of eight bytes."""


class PortFilter:
    """The filter of this host's bridge. Call `install` first, then `allow` and `forget` as ports change."""

    def __init__(self) -> None:
        self.table = nft.Table(
            _FAMILY, TABLE, _SETS, (nft.Chain("sent", _PRE_ROUTING, _PRIORITY), *_chains()), tuple(_rules())
        )
        self._rules: dict[str, PortRule] = {}
        self.problem = ""
        """Why nothing is filtered; empty if it is."""
        self.on_port: Callable[[str], None] = _nothing
        """Called for each port before it may send anything."""

    @property
    def rules(self) -> Mapping[str, PortRule]:
        """The rule of each port."""
        return self._rules

    def adopt(self) -> dict[str, PortRule]:
        """The rules by port that an earlier daemon left in the kernel."""
        return parse(self.table.read())

    def install(self, rules: Mapping[str, PortRule]) -> None:
        """Create the table, or replace an earlier daemon's atomically. If that fails, `problem` has the reason."""
        self._rules = dict(rules)
        try:
            self.table.install(elements(self._rules))
            self.problem = ""
        except OSError as error:
            self.problem = (
                f"containers can send with foreign addresses: no nftables for bridges ({error.strerror or error}): "
                "`modprobe nf_tables`, or a kernel (5.6 or newer) with CONFIG_NF_TABLES_BRIDGE"
            )
            log.warning("%s", self.problem)

    def allow(self, port: str, rule: PortRule) -> None:
        """Allow this port exactly what the rule says from now on."""
        if self._rules.get(port) != rule:
            self.on_port(port)
            self._rules[port] = rule
            self._fill()

    def forget(self, port: str) -> None:
        """Forget a port that no longer exists."""
        if self._rules.pop(port, None) is not None:
            self._fill()

    def restore(self) -> None:
        """Create the table again, after somebody has changed it."""
        self.install(self._rules)

    def remove(self) -> None:
        """Remove the table, if there is one."""
        self.table.remove()

    def close(self) -> None:
        """Close the socket; the table stays."""
        self.table.close()

    def _fill(self) -> None:
        try:
            self.table.fill(elements(self._rules))
        except OSError as error:
            # Somebody else has changed the table.
            log.warning("port filter: %s; it is made again", error.strerror or error)
            self.restore()


def _chains() -> Iterator[nft.Chain]:
    for name in (
        "own4",
        "other4",
        "bare4",
        "own6",
        "other6",
        "bare6",
        "icmp6",
        "advert",
        "solicit",
        "option",
        "from6",
        "arp",
    ):
        yield nft.Chain(name)
    yield nft.Chain("plain")
    yield nft.Chain("last")


def _rules() -> Iterator[nft.Rule]:
    """The rules. `last` handles frames that their addresses do not allow."""

    def rule(chain: str, *expressions: bytes) -> nft.Rule:
        return nft.Rule(chain, expressions)

    accept, last = expr.verdict(expr.ACCEPT), expr.goto("last")
    port, mac = expr.meta(_IIFNAME), expr.load(expr.LINK, 6, 6, _MAC_REGISTER)
    own4 = (port, mac, expr.load(expr.NETWORK, 12, 4, _ADDRESS_REGISTER), expr.lookup(OWN4))
    own6 = (port, mac, expr.load(expr.NETWORK, 8, 16, _ADDRESS_REGISTER), expr.lookup(OWN6))
    udp, icmp6 = bytes((socket.IPPROTO_UDP,)), bytes((socket.IPPROTO_ICMPV6,))

    def protocol(number: int) -> tuple[bytes, bytes]:
        return expr.meta(_PROTOCOL), expr.equals(number.to_bytes(2, "big"))

    # The most frequent frames come first: such a rule costs 70 ns, a set lookup 150 ns.
    yield rule("sent", expr.meta(_IIFKIND), expr.equals(_name("vxlan")), accept)
    yield rule("sent", *protocol(_IP), *own4, expr.goto("own4"))
    yield rule("sent", *protocol(_IP6), *own6, expr.goto("own6"))
    yield rule("sent", port, expr.equals(_name(TUNNEL_PORT)), accept)
    yield rule("sent", *protocol(_IP), expr.goto("other4"))
    yield rule("sent", *protocol(_IP6), expr.goto("other6"))
    yield rule("sent", *protocol(_ARP), expr.goto("arp"))
    # One VLAN tag was already removed. A receiver unwraps any number of them (priority tags), so drop frames behind
    # more.
    yield rule("sent", *protocol(0x8100), last)
    yield rule("sent", *protocol(0x88A8), last)
    yield rule("sent", expr.goto("plain"))

    yield rule("plain", port, mac, expr.lookup(MACS), accept)
    yield rule("plain", last)

    yield rule("own6", expr.meta(_L4PROTO), expr.equals(icmp6), expr.goto("icmp6"))
    yield rule("bare6", expr.meta(_L4PROTO), expr.equals(icmp6), expr.goto("icmp6"))
    for version, server, client in ((4, 67, 68), (6, 547, 546)):
        yield rule(f"own{version}", expr.meta(_L4PROTO), expr.differs(udp), accept)
        for chain in (f"own{version}", f"bare{version}"):
            for offset, number in ((0, server), (2, client)):
                told = (expr.load(expr.TRANSPORT, offset, 2), expr.equals(number.to_bytes(2, "big")))
                yield rule(chain, expr.meta(_L4PROTO), expr.equals(udp), *told, last)
    yield rule("own4", accept)
    yield rule("bare4", expr.goto("plain"))
    # With extension headers in a fragment, the upper header can be in the next fragment, where it is not checked. So a
    # fragment passes only if its upper header is read, or if it continues a fragment that must have had it (RFC 7112).
    read = (expr.meta(_L4PROTO), expr.equals(udp), expr.load(expr.TRANSPORT, 0, 4))
    continued = expr.load6(_FRAGMENT, 0, 1)
    for chain, target in (("own6", accept), ("bare6", expr.goto("plain"))):
        yield rule(chain, *read, target)
        yield rule(chain, continued, expr.equals(udp), target)
    yield rule("bare6", expr.meta(_L4PROTO), expr.differs(udp), expr.goto("plain"))
    for chain in ("own6", "bare6"):
        yield rule(chain, last)

    unspecified4 = (expr.load(expr.NETWORK, 12, 4), expr.equals(bytes(4)))
    link_local4 = (expr.load(expr.NETWORK, 12, 2), expr.equals(_LINK_LOCAL4))
    unspecified6 = (expr.load(expr.NETWORK, 8, 16), expr.equals(_UNSPECIFIED6))
    link_local6 = (expr.load(expr.NETWORK, 8, 8), expr.equals(_LINK_LOCAL6))
    for version, bare in ((4, (unspecified4, link_local4)), (6, (unspecified6, link_local6))):
        for source in bare:
            yield rule(f"other{version}", *source, expr.goto(f"bare{version}"))
        yield rule(f"other{version}", last)
    yield rule("from6", *own6, accept)
    yield rule("from6", *unspecified6, expr.goto("plain"))
    yield rule("from6", *link_local6, expr.goto("plain"))
    yield rule("from6", last)

    kind = expr.load(expr.TRANSPORT, 0, 1)
    for number, target in ((_ROUTER, last), (_REDIRECT, last), (_ADVERTISEMENT, expr.goto("advert"))):
        yield rule("icmp6", kind, expr.equals(bytes((number,))), target)
    yield rule("icmp6", kind, expr.equals(bytes((_SOLICITATION,))), expr.goto("solicit"))
    yield rule("icmp6", kind, expr.goto("from6"))
    yield rule("icmp6", continued, expr.equals(icmp6), expr.goto("from6"))
    yield rule("icmp6", last)

    # Neighbour messages must directly follow the IPv6 header, so that its length gives the number of options.
    behind = (expr.load(expr.NETWORK, 6, 1), expr.differs(icmp6), last)
    length = expr.load(expr.NETWORK, 4, 2)
    yield rule("advert", *behind)
    yield rule("advert", expr.load(expr.TRANSPORT, 8, 8), expr.equals(_LINK_LOCAL6), expr.goto("option"))
    claimed = expr.load(expr.TRANSPORT, 8, 16, _ADDRESS_REGISTER)
    yield rule("advert", port, mac, claimed, expr.lookup(OWN6), expr.goto("option"))
    yield rule("advert", last)
    yield rule("solicit", *behind)
    yield rule("solicit", length, expr.equals(_BARE.to_bytes(2, "big")), expr.goto("from6"))
    yield rule("solicit", length, expr.differs(_ONE_OPTION.to_bytes(2, "big")), last)
    yield rule("solicit", expr.load(expr.TRANSPORT, 24, 1), expr.equals(b"\1"), expr.goto("option"))
    yield rule("solicit", expr.goto("from6"))  # the option is a nonce (RFC 7527)
    yield rule("option", length, expr.equals(_BARE.to_bytes(2, "big")), expr.goto("from6"))
    yield rule("option", length, expr.differs(_ONE_OPTION.to_bytes(2, "big")), last)
    stated = expr.load(expr.TRANSPORT, 26, 6, _MAC_REGISTER)
    yield rule("option", port, stated, expr.lookup(MACS), expr.goto("from6"))
    yield rule("option", last)

    ethernet = b"\0\1\x08\0\6\4"
    sender = expr.load(expr.NETWORK, 8, 6, _MAC_REGISTER)
    yield rule("arp", port, mac, expr.lookup(MACS, absent=True), last)
    yield rule("arp", expr.load(expr.NETWORK, 0, 6), expr.differs(ethernet), last)
    yield rule("arp", port, sender, expr.load(expr.NETWORK, 14, 4, _ADDRESS_REGISTER), expr.lookup(OWN4), accept)
    yield rule("arp", port, sender, expr.lookup(MACS, absent=True), last)
    yield rule("arp", expr.load(expr.NETWORK, 14, 4), expr.equals(bytes(4)), accept)
    yield rule("arp", expr.load(expr.NETWORK, 14, 2), expr.equals(_LINK_LOCAL4), accept)
    yield rule("arp", last)

    yield rule("last", port, expr.lookup(GUARDED, absent=True), accept)
    yield rule("last", expr.counter(), expr.verdict(expr.DROP))


def _nothing(_: str) -> None:
    pass


def _name(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")
