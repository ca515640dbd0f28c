"""A compiled policy as sets, chains and rules of nftables. Pure: no socket, no clock.

All rules are in one table of the family `bridge`, which every frame of the overlay's bridge passes once on each host.
Flow state is kept in sets (`flows4`, `flows6`: who opened what; `parts4`, `parts6`: packets whose first fragment was
accepted). With `conntrack`, the connection tracking of the family `inet` keeps it instead: it sees bridged packets
first and temporarily marks those of known flows.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from overlay.compiled_policy import CompiledPolicy, FlowRule, Network
from overlay.kernel import nft_words as expr
from overlay.kernel import nftables as nft
from overlay.kernel.policy_keys import (
    CLOSING,
    DESTINATIONS,
    ERROR_HEADER,
    ESTABLISHED,
    FLOWS,
    HEADERS,
    ICMP,
    L4PROTO,
    LIVES,
    OPENED,
    PROTOCOLS,
    SIZES,
    SOURCES,
    TCP,
    UDP,
    FlowKeyLoader,
    fragment_bits,
    is_protocol,
)
from overlay.policy.intervals import merged

__all__ = ["BASES", "CHAINS", "MARK", "PORTS", "STATE_CHAINS", "PolicyRuleset", "plan", "state_rules"]

PORTS, SERVERS = "ports", {4: "servers4", 6: "servers6"}
PARTS = {4: "parts4", 6: "parts6"}
MARK = 0x0200_0000
"""The bit of a packet's mark by which connection tracking tells the bridge that the flow is known."""
_MOST_FLOWS, _MOST_PARTS = 1 << 18, 1 << 16

_FORWARD, _LOCAL_IN, _LOCAL_OUT = 2, 1, 3
_PRIORITY = 10
"""After br_netfilter, which passes bridged packets to connection tracking."""
BASES = (
    nft.Chain("crossing", _FORWARD, _PRIORITY),
    nft.Chain("arriving", _LOCAL_IN, _PRIORITY),
    nft.Chain("leaving", _LOCAL_OUT, _PRIORITY),
)
_PER_FAMILY = (
    "ip",
    "sound",
    "part",
    "tcp",
    "known",
    "answer",
    "udp",
    "icmp",
    "error",
    "other",
    "judge",
    "open",
    "pass",
)
CHAINS = (*BASES, nft.Chain("frame"), *(nft.Chain(f"{each}{v}") for v in (4, 6) for each in _PER_FAMILY))
CHAINS = (*CHAINS, nft.Chain("denied"))

_PROTOCOL, _MARK, _IIFNAME, _OIFNAME = 1, 3, 6, 7
_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_HIGH = 32768
"""The first port of the range from which hosts choose their source ports."""
_ECHO, _ECHO_REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
_ERRORS = {4: ((3, 4), (11, 12)), 6: ((1, 4),)}
_NEIGHBOURS = ((130, 137), (143, 143))
"""Types of ICMPv6: multicast listeners, routers, neighbours and redirects, and MLDv2 (RFC 3810)."""
_IGMP = 2
_DNS = 53
_NEW, _ESTABLISHED_OR_RELATED = 0x8, 0x2 | 0x4
"""Bits of connection tracking's state."""
STATE_CHAINS = (
    nft.Chain("arriving", 0, 250),
    nft.Chain("routed", 2, 250),
    nft.Chain("leaving", 3, 250),
)
"""Chains of the table of the family `inet`: after all others, because those may overwrite the whole mark."""


class PolicyRuleset(Struct, frozen=True):
    """The sets, elements and rules that put a policy into the table."""

    sets: tuple[nft.Set, ...]
    rules: tuple[nft.Rule, ...]
    elements: dict[str, tuple[bytes, ...]]


