"""A compiled policy as sets, chains and rules of nftables. Pure: no socket, no clock.

All rules stand in one table of the family `bridge`, which every frame of the overlay's bridge passes once on each host.
What is known of flows is kept in sets (`flows4`, `flows6`: who opened what; `parts4`, `parts6`: packets whose first
fragment was accepted), or, with `conntrack`, told by the connection tracking of the family `inet`, which sees bridged
packets before and marks those of known flows for the moment.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from overlay.compiled_policy import CompiledPolicy, FlowRule, Network
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
"""The bit of a packet's mark that says, from connection tracking to the bridge, that its flow is known."""
_MOST_FLOWS, _MOST_PARTS = 1 << 18, 1 << 16

_FORWARD, _LOCAL_IN, _LOCAL_OUT = 2, 1, 3
_PRIORITY = 10
"""Behind br_netfilter, which has connection tracking look at bridged packets."""
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
"""The first port of those that hosts take for connections that they open."""
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
"""Of the table of the family `inet`: behind everybody else's, who may set the whole mark."""


class PolicyRuleset(Struct, frozen=True):
    """Sets, their elements and rules that put a policy into the table."""

    sets: tuple[nft.Set, ...]
    rules: tuple[nft.Rule, ...]
    elements: dict[str, tuple[bytes, ...]]


def plan(policy: CompiledPolicy, ports: Iterable[str], *, conntrack: bool) -> PolicyRuleset:
    """What puts this policy in front of these ports of the bridge."""
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
    rules.append(nft.Rule("denied", (nft.counter(), nft.verdict(nft.DROP))))
    return PolicyRuleset(tuple(sets), tuple(rules), elements)


def state_rules(bridge: str) -> tuple[nft.Rule, ...]:
    """The rules of the table of the family `inet` that says to the bridge which packets belong to known flows.

    They mark connections too, for good, so that those of the overlay can be told from the host's others.
    """
    cleared = (nft.meta(_MARK), nft.masked(_host(0xFFFFFFFF ^ MARK)), nft.set_meta(_MARK))
    known = (nft.connection_state(), nft.masked(_host(_ESTABLISHED_OR_RELATED)), nft.differs(bytes(4)))
    marked = (nft.meta(_MARK), nft.masked(_host(0xFFFFFFFF ^ MARK), _host(MARK)), nft.set_meta(_MARK))
    own = (nft.connection_mark(), nft.masked(_host(0xFFFFFFFF ^ MARK), _host(MARK)), nft.set_connection_mark())
    arrives, leaves = (nft.meta(_IIFNAME), nft.equals(_name(bridge))), (nft.meta(_OIFNAME), nft.equals(_name(bridge)))
    routed = (nft.meta(_IIFNAME), nft.differs(_name(bridge)), *leaves)
    rules = []
    for chain, where in (("arriving", arrives), ("routed", routed), ("leaving", leaves)):
        rules += [nft.Rule(chain, (*where, *each)) for each in (cleared, own, (*known, *marked))]
    return tuple(rules)


# --- frames and packets -----------------------------------------------------------------------------------------------


def _frames(*, conntrack: bool) -> Iterator[nft.Rule]:
    accept = nft.verdict(nft.ACCEPT)
    arrives, leaves = (nft.meta(_IIFNAME), nft.lookup(PORTS)), (nft.meta(_OIFNAME), nft.lookup(PORTS))
    for chain, ways in (("crossing", (arrives, leaves)), ("arriving", (arrives,)), ("leaving", (leaves,))):
        for way in ways:
            yield nft.Rule(chain, (*way, nft.goto("frame")))
    if conntrack:
        known = (nft.meta(_MARK), nft.masked(_host(MARK)), nft.differs(bytes(4)))
        cleared = (nft.meta(_MARK), nft.masked(_host(0xFFFFFFFF ^ MARK)), nft.set_meta(_MARK))
        yield nft.Rule("frame", (*known, *cleared, accept))
    for number, target in ((0x0800, "ip4"), (0x86DD, "ip6"), (0x8100, "denied"), (0x88A8, "denied")):
        # One VLAN tag was taken off before. A receiver unwraps any number of them, so no packet may hide behind two.
        yield nft.Rule("frame", (nft.meta(_PROTOCOL), nft.equals(number.to_bytes(2, "big")), nft.goto(target)))
    yield nft.Rule("frame", (accept,))


