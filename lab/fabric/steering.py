"""How frames get to the relay: by a mark that a rule sets, at their exit port.

Pure: text for `ip`, `tc` and `nft`. The rule is in the same chain as the drop rules, after them, so a frame of a
direction that is cut or obstructed never gets here, and each copy of a broadcast is steered by its own port. A frame
with a mark goes to a bridge without ports, where the relay's packet socket reads it before the bridge drops it. So
without a relay, no frame passes.
"""

from collections.abc import Mapping

__all__ = ["PROGRAM", "SINK", "mark_addresses", "mark_elements", "mark_ports", "sink_commands", "steer_commands"]

SINK = "relay0"
PROGRAM = "4,32 0 0 4294963220,21 0 1 0,6 0 0 0,6 0 0 4294967295"
"""Classic BPF: whether the packet has a mark (SKF_AD_MARK)."""


def sink_commands() -> str:
    """For `ip -batch` in the fabric: the device."""
    return (
        f"link add {SINK} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
        f"link set {SINK} addrgenmode none\nlink set {SINK} up\n"
    )


def steer_commands(port: str) -> str:
    """For `tc -batch` in the fabric: redirect packets with a mark at this port."""
    return (
        f"qdisc replace dev {port} clsact\n"
        f'filter replace dev {port} egress pref 1 handle 1 protocol all bpf bytecode "{PROGRAM}" '
        f"action mirred egress redirect dev {SINK}\n"
    )


def mark_ports(marks: Mapping[tuple[str, str], int]) -> list[str]:
    """nft rules for the bridge: (entry port, exit port) -> mark."""
    if not marks:
        return []
    return mark_elements("iifname . oifname", {f'"{one}" . "{other}"': mark for (one, other), mark in marks.items()})


def mark_elements(match: str, marks: Mapping[str, int]) -> list[str]:
    """nft rules: elements that `match` looks up -> mark."""
    if not marks:
        return []
    elements = ", ".join(f"{element} : {mark}" for element, mark in marks.items())
    return [f"meta mark set {match} map {{ {elements} }}"]


def mark_addresses(marks: Mapping[tuple[str, str], int]) -> list[str]:
    """nft rules for the routers: (address of the sender, of the receiver) -> mark."""
    rules = []
    for family in ("ip", "ip6"):
        own = {pair: mark for pair, mark in marks.items() if (":" in pair[0]) == (family == "ip6")}
        if own:
            elements = ", ".join(f"{source} . {target} : {mark}" for (source, target), mark in own.items())
            rules.append(f"meta mark set {family} saddr . {family} daddr map {{ {elements} }}")
    return rules