def plan(policy: CompiledPolicy, ports: Iterable[str], *, conntrack: bool) -> PolicyRuleset:
    """The ruleset that enforces this policy on these ports of the bridge."""
    sets = [nft.Set(PORTS, (nft.IFNAME,), 16)]
    elements: dict[str, tuple[bytes, ...]] = {PORTS: tuple(_name(port) for port in ports)}
    rules = list(_frames(conntrack=conntrack))
    for version, kind in ((4, nft.IPV4), (6, nft.IPV6)):
        size = SIZES[version]
        groups = _Groups(version, kind)
        sets += [
            nft.Set(SERVERS[version], (kind,), size),
            nft.Set(FLOWS[version], (kind, kind, 12, 13, 13), 2 * size + 12, nft.KEPT, _MOST_FLOWS),
            nft.Set(PARTS[version], (kind, kind, 12, 4), 2 * size + 8, nft.KEPT, _MOST_PARTS),
        ]
        elements[SERVERS[version]] = tuple(each.packed for each in policy.protected if each.version == version)
        rules += _packets(version, _touched(policy, version), groups, conntrack=conntrack)
        rules += _judge(version, policy, groups)
        sets += groups.sets
        elements |= groups.elements
    rules.append(nft.Rule("denied", (expr.counter(), expr.verdict(expr.DROP))))
    return PolicyRuleset(tuple(sets), tuple(rules), elements)


def state_rules(bridge: str) -> tuple[nft.Rule, ...]:
    """The rules of the table of the family `inet`, which mark packets of known flows for the bridge.

    They also mark connections, permanently, to distinguish the overlay's from the host's others.
    """
    cleared = (expr.meta(_MARK), expr.masked(_host(0xFFFFFFFF ^ MARK)), expr.set_meta(_MARK))
    known = (expr.connection_state(), expr.masked(_host(_ESTABLISHED_OR_RELATED)), expr.differs(bytes(4)))
    marked = (expr.meta(_MARK), expr.masked(_host(0xFFFFFFFF ^ MARK), _host(MARK)), expr.set_meta(_MARK))
    own = (expr.connection_mark(), expr.masked(_host(0xFFFFFFFF ^ MARK), _host(MARK)), expr.set_connection_mark())
    arrives, leaves = (
        (expr.meta(_IIFNAME), expr.equals(_name(bridge))),
        (expr.meta(_OIFNAME), expr.equals(_name(bridge))),
    )
    routed = (expr.meta(_IIFNAME), expr.differs(_name(bridge)), *leaves)
    rules = []
    for chain, where in (("arriving", arrives), ("routed", routed), ("leaving", leaves)):
        rules += [nft.Rule(chain, (*where, *each)) for each in (cleared, own, (*known, *marked))]
    return tuple(rules)


# --- frames and packets -----------------------------------------------------------------------------------------------


def _frames(*, conntrack: bool) -> Iterator[nft.Rule]:
    accept = expr.verdict(expr.ACCEPT)
    arrives, leaves = (expr.meta(_IIFNAME), expr.lookup(PORTS)), (expr.meta(_OIFNAME), expr.lookup(PORTS))
    for chain, ways in (("crossing", (arrives, leaves)), ("arriving", (arrives,)), ("leaving", (leaves,))):
        for way in ways:
            yield nft.Rule(chain, (*way, expr.goto("frame")))
    if conntrack:
        known = (expr.meta(_MARK), expr.masked(_host(MARK)), expr.differs(bytes(4)))
        cleared = (expr.meta(_MARK), expr.masked(_host(0xFFFFFFFF ^ MARK)), expr.set_meta(_MARK))
        yield nft.Rule("frame", (*known, *cleared, accept))
    for number, target in ((0x0800, "ip4"), (0x86DD, "ip6"), (0x8100, "denied"), (0x88A8, "denied")):
        # One VLAN tag was already removed. A receiver unwraps any number of them, so drop packets behind two.
        yield nft.Rule("frame", (expr.meta(_PROTOCOL), expr.equals(number.to_bytes(2, "big")), expr.goto(target)))
    yield nft.Rule("frame", (accept,))