def _packets(version: int, touched: "_Touched", groups: "_Groups", *, conntrack: bool) -> Iterator[nft.Rule]:
    """Everything around the judgement. A packet that lacks what a rule loads does not match it, and ends in `denied`.

    So no packet passes because its header is cut off, hidden or wrong.
    """

    def rule(chain: str, *expressions: bytes) -> nft.Rule:
        return nft.Rule(f"{chain}{version}", expressions)

    def to(chain: str) -> bytes:
        return nft.goto(f"{chain}{version}")

    accept, denied = nft.verdict(nft.ACCEPT), nft.goto("denied")
    keys = FlowKeyLoader(version)
    ports = nft.load(nft.TRANSPORT, 0, 4)

    kind = nft.load(nft.TRANSPORT, 0, 1)
    if version == 4:
        yield rule("ip", *is_protocol(_IGMP), accept)
    else:
        for low, high in _NEIGHBOURS:
            yield rule("ip", *is_protocol(ICMP[6]), kind, *nft.between(bytes((low,)), bytes((high,))), accept)
    yield rule("ip", nft.meta(L4PROTO), to("sound"))
    yield rule("ip", denied)

    if touched.networks is None:
        yield rule("sound", accept)  # nothing is denied to anybody
    elif touched.networks:
        either = [groups.match(where[version], touched.networks, absent=True) for where in (DESTINATIONS, SOURCES)]
        yield rule("sound", *either[0], *either[1], accept)
    if version == 4:
        yield rule("sound", *fragment_bits(4, 0x1FFF), nft.differs(bytes(2)), to("part"))
    else:
        yield rule("sound", *fragment_bits(6, 0xFFF8), nft.differs(bytes(2)), to("part"))
    for protocol in (UDP, TCP):
        for where, offset in ((DESTINATIONS, 2), (SOURCES, 0)):
            server = (nft.load(nft.NETWORK, where[version], SIZES[version]), nft.lookup(SERVERS[version]))
            dns = (nft.load(nft.TRANSPORT, offset, 2), nft.equals(_DNS.to_bytes(2, "big")))
            yield rule("sound", *is_protocol(protocol), *dns, *server, to("pass"))
    for protocol, chain in ((TCP, "tcp"), (UDP, "udp"), (ICMP[version], "icmp")):
        yield rule("sound", *is_protocol(protocol), to(chain))
    yield rule("sound", to("other"))

    # The flags of TCP stand in the second eight bytes: no later fragment may bring others.
    again = (nft.equals(b"\0\1"),) if version == 4 else (nft.equals(b"\0\x08"),)
    yield rule("part", *is_protocol(TCP), *fragment_bits(version, 0x1FFF if version == 4 else 0xFFF8), *again, denied)
    yield rule("part", *keys.part(), nft.lookup(PARTS[version]), accept)
    yield rule("part", denied)

    flags = nft.load(nft.TRANSPORT, 13, 1)

    def has(*bits: int, among: int = 0) -> tuple[bytes, ...]:
        wanted = sum(bits)
        if among:
            return flags, nft.masked(bytes((among,))), nft.equals(bytes((wanted,)))
        return flags, nft.masked(bytes((wanted,))), nft.differs(b"\0")

    found = nft.lookup(FLOWS[version])
    yield rule("tcp", *has(_SYN, among=_SYN | _ACK), to("judge"))
    if not conntrack:
        for chain, swapped in (("known", False), ("answer", True)):
            key = keys.ports(swapped=swapped)
            yield rule("tcp", *key, found, to(chain))
            yield rule(chain, *has(_FIN, _RST), *key, nft.remember(FLOWS[version], CLOSING), to("pass"))
            yield rule(chain, *has(_SYN, _PSH), *key, nft.remember(FLOWS[version], ESTABLISHED), to("pass"))
            yield rule(chain, to("pass"))
    # Of a connection that nobody knows any more, or from before the first policy, the opener is the one with the high
    # port, if only one has one. To it applies what would apply if it opened the connection now.
    opener = (nft.load(nft.TRANSPORT, 0, 2), *nft.between(_HIGH.to_bytes(2, "big"), b"\xff\xff"))
    opened = (nft.load(nft.TRANSPORT, 2, 2), *nft.between(b"\0\0", (_HIGH - 1).to_bytes(2, "big")))
    yield rule("tcp", *opener, *opened, *has(_ACK), to("judge"))
    yield rule("tcp", denied)

    def refreshed(chain: str, key: tuple[bytes, ...], life: int, *first: bytes) -> nft.Rule:
        return rule(chain, *first, *key, found, nft.remember(FLOWS[version], life), to("pass"))

    if not conntrack:
        yield refreshed("udp", keys.ports(), LIVES[UDP])
        yield refreshed("udp", keys.ports(swapped=True), LIVES[UDP])
    yield rule("udp", ports, to("judge"))
    yield rule("udp", denied)

    request, reply = (bytes((each[version],)) for each in (_ECHO, _ECHO_REPLY))
    if not conntrack:
        yield refreshed("icmp", keys.echo(), LIVES["icmp"], kind, nft.equals(request))
        yield refreshed("icmp", keys.echo(swapped=True), LIVES["icmp"], kind, nft.equals(reply))
        for first, last in _ERRORS[version]:
            yield rule("icmp", kind, *nft.between(bytes((first,)), bytes((last,))), to("error"))
    # Neither an answer nor an error opens anything.
    for first, last in ((reply[0], reply[0]), *_ERRORS[version]):
        yield rule("icmp", kind, *nft.between(bytes((first,)), bytes((last,))), denied)
    yield rule("icmp", kind, nft.load(nft.TRANSPORT, 4, 2), to("judge"))
    yield rule("icmp", denied)

    if not conntrack:
        inner = ERROR_HEADER + PROTOCOLS[version]
        if version == 4:
            # Without options, and no later fragment.
            yield rule("error", nft.load(nft.TRANSPORT, ERROR_HEADER, 1), nft.differs(b"\x45"), denied)
            later = (nft.load(nft.TRANSPORT, ERROR_HEADER + 6, 2), nft.masked(b"\x1f\xff"), nft.differs(bytes(2)))
            yield rule("error", *later, denied)
        for protocol in (TCP, UDP):
            about = (nft.load(nft.TRANSPORT, inner, 1), nft.equals(bytes((protocol,))))
            for swapped in (False, True):
                yield rule("error", *about, *keys.quoted(swapped=swapped), found, to("pass"))
        echo = (nft.load(nft.TRANSPORT, inner, 1), nft.equals(bytes((ICMP[version],))))
        for number, swapped in ((request, False), (reply, True)):
            quoted = (nft.load(nft.TRANSPORT, ERROR_HEADER + HEADERS[version], 1), nft.equals(number))
            yield rule("error", *echo, *quoted, *keys.quoted_echo(swapped=swapped), found, to("pass"))
        for swapped in (False, True):
            yield rule("error", *keys.quoted_other(swapped=swapped), found, to("pass"))
        yield rule("error", denied)

        yield refreshed("other", keys.bare(), LIVES["other"])
        yield refreshed("other", keys.bare(swapped=True), LIVES["other"])
    yield rule("other", to("judge"))

    if not conntrack:
        yield rule("open", *is_protocol(TCP), *keys.ports(), nft.remember(FLOWS[version], OPENED), to("pass"))
        yield rule("open", *is_protocol(UDP), *keys.ports(), nft.remember(FLOWS[version], LIVES[UDP]), to("pass"))
        icmp = (*is_protocol(ICMP[version]), kind, nft.equals(request))
        yield rule("open", *icmp, *keys.echo(), nft.remember(FLOWS[version], LIVES["icmp"]), to("pass"))
        for protocol in (TCP, UDP):
            yield rule("open", *is_protocol(protocol), denied)
        yield rule("open", *keys.bare(), nft.remember(FLOWS[version], LIVES["other"]), to("pass"))
        yield rule("open", denied)
    else:
        yield rule("open", to("pass"))

    more = fragment_bits(version, 0x2000 if version == 4 else 0x0001)
    yield rule("pass", *more, nft.differs(bytes(2)), *keys.part(), nft.remember(PARTS[version], LIVES["icmp"]), accept)
    yield rule("pass", accept)


