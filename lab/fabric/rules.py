"""What the fabric drops, as nft text: cuts, loss and oversize packets, by port of entry and port of exit.

Pure. The rules hang at the bridge's forward hook, where each copy of a broadcast passes with its own port of exit,
so a cut takes ARP and multicast with it. A cut is one set of (entry, exit) pairs and is replaced in one transaction:
no packet ever sees half of a partition. A port is a cable of a host, so a host cannot get around a rule by another
MAC or IP address. What goes over a router enters and leaves by that router's ports, so there the same holds by the
hosts' own addresses, which a forward hook sees in both directions (translation comes after it, and is undone before).
"""

from collections.abc import Iterable, Mapping, Sequence

from lab.fabric.plan import Interface, Underlay, ports_between
from lab.links import Link, Links

TABLE = "bridge lab"
CUT = "cut"
ROUTERS = "inet routers"
OBSTACLES = "obstacles"
_L4 = {"icmp": "{ icmp, icmpv6 }"}
_FAMILIES = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
_SCALE = 1_000_000_000
"""Loss is drawn as an integer below this."""

Ports = Iterable[tuple[str, str]]


def base_rules(everyone: Mapping[str, Sequence[Interface]], links: Links) -> str:
    """The whole table of a lab with nothing cut, as one `nft -f` transaction."""
    sets = [f"  set {CUT} {{ type ifname . ifname; }}"]
    rules = [f"    iifname . oifname @{CUT} counter drop"]
    for number, (mtu, pairs) in enumerate(_grouped(everyone, links, "mtu").items()):
        sets.append(_named_set(f"mtu{number}", pairs))
        rules.append(f"    meta length > {mtu} iifname . oifname @mtu{number} counter drop")
    for number, (loss, pairs) in enumerate(_grouped(everyone, links, "loss").items()):
        threshold = round(float(loss) * _SCALE)
        draw = f"numgen random mod {_SCALE} < {threshold}" if threshold < _SCALE else ""
        sets.append(_named_set(f"loss{number}", pairs))
        rules.append(f"    iifname . oifname @loss{number} {draw} counter drop")
    if classes := class_map(everyone, links):
        elements = ", ".join(f'"{entry}" . "{exit_}" : 1:{minor:x}' for (entry, exit_), minor in classes.items())
        sets.append(f"  map classes {{ type ifname . ifname : classid; elements = {{ {elements} }} }}")
        rules.append("    meta priority set iifname . oifname map @classes")
    rules.append(f"    jump {OBSTACLES}")
    body = "\n".join(
        [
            *sets,
            f"  chain {OBSTACLES} {{ }}",
            "  chain forward {",
            "    type filter hook forward priority -200",
            *rules,
            "  }",
        ]
    )
    return f"add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{body}\n}}\n"


def router_rules(underlay: Underlay) -> str:
    """What routers pass on and whose addresses they translate, as one `nft -f` transaction.

    The fabric's namespace is all routers at once, so that what is not said passes nowhere.
    """
    bridges = underlay.bridges
    forward = [f"    {family} saddr . {family} daddr @{CUT}{family} counter drop" for family in _FAMILIES]
    forward.append(f"    jump {OBSTACLES}")
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
    sets = [f"  set {CUT}{family} {{ type {kind} . {kind}; }}" for family, kind in _FAMILIES.items()]
    lines = [
        f"table {ROUTERS} {{",
        *sets,
        f"  chain {OBSTACLES} {{ }}",
        "  chain forward {",
        "    type filter hook forward priority 0; policy drop",
    ]
    lines += [*forward, "  }", "  chain translate {", "    type nat hook postrouting priority 100"]
    return "\n".join([*lines, *translate, "  }", "}"]) + "\n"


def cut_rules(pairs: Ports, routed: Ports | None = None) -> str:
    """Cut exactly these (entry, exit) pairs, and at routers, if there are any, these pairs of addresses."""
    lines = [
        f"flush set {TABLE} {CUT}",
        *_elements(f"{TABLE} {CUT}", [(f'"{one}"', f'"{other}"') for one, other in pairs]),
    ]
    if routed is not None:
        listed = list(routed)
        for family in _FAMILIES:
            own = [pair for pair in listed if [_family(address) for address in pair] == [family, family]]
            lines += [f"flush set {ROUTERS} {CUT}{family}", *_elements(f"{ROUTERS} {CUT}{family}", own)]
    return "\n".join(lines) + "\n"


def obstacle_rules(
    obstacles: Iterable[tuple[Sequence[str], str, int, int]],
    routed: Iterable[tuple[Sequence[str], str, int, int]] | None = None,
) -> str:
    """Drop exactly these, as one `nft -f` transaction: (hosts' ports, protocol or "", its port or 0, MTU or 0).

    `routed`: the same with hosts' addresses, for the routers if there are any.
    """
    lines = [f"flush chain {TABLE} {OBSTACLES}"]
    for ports, protocol, port, mtu in obstacles:
        names = "{ " + ", ".join(f'"{name}"' for name in ports) + " }"
        lines.append(f"add rule {TABLE} {OBSTACLES} iifname {names} oifname {names} {_dropped(protocol, port, mtu)}")
    if routed is not None:
        lines.append(f"flush chain {ROUTERS} {OBSTACLES}")
        for addresses, protocol, port, mtu in routed:
            for family in _FAMILIES:
                own = [address for address in addresses if _family(address) == family]
                names = "{ " + ", ".join(own) + " }"
                way = f"{family} saddr {names} {family} daddr {names}"
                lines += [f"add rule {ROUTERS} {OBSTACLES} {way} {_dropped(protocol, port, mtu)}"] if own else []
    return "\n".join(lines) + "\n"


def _dropped(protocol: str, port: int, mtu: int) -> str:
    if mtu:
        return f"meta length > {mtu} counter drop"
    return f"{protocol} dport {port} counter drop" if port else f"meta l4proto {protocol} counter drop"


def _elements(where: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    elements = ", ".join(f"{one} . {other}" for one, other in pairs)
    return [f"add element {where} {{ {elements} }}"] if elements else []


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


def _grouped(
    everyone: Mapping[str, Sequence[Interface]], links: Links, name: str
) -> dict[float, list[tuple[str, str]]]:
    """Value of a parameter -> the (entry, exit) pairs that have it, in order; perfect ones left out."""
    groups: dict[float, list[tuple[str, str]]] = {}
    for sender, receiver, link in links.impaired(list(everyone)):
        if value := getattr(link, name):
            groups.setdefault(value, []).extend(ports_between(everyone, sender, receiver))
    return {value: pairs for value, pairs in groups.items() if pairs}


def _named_set(name: str, pairs: Ports) -> str:
    elements = ", ".join(f'"{entry}" . "{exit_}"' for entry, exit_ in pairs)
    return f"  set {name} {{ type ifname . ifname; elements = {{ {elements} }} }}"
