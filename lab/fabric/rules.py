"""The fabric's drop rules as nft text: cuts, loss and oversize packets, by entry port and exit port.

Pure. The rules are in the bridge's forward hook, where each copy of a broadcast passes with its own exit port, so a cut
includes ARP and multicast. A cut is one set of (entry, exit) pairs and is replaced in one transaction, so packets never
see half of a partition. A port is a cable of a host, so a host cannot evade a rule by another MAC or IP address.
Packets over a router enter and leave by that router's ports, so rules there use the hosts' own addresses, which a
forward hook sees in both directions (translation happens after it, and is undone before).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lab.fabric.plan import Underlay
from lab.fabric.translation import nat_rules
from lab.links import Link

CUT = "cut"
ROUTERS = "inet routers"
OBSTACLES = "obstacles"
LINKS = "links"
_L4 = {"icmp": "{ icmp, icmpv6 }"}
_FAMILIES = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
_SCALE = 1_000_000_000
"""Random loss draws an integer below this."""

Ports = Iterable[tuple[str, str]]
Obstruction = tuple[Sequence[str], str, int, int]
"""Ports or addresses of hosts, a protocol (or empty) and its port (0: all) to drop, an MTU (0: no limit)."""


class HookPoint(NamedTuple):
    """Where a table is attached, and how it identifies the sender and receiver of a packet."""

    table: str
    chain: str
    hook: str
    kind: str
    """Type of a set's elements."""
    match: str
    """The packet fields that are looked up in such a set."""


CUT_SENDERS = "cutfrom"
SENDERS = "oifname . ip saddr"
"""Identifies packets between hosts of different nodes of a topology, at the exit port to the receiver."""
FABRIC = HookPoint("bridge lab", "forward", "forward priority -200", "ifname . ifname", "iifname . oifname")


def base_rules(lines: Iterable[str], *, senders: bool = False) -> str:
    """The whole table of a lab without cuts, as one `nft -f` transaction. `lines`: the initial link rules. `senders`:
    of a topology."""
    text = table(FABRIC, lines)
    if not senders:
        return text
    return text.replace(
        f"  set {CUT} {{",
        f"  set {CUT_SENDERS} {{ type ifname . ipv4_addr; }}\n  set {CUT} {{",
    ).replace(f"    jump {LINKS}\n", f"    {SENDERS} @{CUT_SENDERS} counter drop\n    jump {LINKS}\n", 1)


def from_sender(address: str, port: str) -> str:
    """The element of `SENDERS` for packets from an address that leave by a port."""
    return f'"{port}" . {address}'


def table(place: HookPoint, lines: Iterable[str]) -> str:
    """A table without cuts, with these link rules, as one `nft -f` transaction."""
    body = "\n".join(
        [
            f"  set {CUT} {{ type {place.kind}; }}",
            f"  chain {OBSTACLES} {{ }}",
            *_chain(LINKS, lines),
            f"  chain {place.chain} {{",
            f"    type filter hook {place.hook}",
            f"    {place.match} @{CUT} counter drop",
            f"    jump {LINKS}",
            f"    jump {OBSTACLES}",
            "  }",
        ]
    )
    name = place.table
    return f"add table {name}\ndelete table {name}\ntable {name} {{\n{body}\n}}\n"


def replace_links(table: str, lines: Iterable[str]) -> str:
    """Replace the link rules by these, as one `nft -f` transaction."""
    return "".join([f"flush chain {table} {LINKS}\n", *(f"add rule {table} {LINKS} {line}\n" for line in lines)])


def link_drops(match: str, links: Iterable[tuple[Link, Sequence[str]]]) -> list[str]:
    """Rules that drop packets by these links' loss or MTU; for each link the elements that `match` looks up."""
    lines = []
    for name in ("mtu", "loss"):
        groups: dict[float, list[str]] = {}
        for link, elements in links:
            if (value := getattr(link, name)) and elements:
                groups.setdefault(value, []).extend(elements)
        for value, elements in groups.items():
            whose = f"{match} {{ {', '.join(elements)} }} "
            lines.append(
                f"meta length > {value} {whose}counter drop" if name == "mtu" else f"{whose}{_drawn(value)}counter drop"
            )
    return lines