def _packets(version: int, touched: "_Touched", groups: "_Groups", *, conntrack: bool) -> Iterator[nft.Rule]:
    """All rules except the policy's verdicts. A packet without the bytes that a rule loads does not match that rule,
    and ends in `denied`.

    So no packet passes because its header is truncated, hidden or wrong.
    """

    def rule(chain: str, *expressions: bytes) -> nft.Rule:
        return nft.Rule(f"{chain}{version}", expressions)

    def to(chain: str) -> bytes:
        return expr.goto(f"{chain}{version}")

    accept, denied = expr.verdict(expr.ACCEPT), expr.goto("denied")
    keys = FlowKeyLoader(version)
    ports = expr.load(expr.TRANSPORT, 0, 4)

    kind = expr.load(expr.TRANSPORT, 0, 1)
    if version == 4:
        yield rule("ip", *is_protocol(_IGMP), accept)
    else:
        for low, high in _NEIGHBOURS:
            yield rule("ip", *is_protocol(ICMP[6]), kind, *expr.between(bytes((low,)), bytes((high,))), accept)
    yield rule("ip", expr.meta(L4PROTO), to("sound"))
    yield rule("ip", denied)

    if touched.networks is None:
        yield rule("sound", accept)  # the policy denies nothing
    elif touched.networks:
        either = [groups.match(where[version], touched.networks, absent=True) for where in (DESTINATIONS, SOURCES)]
        yield rule("sound", *either[0], *either[1], accept)
    if version == 4:
        yield rule("sound", *fragment_bits(4, 0x1FFF), expr.differs(bytes(2)), to("part"))
    else:
        yield rule("sound", *fragment_bits(6, 0xFFF8), expr.differs(bytes(2)), to("part"))
    for protocol in (UDP, TCP):
        for where, offset in ((DESTINATIONS, 2), (SOURCES, 0)):
            server = (expr.load(expr.NETWORK, where[version], SIZES[version]), expr.lookup(SERVERS[version]))
            dns = (expr.load(expr.TRANSPORT, offset, 2), expr.equals(_DNS.to_bytes(2, "big")))
            yield rule("sound", *is_protocol(protocol), *dns, *server, to("pass"))
    for protocol, chain in ((TCP, "tcp"), (UDP, "udp"), (ICMP[version], "icmp")):
        yield rule("sound", *is_protocol(protocol), to(chain))
    yield rule("sound", to("other"))

    # TCP flags are in the second eight bytes, so drop later fragments that could overwrite them.
    again = (expr.equals(b"\0\1"),) if version == 4 else (expr.equals(b"\0\x08"),)
    yield rule("part", *is_protocol(TCP), *fragment_bits(version, 0x1FFF if version == 4 else 0xFFF8), *again, denied)
    yield rule("part", *keys.part(), expr.lookup(PARTS[version]), accept)
    yield rule("part", denied)

    flags = expr.load(expr.TRANSPORT, 13, 1)

    def has(*bits: int, among: int = 0) -> tuple[bytes, ...]:
        wanted = sum(bits)
        if among:
            return flags, expr.masked(bytes((among,))), expr.equals(bytes((wanted,)))
        return flags, expr.masked(bytes((wanted,))), expr.differs(b"\0")

    found = expr.lookup(FLOWS[version])
    yield rule("tcp", *has(_SYN, among=_SYN | _ACK), to("judge"))
    if not conntrack:
        for chain, swapped in (("known", False), ("answer", True)):
            key = keys.ports(swapped=swapped)
            yield rule("tcp", *key, found, to(chain))
            yield rule(chain, *has(_FIN, _RST), *key, expr.remember(FLOWS[version], CLOSING), to("pass"))
            yield rule(chain, *has(_SYN, _PSH), *key, expr.remember(FLOWS[version], ESTABLISHED), to("pass"))
            yield rule(chain, to("pass"))
    # If the connection is unknown, or older than the first policy: if only one side has a high port, that side is the
    # opener. The packet is then judged as if it opened the connection now.
    opener = (expr.load(expr.TRANSPORT, 0, 2), *expr.between(_HIGH.to_bytes(2, "big"), b"\xff\xff"))
    opened = (expr.load(expr.TRANSPORT, 2, 2), *expr.between(b"\0\0", (_HIGH - 1).to_bytes(2, "big")))
    yield rule("tcp", *opener, *opened, *has(_ACK), to("judge"))
    yield rule("tcp", denied)

    def refreshed(chain: str, key: tuple[bytes, ...], life: int, *first: bytes) -> nft.Rule:
        return rule(chain, *first, *key, found, expr.remember(FLOWS[version], life), to("pass"))

    if not conntrack:
        yield refreshed("udp", keys.ports(), LIVES[UDP])
        yield refreshed("udp", keys.ports(swapped=True), LIVES[UDP])
    yield rule("udp", ports, to("judge"))
    yield rule("udp", denied)

    request, reply = (bytes((each[version],)) for each in (_ECHO, _ECHO_REPLY))
    if not conntrack:
        yield refreshed("icmp", keys.echo(), LIVES["icmp"], kind, expr.equals(request))
        yield refreshed("icmp", keys.echo(swapped=True), LIVES["icmp"], kind, expr.equals(reply))
        for first, last in _ERRORS[version]:
            yield rule("icmp", kind, *expr.between(bytes((first,)), bytes((last,))), to("error"))
    # Replies and errors do not open flows.
    for first, last in ((reply[0], reply[0]), *_ERRORS[version]):
        yield rule("icmp", kind, *expr.between(bytes((first,)), bytes((last,))), denied)
    yield rule("icmp", kind, expr.load(expr.TRANSPORT, 4, 2), to("judge"))
    yield rule("icmp", denied)

    if not conntrack:
        inner = ERROR_HEADER + PROTOCOLS[version]
        if version == 4:
            # Only quoted packets without IP options that are not later fragments.
            yield rule("error", expr.load(expr.TRANSPORT, ERROR_HEADER, 1), expr.differs(b"\x45"), denied)
            later = (expr.load(expr.TRANSPORT, ERROR_HEADER + 6, 2), expr.masked(b"\x1f\xff"), expr.differs(bytes(2)))
            yield rule("error", *later, denied)
        for protocol in (TCP, UDP):
            about = (expr.load(expr.TRANSPORT, inner, 1), expr.equals(bytes((protocol,))))
            for swapped in (False, True):
                yield rule("error", *about, *keys.quoted(swapped=swapped), found, to("pass"))
        echo = (expr.load(expr.TRANSPORT, inner, 1), expr.equals(bytes((ICMP[version],))))
        for number, swapped in ((request, False), (reply, True)):
            quoted = (expr.load(expr.TRANSPORT, ERROR_HEADER + HEADERS[version], 1), expr.equals(number))
            yield rule("error", *echo, *quoted, *keys.quoted_echo(swapped=swapped), found, to("pass"))
        for swapped in (False, True):
            yield rule("error", *keys.quoted_other(swapped=swapped), found, to("pass"))
        yield rule("error", denied)

        yield refreshed("other", keys.bare(), LIVES["other"])
        yield refreshed("other", keys.bare(swapped=True), LIVES["other"])
    yield rule("other", to("judge"))

    if not conntrack:
        yield rule("open", *is_protocol(TCP), *keys.ports(), expr.remember(FLOWS[version], OPENED), to("pass"))
        yield rule("open", *is_protocol(UDP), *keys.ports(), expr.remember(FLOWS[version], LIVES[UDP]), to("pass"))
        icmp = (*is_protocol(ICMP[version]), kind, expr.equals(request))
        yield rule("open", *icmp, *keys.echo(), expr.remember(FLOWS[version], LIVES["icmp"]), to("pass"))
        for protocol in (TCP, UDP):
            yield rule("open", *is_protocol(protocol), denied)
        yield rule("open", *keys.bare(), expr.remember(FLOWS[version], LIVES["other"]), to("pass"))
        yield rule("open", denied)
    else:
        yield rule("open", to("pass"))

    more = fragment_bits(version, 0x2000 if version == 4 else 0x0001)
    yield rule(
        "pass", *more, expr.differs(bytes(2)), *keys.part(), expr.remember(PARTS[version], LIVES["icmp"]), accept
    )
    yield rule("pass", accept)


