"""Cuts of many directions: hosts that reach the same others are one class, and each class is one rule.

Pure. A cut between two halves of n hosts has n²/2 directions, which as elements of one set took nft seconds; by classes
it takes n elements. `rules.cut_rules` is the reference, which small cuts and cuts at routers use.
"""

from collections.abc import Iterable, Mapping, Sequence

from lab.fabric import rules
from lab.fabric.plan import Interface

__all__ = ["MANY", "class_rules", "targets"]

MANY = 2000
"""Cuts of more directions are made by classes."""
_MAP = "cutclasses"
"""Entry port -> the chain of its class."""


def targets(pairs: Iterable[tuple[str, str]], everyone: Mapping[str, Sequence[Interface]]) -> dict[str, frozenset[str]]:
    """Entry port -> the exit ports that it does not reach, for these (sender, receiver)."""
    receivers: dict[str, set[str]] = {}
    for sender, receiver in pairs:
        receivers.setdefault(sender, set()).add(receiver)
    exits: dict[tuple[str, frozenset[str]], frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for sender in sorted(receivers):
        others = frozenset(receivers[sender])
        for source in everyone[sender]:
            key = source.network, others
            if key not in exits:
                listed = (one for name in others for one in everyone[name])
                exits[key] = frozenset(one.port for one in listed if one.network == source.network)
            if exits[key]:
                found[source.port] = exits[key]
    return found


def class_rules(targets: Mapping[str, frozenset[str]], known: int) -> tuple[str, int]:
    """The same cut as one `nft -f` transaction with a rule for each class of senders, and the number of classes.

    `targets`: entry port -> the exit ports that it does not reach. Senders with equal targets are one class, so a cut
    between two halves of n hosts takes n elements and not n². `known`: the number of classes that the table has
    already; their chains stay, because removing a chain in the transaction that empties its map is not safe on all
    kernels.
    """
    classes = {exits: number for number, exits in enumerate(dict.fromkeys(targets.values()))}
    lines = []
    if not known:
        lines.append(f"add map {rules.FABRIC.table} {_MAP} {{ type ifname : verdict; }}")
        lines.append(f"insert rule {rules.FABRIC.table} {rules.FABRIC.chain} iifname vmap @{_MAP}")
    lines.append(f"flush map {rules.FABRIC.table} {_MAP}")
    for number in range(max(known, len(classes))):
        lines += [
            f"add chain {rules.FABRIC.table} {rules.CUT}{number}",
            f"flush chain {rules.FABRIC.table} {rules.CUT}{number}",
        ]
    for exits, number in classes.items():
        names = ", ".join(f'"{port}"' for port in sorted(exits))
        lines.append(f"add rule {rules.FABRIC.table} {rules.CUT}{number} oifname {{ {names} }} counter drop")
    if classes:
        elements = ", ".join(f'"{entry}" : jump {rules.CUT}{classes[exits]}' for entry, exits in targets.items())
        lines.append(f"add element {rules.FABRIC.table} {_MAP} {{ {elements} }}")
    return "\n".join(lines) + "\n", max(known, len(classes), 1)
