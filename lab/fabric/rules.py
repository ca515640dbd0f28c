"""What the fabric drops, as nft text: cuts, loss and oversize packets, by port of entry and port of exit.

Pure. The rules hang at the bridge's forward hook, where each copy of a broadcast passes with its own port of exit,
so a cut takes ARP and multicast with it. A cut is one set of (entry, exit) pairs and is replaced in one transaction:
no packet ever sees half of a partition. A port is a cable of a host, so a host cannot get around a rule by another
MAC or IP address. What goes over a router enters and leaves by that router's ports, so there the same holds by the
hosts' own addresses, which a forward hook sees in both directions (translation comes after it, and is undone before).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from lab.fabric.plan import Interface, Underlay, ports_between, routed
from lab.links import Link, Links

CUT = "cut"
ROUTERS = "inet routers"
OBSTACLES = "obstacles"
_L4 = {"icmp": "{ icmp, icmpv6 }"}
_FAMILIES = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
_SCALE = 1_000_000_000
"""Loss is drawn as an integer below this."""

Ports = Iterable[tuple[str, str]]
Direction = Callable[[str, str], Iterable[str]]
"""(sender, receiver) -> the elements of a set that stand for this direction."""


class HookPoint(NamedTuple):
    """Where a table hangs, and by what it tells who a packet is from and for."""

    table: str
    chain: str
    hook: str
    kind: str
    """Type of a set's elements."""
    match: str
    """What of a packet is looked up in such a set."""


FABRIC = HookPoint("bridge lab", "forward", "forward priority -200", "ifname . ifname", "iifname . oifname")


def base_rules(
    everyone: Mapping[str, Sequence[Interface]], links: Links, classes: Mapping[tuple[str, str], int]
) -> str:
    """The whole table of a lab with nothing cut, as one `nft -f` transaction. `classes`: `class_map` of them all."""
    sets, rules = [], []
    if classes:
        elements = ", ".join(f'"{entry}" . "{exit_}" : 1:{minor:x}' for (entry, exit_), minor in classes.items())
        sets.append(f"  map classes {{ type ifname . ifname : classid; elements = {{ {elements} }} }}")
        rules.append("    meta priority set iifname . oifname map @classes")

    def direction(sender: str, receiver: str) -> Iterable[str]:
        return _pairs(ports_between(everyone, sender, receiver))

    return table(FABRIC, list(everyone), links, direction, sets, rules)


def table(
    place: HookPoint,
    hosts: Sequence[str],
    links: Links,
    direction: Direction,
    more_sets: Sequence[str] = (),
    more_rules: Sequence[str] = (),
) -> str:
    """A table with nothing cut that drops what these links drop, as one `nft -f` transaction."""
    sets = [f"  set {CUT} {{ type {place.kind}; }}"]
    rules = [f"    {place.match} @{CUT} counter drop"]
    for number, (mtu, elements) in enumerate(_grouped(hosts, links, "mtu", direction).items()):
        sets.append(_named_set(place, f"mtu{number}", elements))
        rules.append(f"    meta length > {mtu} {place.match} @mtu{number} counter drop")
    for number, (loss, elements) in enumerate(_grouped(hosts, links, "loss", direction).items()):
        sets.append(_named_set(place, f"loss{number}", elements))
        rules.append(f"    {place.match} @loss{number} {_drawn(loss)}counter drop")
    body = "\n".join(
        [
            *sets,
            *more_sets,
            f"  chain {OBSTACLES} {{ }}",
            f"  chain {place.chain} {{",
            f"    type filter hook {place.hook}",
            *rules,
            *more_rules,
            f"    jump {OBSTACLES}",
            "  }",
        ]
    )
    name = place.table
    return f"add table {name}\ndelete table {name}\ntable {name} {{\n{body}\n}}\n"


def router_rules(underlay: Underlay) -> str:
    """What routers pass on and whose addresses they translate, as one `nft -f` transaction.

    The fabric's namespace is all routers at once, so that what is not said passes nowhere.
    """
    bridges = underlay.bridges
    forward = [f"    {family} saddr . {family} daddr @{CUT}{family} counter drop" for family in _FAMILIES]
    forward.append(f"    jump {OBSTACLES}")
    links, named = _routed_links(underlay)
    forward += links
    # Where the kernel shows bridged frames to this table (br_netfilter), they are none of the routers' business.
    forward += [f'    iifname "{bridge}" oifname "{bridge}" accept' for bridge in bridges.values()]
    translate = []
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
                if source == router.nat:
                    translate.append(f"    {way} masquerade")
    sets = [f"  set {CUT}{family} {{ type {kind} . {kind}; }}" for family, kind in _FAMILIES.items()] + named
    lines = [
        f"table {ROUTERS} {{",
        *sets,
        f"  chain {OBSTACLES} {{ }}",
        "  chain forward {",
        "    type filter hook forward priority 0; policy drop",
    ]
    lines += [*forward, "  }", "  chain translate {", "    type nat hook postrouting priority 100"]
    return "\n".join([*lines, *translate, "  }", "}"]) + "\n"


