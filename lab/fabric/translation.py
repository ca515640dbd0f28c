"""Routers' address translation as nft text, for behaviours that the kernel's masquerade lacks. Pure.

Maps hold the mappings of RFC 4787: a hidden host's address and port -> the router's port. The first packet creates a
mapping in the forward hook, and each packet renews it; a rule after the translation stores the reverse mapping. A set
holds the remotes that a mapping lets in. Names end with the router's index. Only for UDP over IPv4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.fabric.plan import FabricRouter
from lab.translation import Translation

__all__ = ["NatRules", "nat_rules", "unfit"]

_SECOND = 1_000_000_000
_LIFETIME = 120
_SEEN = {
    "address-dependent": ("ipv4_addr . inet_service . ipv4_addr", "ip daddr", "ip saddr"),
    "address-and-port-dependent": (
        "ipv4_addr . inet_service . ipv4_addr . inet_service",
        "ip daddr . udp dport",
        "ip saddr . udp sport",
    ),
}
"""Filtering -> (type of the set, the field of outgoing packets that is stored, the field of incoming ones that is
looked up)."""


@dataclass(frozen=True, slots=True)
class NatRules:
    """Lines for each chain of the routers' table."""

    sets: tuple[str, ...] = ()
    forward: tuple[str, ...] = ()
    """Rules before all others for packets between networks."""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


def unfit(translation: Translation, networks: Mapping[str, str], hidden: str) -> str:
    """Why real routers do not support this translation; empty when they do."""
    pair = translation.mapping, translation.filtering
    if translation.mapping == "endpoint-independent" or translation.linux:
        pass
    elif pair != ("address-and-port-dependent", "address-and-port-dependent"):
        return (
            f"nft has no {pair[0]} mapping with {pair[1]} filtering: it can do the kinds full-cone, restricted-cone, "
            "port-restricted-cone and symmetric; use one of these, or sim"
        )
    if not translation.linux and ":" in networks[hidden]:
        return "kinds of translation are for IPv4 on real routers; leave `kind` out, or use sim"
    return ""


def nat_rules(number: int, router: FabricRouter, networks: Mapping[str, str], bridges: Mapping[str, str]) -> NatRules:
    """The rules of one router that hides a network with its own kind of translation."""
    kind, inner = router.translation, bridges[router.nat]
    outside = [(bridges[network], address) for network, address in router.places if network != router.nat]
    if kind.mapping != "endpoint-independent":
        symmetric = tuple(
            f'iifname "{inner}" oifname "{outer}" snat ip to {address} fully-random' for outer, address in outside
        )
        return NatRules(after=symmetric)
    out, host, port, met = (f"{name}{number}" for name in ("out", "inhost", "inport", "met"))
    flags = f"flags dynamic,timeout; timeout {kind.timeout // _SECOND or _LIFETIME}s; size 65535;"
    sets = [
        f"map {out} {{ type ipv4_addr . inet_service : inet_service; {flags} }}",
        f"map {host} {{ type inet_service : ipv4_addr; {flags} }}",
        f"map {port} {{ type inet_service : inet_service; {flags} }}",
    ]
    seen = _SEEN.get(kind.filtering)
    leaves = [f"update @{out} {{ ip saddr . udp sport : numgen inc mod 20000 offset 40000 }}"]
    allowed = ""
    if seen is not None:
        sets.append(f"set {met} {{ type {seen[0]}; {flags} }}")
        leaves.append(f"update @{met} {{ ip saddr . udp sport . {seen[1]} }}")
        allowed = f"ip daddr . udp dport . {seen[2]} @{met} "
    forward, before, after, known = [], [], [], []
    for outer, address in outside:
        way, back = f'iifname "{inner}" oifname "{outer}"', f'iifname "{outer}" oifname "{inner}"'
        forward += [f"{way} meta l4proto udp {line}" for line in leaves]
        forward.append(f"{back} meta l4proto udp ct status dnat {allowed}accept")
        enters = f"ip daddr {address} meta l4proto udp"
        enters = enters if kind.hairpin else f'iifname "{outer}" {enters}'
        before.append(f"{enters} dnat ip to udp dport map @{host} : udp dport map @{port}")
        after.append(f"{way} meta l4proto udp snat ip to {address} : ip saddr . udp sport map @{out}")
        after.append(f"{way} snat ip to {address}")
        ways = [way]
        if kind.hairpin:
            # With br_netfilter such a frame is bridged once its address is translated, and cannot enter after that.
            turn = (
                f'oifname "{inner}" meta l4proto udp ct status dnat '
                f"ct original ip saddr {networks[router.nat]} ct original ip daddr {address}"
            )
            forward += [f"{turn} {line}" for line in leaves]
            forward += [f"{turn} {allowed}accept", f"{turn} ct direction original drop"]
            after.append(f"{turn} snat ip to {address} : ip saddr . udp sport map @{out}")
            ways.append(turn)
        for which in ways:
            for direction in ("original", "reply"):
                known.append(
                    f"{which} meta l4proto udp ip saddr {address} ct direction {direction} "
                    f"update @{host} {{ udp sport : ct {direction} ip saddr }} "
                    f"update @{port} {{ udp sport : ct {direction} proto-src }}"
                )
    return NatRules(tuple(sets), tuple(forward), tuple(before), tuple(after), tuple(known))
