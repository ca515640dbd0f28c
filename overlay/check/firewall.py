"""The host's packet filter for bridged frames: the chain FORWARD of iptables."""

import shlex
from collections.abc import Iterator

from overlay.check.facts import Facts, Forward
from overlay.check.finding import Finding, fine, unseen, wrong
from overlay.datapath.vxlan import BRIDGE

__all__ = ["firewall"]

_ENDS = ("DROP", "REJECT")


def firewall(facts: Facts) -> Iterator[Finding]:
    """Frames between containers of this host pass."""
    if problem := facts.driver.get("filter"):
        yield wrong(
            f"the router cannot set the packet filter: {problem}",
            "rules that let the overlay's frames pass",
            "`weave status` says the same as long as it lasts; once mended, the router sets them by itself",
        )
    host = facts.host
    if host is None:
        yield unseen("a simulated host has no packet filter")
        return
    if host.forward_problem:
        yield unseen(host.forward_problem)
        return
    bad = [each for each in map(_judge, host.forward) if each is not None]
    yield from bad
    if not bad and not facts.driver.get("filter"):
        yield fine(", ".join(map(_told, host.forward)) or "no iptables on this host")


def _told(forward: Forward) -> str:
    if not forward.called:
        return f"{forward.command} does not see bridged frames"
    if not forward.filters:
        return f"{forward.command} FORWARD accepts all"
    return f"{forward.command} FORWARD lets the overlay's frames pass"


def _judge(forward: Forward) -> Finding | None:
    if not (forward.called and forward.filters):
        return None
    dropping = f"policy {forward.policy}" if forward.policy == "DROP" else "rules of others"
    if not forward.jumps:
        return wrong(
            f"{forward.command} FORWARD drops frames between containers ({dropping}): the jump to chain WEAVE is gone",
            "`-A FORWARD -j WEAVE` before what drops",
            "`weave launch`; a router that runs mends it within some seconds: `weave status` says so",
        )
    jump = "-A FORWARD -j WEAVE"
    for rule in forward.rules:
        if rule == jump:
            return None
        if _stops(rule):
            return wrong(
                f"{forward.command}: a rule before the jump to chain WEAVE drops frames between containers: {rule}",
                f"`{jump}` first",
                f"`{forward.command} -D FORWARD -j WEAVE`, then `{forward.command} -I FORWARD -j WEAVE`",
            )
    return None


def _stops(rule: str) -> bool:
    """Whether this rule drops all frames between two ports of the bridge: its only conditions are interfaces of the
    bridge."""
    words = shlex.split(rule)
    at = 2
    while at + 1 < len(words):
        word, value = words[at], words[at + 1]
        if word == "-j":
            return value in _ENDS
        if word not in ("-i", "-o") or not _is_bridge(value):
            return False
        at += 2
    return False


def _is_bridge(interface: str) -> bool:
    """Whether iptables' interface pattern matches the bridge; a `+` at its end matches any suffix."""
    return BRIDGE.startswith(interface[:-1]) if interface.endswith("+") else interface == BRIDGE