# --- verdicts ---------------------------------------------------------------------------------------------------------


class _Touched(Struct, frozen=True):
    """The addresses that a denial may affect, as opener or target. `networks`: None: none; empty: all."""

    networks: tuple[Network, ...] | None


def _touched(policy: CompiledPolicy, version: int) -> _Touched:
    if not policy.accept_rest:
        return _Touched(())
    found: list[Network] = []
    for rule in policy.rules:
        sides = _sides(rule, version)
        if rule.accept or sides is None:
            continue
        narrow = sides[1] or sides[0]
        if not narrow:
            return _Touched(())
        found += narrow
    return _Touched(tuple(found) or None)


def _sides(rule: FlowRule, version: int) -> tuple[tuple[Network, ...], tuple[Network, ...]] | None:
    """Source and destination of one address family; None: no flow of this family matches."""
    source, destination = (_of_version(side, version) for side in (rule.source, rule.destination))
    if (rule.source and not source) or (rule.destination and not destination):
        return None
    return source, destination


def _of_version(side: tuple[Network, ...], version: int) -> tuple[Network, ...]:
    if side and side[0].version == side[-1].version:  # sorted
        return side if side[0].version == version else ()
    return tuple(each for each in side if each.version == version)


def _judge(version: int, policy: CompiledPolicy, groups: "_Groups") -> Iterator[nft.Rule]:
    numbers = {"tcp": TCP, "udp": UDP, "icmp": ICMP[version]}
    chain = f"judge{version}"
    for rule in policy.rules:
        sides = _sides(rule, version)
        if sides is None:
            continue
        matches: list[bytes] = []
        if rule.protocol is not None:
            matches += is_protocol(numbers[rule.protocol])
        for networks, where in ((sides[1], DESTINATIONS), (sides[0], SOURCES)):
            if networks:
                matches += groups.match(where[version], networks)
        target = expr.goto(f"open{version}" if rule.accept else "denied")
        for low, high in rule.ports or ((-1, -1),):
            wanted = expr.between(low.to_bytes(2, "big"), high.to_bytes(2, "big")) if low >= 0 else ()
            port = (expr.load(expr.TRANSPORT, 2, 2), *wanted) if wanted else ()
            yield nft.Rule(chain, (*matches, *port, target))
    yield nft.Rule(chain, (expr.goto(f"open{version}" if policy.accept_rest else "denied"),))