# --- the judgement ----------------------------------------------------------------------------------------------------


class _Touched(Struct, frozen=True):
    """The addresses that a denial may concern, as opener or as opened. `networks`: None: no one's; empty: anybody's."""

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
    """Source and destination of one kind; None: no flow of this kind matches."""
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
        target = nft.goto(f"open{version}" if rule.accept else "denied")
        for low, high in rule.ports or ((-1, -1),):
            wanted = nft.between(low.to_bytes(2, "big"), high.to_bytes(2, "big")) if low >= 0 else ()
            port = (nft.load(nft.TRANSPORT, 2, 2), *wanted) if wanted else ()
            yield nft.Rule(chain, (*matches, *port, target))
    yield nft.Rule(chain, (nft.goto(f"open{version}" if policy.accept_rest else "denied"),))


class _Groups:
    """Sets of addresses: one for each group that a rule names, whatever rule it is."""

    def __init__(self, version: int, kind: int) -> None:
        self._version, self._kind = version, kind
        self.sets: list[nft.Set] = []
        self.elements: dict[str, tuple[bytes, ...]] = {}
        self._names: dict[int, tuple[str, tuple[Network, ...]]] = {}
        """By identity, because to hash a thousand networks takes longer than to go through them."""

    def match(self, offset: int, networks: tuple[Network, ...], *, absent: bool = False) -> tuple[bytes, ...]:
        """The address at this place is (`absent`: is not) in one of these."""
        size = SIZES[self._version]
        address = nft.load(nft.NETWORK, offset, size)
        if len(networks) > 1:
            if id(networks) not in self._names:
                self._names[id(networks)] = self._name(networks), networks
            return address, nft.lookup(self._names[id(networks)][0], absent=absent)
        (only,) = networks
        compare = nft.differs if absent else nft.equals
        mask = () if only.prefixlen == 8 * size else (nft.masked(only.netmask.packed),)
        return (address, *mask, compare(only.network_address.packed))

    def _name(self, networks: Sequence[Network]) -> str:
        """The set of these. Its name says what is in it, so that one that stays as it is need not be touched."""
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
    """The first and last address of each stretch. Lone addresses next to each other stay apart, for a hash."""
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
