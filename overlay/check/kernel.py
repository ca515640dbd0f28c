"""The kernel and its settings. Features were tried in a scratch namespace, not looked up."""

from collections.abc import Iterator

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, note, unseen, wrong

__all__ = ["kernel", "settings"]

_FORWARD4 = "net.ipv4.ip_forward"
_STRICT = "1"


def kernel(facts: Facts) -> Iterator[Finding]:
    """Bridge, VXLAN, veth, nftables, WireGuard."""
    host = facts.host
    if host is None:
        yield unseen("a simulated host has no kernel")
        return
    if host.kernel_problem:
        yield unseen(host.kernel_problem)
        return
    for feature in host.kernel:
        if feature.problem and feature.needed:
            yield wrong(feature.problem, f"a kernel with {feature.name}", _remedy(feature.problem))
        elif feature.problem and facts.mesh.get("encrypted"):
            yield note(feature.problem)
    there = [feature.name for feature in host.kernel if not feature.problem]
    if not any(feature.problem and feature.needed for feature in host.kernel):
        yield fine(f"has {', '.join(there)}")


def _remedy(problem: str) -> str:
    """The part of the router's own message with the remedy."""
    return problem.rpartition(": ")[2]


def settings(facts: Facts) -> Iterator[Finding]:
    """The settings in /proc/sys that the overlay depends on."""
    host = facts.host
    if host is None:
        yield unseen("a simulated host has no /proc/sys")
        return
    seen = host.settings
    wanted = 0
    if exposed(facts) and seen.get(_FORWARD4) == "0":
        wanted += 1
        yield wrong(
            f"{_FORWARD4} is 0, and this host is exposed: it passes nothing on between the overlay and others",
            f"{_FORWARD4} = 1",
            f"`sysctl -w {_FORWARD4}=1`",
        )
    for name in ("all", "default"):
        off = f"net.ipv6.conf.{name}.disable_ipv6"
        if seen.get(off) == "1" and ":" in str(facts.options.get("ipalloc_range", "")):
            wanted += 1
            yield wrong(f"{off} is 1, and the overlay's range is IPv6", f"{off} = 0", f"`sysctl -w {off}=0`")
    filters = {name: seen.get(f"net.ipv4.conf.{name}.rp_filter") for name in ("all", host.underlay) if name}
    if _STRICT in filters.values() and "2" not in filters.values() and unheard(facts):
        wanted += 1
        name = next(name for name, value in filters.items() if value == _STRICT)
        yield note(
            f"net.ipv4.conf.{name}.rp_filter is 1 (strict): packets of a peer whose way back is another interface "
            "are dropped",
            f"`sysctl -w net.ipv4.conf.{host.underlay or name}.rp_filter=2`",
            expected="0 or 2 where a host has several ways to its peers",
        )
    if not wanted:
        told = [f"{name.rpartition('.')[2]} {value}" for name, value in seen.items() if name in _TOLD]
        yield fine(", ".join(told) or "nothing of them is in the way")


_TOLD = (_FORWARD4, "net.bridge.bridge-nf-call-iptables")


def exposed(facts: Facts) -> bool:
    """Whether this host has an address on the overlay."""
    entries = (facts.report or {}).get("endpoints", {}).get("entries", ())
    own = facts.mesh.get("name")
    return any(entry["peer"] == own and entry["container"] == "weave:expose" for entry in entries)


def unheard(facts: Facts) -> bool:
    """Whether datagrams from some peer do not arrive."""
    return any(
        connection["state"] == "established" and connection["udp_heartbeat_age"] > 4 * connection["beat_interval"]
        for connection in facts.mesh.get("connections", ())
    )