class _Groups:
    """Sets of addresses: one for each group, shared by all rules that name it."""

    def __init__(self, version: int, kind: int) -> None:
        self._version, self._kind = version, kind
        self.sets: list[nft.Set] = []
        self.elements: dict[str, tuple[bytes, ...]] = {}
        self._names: dict[int, tuple[str, tuple[Network, ...]]] = {}
        """Keyed by identity, because hashing a thousand networks takes longer than scanning them."""

    def match(self, offset: int, networks: tuple[Network, ...], *, absent: bool = False) -> tuple[bytes, ...]:
        """Match if the address at this offset is (`absent`: is not) in one of these."""
        size = SIZES[self._version]
        address = expr.load(expr.NETWORK, offset, size)
        if len(networks) > 1:
            if id(networks) not in self._names:
                self._names[id(networks)] = self._name(networks), networks
            return address, expr.lookup(self._names[id(networks)][0], absent=absent)
        (only,) = networks
        compare = expr.differs if absent else expr.equals
        mask = () if only.prefixlen == 8 * size else (expr.masked(only.netmask.packed),)
        return (address, *mask, compare(only.network_address.packed))

    def _name(self, networks: Sequence[Network]) -> str:
        """The name of the set of these. It is a hash of the content, so an unchanged set is not touched."""
        size = SIZES[self._version]
        ranges = _ranges(networks)
        whole = b"".join(low.to_bytes(size, "big") + high.to_bytes(size, "big") for low, high in ranges)
        name = f"group{self._version}-{hashlib.sha256(whole).hexdigest()[:16]}"
        if name not in self.elements:
            if all(low == high for low, high in ranges):
                self.sets.append(nft.Set(name, (self._kind,), size))
                self.elements[name] = tuple(low.to_bytes(size, "big") for low, _ in ranges)
            else:
                self.sets.append(nft.Set(name, (self._kind,), size, nft.INTERVAL))
                bounds: list[bytes] = []
                for low, high in ranges:
                    bounds.append(low.to_bytes(size, "big") + nft.START)
                    if high + 1 < 1 << 8 * size:
                        bounds.append((high + 1).to_bytes(size, "big") + nft.END)
                self.elements[name] = tuple(bounds)
        return name


def _ranges(networks: Sequence[Network]) -> list[tuple[int, int]]:
    """The first and last address of each range. Adjacent single addresses are not merged, so that a hash set can hold
    them."""
    spans = sorted(
        {(int(each.network_address), int(each.network_address) | int(each.hostmask)) for each in networks}
        if any(each.prefixlen < each.max_prefixlen for each in networks)
        else {(number, number) for number in (int(each.network_address) for each in networks)}
    )
    if all(low == high for low, high in spans):
        return spans
    return list(merged(spans))


def _name(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def _host(number: int) -> bytes:
    return struct.pack("=I", number)