def _routed_links(underlay: Underlay) -> tuple[list[str], list[str]]:
    """Rules and the sets that they name: loss and oversize packets from one host to another, by their addresses."""
    groups: dict[tuple[str, str], list[str]] = {}
    for sender, receiver, link in routed(underlay):
        for _, source in underlay.hosts[sender]:
            for _, target in underlay.hosts[receiver]:
                if (family := _family(source)) == _family(target):
                    for drop in _link_drops(link):
                        groups.setdefault((family, drop), []).append(f"{source} . {target}")
    rules, sets = [], []
    for number, ((family, drop), pairs) in enumerate(groups.items()):
        kind = _FAMILIES[family]
        sets.append(f"  set link{number} {{ type {kind} . {kind}; elements = {{ {', '.join(pairs)} }} }}")
        rules.append(f"    {family} saddr . {family} daddr @link{number} {drop}")
    return rules, sets


def _link_drops(link: Link) -> list[str]:
    drops = [_dropped("", 0, link.mtu)] if link.mtu else []
    return [*drops, f"{_drawn(link.loss)}counter drop"] if link.loss else drops


def _drawn(loss: float) -> str:
    """What chooses a packet with this probability."""
    threshold = round(loss * _SCALE)
    return f"numgen random mod {_SCALE} < {threshold} " if threshold < _SCALE else ""


def cut_rules(pairs: Ports, at_routers: Ports | None = None) -> str:
    """Cut exactly these (entry, exit) pairs, and at routers, if there are any, these pairs of addresses."""
    text = replace_cut(FABRIC, _pairs(pairs))
    if at_routers is not None:
        listed = list(at_routers)
        for family in _FAMILIES:
            own = [" . ".join(pair) for pair in listed if [_family(one) for one in pair] == [family, family]]
            text += _replace(f"{ROUTERS} {CUT}{family}", own)
    return text


def replace_cut(place: HookPoint, elements: Iterable[str]) -> str:
    """Cut exactly these, as one `nft -f` transaction."""
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
                own = [address for address in addresses if _family(address) == family]
                names = "{ " + ", ".join(own) + " }"
                ways += [(f"{family} saddr {names} {family} daddr {names}", protocol, port, mtu)] if own else []
        text += replace_obstacles(ROUTERS, ways)
    return text


def replace_obstacles(table: str, obstacles: Iterable[tuple[str, str, int, int]]) -> str:
    """Drop exactly these, as one `nft -f` transaction: (match of whose packets, protocol, its port or 0, MTU or 0)."""
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


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"


def class_map(everyone: Mapping[str, Sequence[Interface]], links: Links) -> dict[tuple[str, str], int]:
    """(entry, exit) -> minor number of the queue at the port of exit, for links that hold packets back."""
    numbers = {host: number for number, host in enumerate(everyone)}
    return {
        ports: 2 + numbers[sender]
        for sender, receiver, link in links.impaired(list(everyone))
        if queued(link)
        for ports in ports_between(everyone, sender, receiver)
    }


def queued(link: Link) -> bool:
    """Whether a link needs a queue of its own, beyond rules that drop."""
    return bool(link.rate or link.timed)


def _grouped(hosts: Sequence[str], links: Links, name: str, direction: Direction) -> dict[float, list[str]]:
    """Value of a parameter -> the elements of the directions that have it, in order; perfect ones left out."""
    groups: dict[float, list[str]] = {}
    for sender, receiver, link in links.impaired(hosts):
        if value := getattr(link, name):
            groups.setdefault(value, []).extend(direction(sender, receiver))
    return {value: elements for value, elements in groups.items() if elements}


def _pairs(ports: Ports) -> list[str]:
    return [f'"{entry}" . "{exit_}"' for entry, exit_ in ports]


def _named_set(place: HookPoint, name: str, elements: Iterable[str]) -> str:
    return f"  set {name} {{ type {place.kind}; elements = {{ {', '.join(elements)} }} }}"