def class_rules(classes: Mapping[tuple[str, str], int]) -> list[str]:
    """The rule that selects a packet's class at its exit port: (entry, exit) -> minor number."""
    if not classes:
        return []
    elements = ", ".join(f'"{entry}" . "{exit_}" : 1:{minor:x}' for (entry, exit_), minor in classes.items())
    return [f"meta priority set iifname . oifname map {{ {elements} }}"]


def _chain(name: str, lines: Iterable[str]) -> list[str]:
    return [f"  chain {name} {{", *(f"    {line}" for line in lines), "  }"]


def router_rules(underlay: Underlay, links: Iterable[str] = ()) -> str:
    """Routers' forwarding and address translation, as one `nft -f` transaction. `links`: their link rules.

    The fabric's namespace acts as all routers, so packets that no rule allows are dropped.
    """
    bridges = underlay.bridges
    forward = [f"    {family} saddr . {family} daddr @{CUT}{family} counter drop" for family in _FAMILIES]
    forward += [f"    jump {OBSTACLES}", f"    jump {LINKS}"]
    translating = [router for router in underlay.routers if router.nat and "udp" not in router.drop]
    own = {
        router.name: nat_rules(number, router, underlay.networks, bridges)
        for number, router in enumerate(translating)
        if not router.translation.linux
    }
    forward += [f"    {line}" for rules in own.values() for line in rules.forward]
    # If the kernel passes bridged frames to this table (br_netfilter), routers must ignore them.
    forward += [f'    iifname "{bridge}" oifname "{bridge}" accept' for bridge in bridges.values()]
    translate = [f"    {line}" for rules in own.values() for line in rules.after]
    for router in underlay.routers:
        networks = [network for network, _ in router.places]
        for source in networks:
            for target in networks:
                if source == target:
                    continue
                way = f'iifname "{bridges[source]}" oifname "{bridges[target]}"'
                forward += [f"    {way} meta l4proto {_L4.get(protocol, protocol)} drop" for protocol in router.drop]
                hidden = "ct state established,related " if target == router.nat else ""
                forward.append(f"    {way} {hidden}accept")
                if source == router.nat and router.name not in own:
                    # Not by masquerade, because it uses the first of all routers' addresses in that network.
                    outer = next(address for network, address in router.places if network == target)
                    translate.append(f"    {way} snat {family_of(outer)} to {outer}")
    sets = [f"  set {CUT}{family} {{ type {kind} . {kind}; }}" for family, kind in _FAMILIES.items()]
    sets += [f"  {line}" for rules in own.values() for line in rules.sets]
    lines = [
        f"table {ROUTERS} {{",
        *sets,
        f"  chain {OBSTACLES} {{ }}",
        *_chain(LINKS, links),
        "  chain forward {",
        "    type filter hook forward priority 0; policy drop",
    ]
    lines += [*forward, "  }", "  chain translate {", "    type nat hook postrouting priority 100"]
    lines += [*translate, "  }"]
    if own:
        before = [line for rules in own.values() for line in rules.before]
        known = [line for rules in own.values() for line in rules.known]
        lines += _chain("before", ["type nat hook prerouting priority -100", *before])
        lines += _chain("known", ["type filter hook postrouting priority 200", *known])
    return "\n".join([*lines, "}"]) + "\n"


def routed_drops(links: Iterable[tuple[Link, Sequence[tuple[str, str]]]]) -> list[str]:
    """The rules of `link_drops` for packets over routers: for each link its (sender's, receiver's) addresses."""
    listed = list(links)
    return [
        line
        for family in _FAMILIES
        for line in link_drops(
            f"{family} saddr . {family} daddr",
            [
                (link, [f"{one} . {other}" for one, other in pairs if family_of(one) == family])
                for link, pairs in listed
            ],
        )
    ]


def _drawn(loss: float) -> str:
    """A match that is true with this probability."""
    threshold = round(loss * _SCALE)
    return f"numgen random mod {_SCALE} < {threshold} " if threshold < _SCALE else ""


def cut_rules(pairs: Ports, at_routers: Ports | None = None) -> str:
    """Cut exactly these (entry, exit) pairs, and at routers, if there are any, these pairs of addresses."""
    text = replace_cut(FABRIC, port_pairs(pairs))
    if at_routers is not None:
        listed = list(at_routers)
        for family in _FAMILIES:
            own = [" . ".join(pair) for pair in listed if [family_of(one) for one in pair] == [family, family]]
            text += _replace(f"{ROUTERS} {CUT}{family}", own)
    return text


def cut_senders(elements: Iterable[str]) -> str:
    """Cut exactly these (exit port, address of the sender), as part of a transaction."""
    return _replace(f"{FABRIC.table} {CUT_SENDERS}", elements)


def replace_cut(place: HookPoint, elements: Iterable[str]) -> str:
    """Cut exactly these elements, as one `nft -f` transaction."""
    return _replace(f"{place.table} {CUT}", elements)


def obstacle_rules(
    obstacles: Iterable[tuple[Sequence[str], str, int, int]],
    at_routers: Iterable[tuple[Sequence[str], str, int, int]] | None = None,
) -> str:
    """Drop exactly these, as one `nft -f` transaction: (hosts' ports, protocol or "", its port or 0, MTU or 0).

    `at_routers`: the same with hosts' addresses, for the routers if there are any.
    """
    among = []
    for ports, protocol, port, mtu in obstacles:
        names = "{ " + ", ".join(f'"{name}"' for name in ports) + " }"
        among.append((f"iifname {names} oifname {names}", protocol, port, mtu))
    text = replace_obstacles(FABRIC.table, among)
    if at_routers is not None:
        ways = []
        for addresses, protocol, port, mtu in at_routers:
            for family in _FAMILIES:
                own = [address for address in addresses if family_of(address) == family]
                names = "{ " + ", ".join(own) + " }"
                ways += [(f"{family} saddr {names} {family} daddr {names}", protocol, port, mtu)] if own else []
        text += replace_obstacles(ROUTERS, ways)
    return text


def obstacles_by_sender(obstacles: Iterable[tuple[Obstruction, Obstruction]]) -> str:
    """Rules to append to those of `obstacle_rules`, for hosts of a topology's nodes, which are identified by the exit
    port and the sender's address. For each obstacle: with the hosts' ports, and with their addresses."""
    lines = []
    for (ports, protocol, port, mtu), (addresses, *_) in obstacles:
        names = "{ " + ", ".join(f'"{name}"' for name in ports) + " }"
        whose = f"oifname {names} ip saddr {{ {', '.join(addresses)} }}"
        lines.append(f"add rule {FABRIC.table} {OBSTACLES} {whose} {_dropped(protocol, port, mtu)}\n")
    return "".join(lines)


def replace_obstacles(table: str, obstacles: Iterable[tuple[str, str, int, int]]) -> str:
    """Drop exactly these, as one `nft -f` transaction: (match of the packets, protocol, its port or 0, MTU or 0)."""
    lines = [f"flush chain {table} {OBSTACLES}"]
    lines += [
        f"add rule {table} {OBSTACLES} {whose} {_dropped(protocol, port, mtu)}"
        for whose, protocol, port, mtu in obstacles
    ]
    return "\n".join(lines) + "\n"


def _dropped(protocol: str, port: int, mtu: int) -> str:
    if mtu:
        return f"meta length > {mtu} counter drop"
    return f"{protocol} dport {port} counter drop" if port else f"meta l4proto {protocol} counter drop"


def _replace(where: str, elements: Iterable[str]) -> str:
    listed = ", ".join(elements)
    return f"flush set {where}\n" + (f"add element {where} {{ {listed} }}\n" if listed else "")


def family_of(address: str) -> str:
    """The nft family of an address."""
    return "ip6" if ":" in address else "ip"


def port_pairs(ports: Ports) -> list[str]:
    """These pairs of ports as set elements."""
    return [f'"{entry}" . "{exit_}"' for entry, exit_ in ports]
