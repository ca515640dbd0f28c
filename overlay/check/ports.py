"""UDP between peers, for each port and each direction, from what the router itself receives: heartbeats and probes.

TCP port 6783 is the control connection (`peers`). The findings include the local packet filter's rules for a port.
"""

from collections.abc import Iterator
from typing import Any

from overlay.check.facts import BlockingRule, Facts
from overlay.check.finding import Finding, fine, unseen, wrong
from overlay.check.mtu import smaller
from overlay.check.peers import named
from overlay.crypto.secure_peer import WIREGUARD_PORT
from overlay.datapath.vxlan import VXLAN_PORT
from overlay.env import SECOND

__all__ = ["ports"]

_SETTLED = 5 * SECOND
"""Minimum age of a connection for a verdict; before that, paths are still being tried."""
_BEGINS = 15 * SECOND
"""The same with WireGuard, which needs several answered probes first."""
_BEATS = 4
"""Heartbeat intervals without a heartbeat; a connection over TCP alone would not survive as many."""
_HEARD = 8 * SECOND
"""Maximum age of the last probe; a neighbour whose path fails tries it every two seconds."""


def ports(facts: Facts) -> Iterator[Finding]:
    """UDP 6783 (heartbeats and tunnel), 6784 (VXLAN) and 6785 (WireGuard)."""
    if facts.report is None:
        yield unseen("the router does not answer")
        return
    checked: list[str] = []
    bad: list[Finding] = []
    young = 0
    for connection in facts.mesh["connections"]:
        if connection["state"] != "established":
            continue
        if connection["age"] < _SETTLED:
            young += 1
            continue
        found = [*_beats(facts, connection), *_paths(facts, connection)]
        bad += found
        if not found:
            checked.append(named(facts.mesh, connection["peer"]))
    yield from bad
    if not bad:
        waits = f"; {young} connected too lately to judge" if young else ""
        yield fine((f"UDP passes to and from {', '.join(checked)}" if checked else "no neighbour to try") + waits)


def _beats(facts: Facts, connection: Any) -> Iterator[Finding]:
    patience = max(_BEATS * connection["beat_interval"], _HEARD // 2)
    port = facts.options.get("port", 6783)
    if connection["udp_heartbeat_age"] > patience:
        yield _inward(facts, connection, port)
    elif connection["udp_heard_us_age"] > patience:
        yield _outward(facts, connection, port)


def _paths(facts: Facts, connection: Any) -> Iterator[Finding]:
    path = (facts.report or {})["paths"].get(connection["peer"])
    if path is None or path["path"] != "sleeve" or path["sleeve"] != "confirmed" or smaller(facts, path):
        return  # both paths fail alike, or the size is the problem
    for kind, port in (("fastdp", VXLAN_PORT), ("wireguard", WIREGUARD_PORT)):
        if path.get(kind) == "failed" or (path.get(kind) == "recovering" and connection["age"] > _BEGINS):
            age = path.get("fast_heard_age")
            heard = age is not None and age < _HEARD
            yield (_outward if heard else _inward)(facts, connection, port)


def _inward(facts: Facts, connection: Any, port: int) -> Finding:
    peer, host = named(facts.mesh, connection["peer"]), _host(connection)
    rule = _blocking(facts, port)
    found = f"nothing of {peer} ({host}) arrives at UDP port {port} of this host"
    expected = f"UDP port {port} open for {host}"
    if rule is not None:
        return wrong(f"{found}: {rule.rule}", expected, f"`{rule.undo}`")
    remedy = f"`iptables -I INPUT -p udp --dport {port} -j ACCEPT`, and the same in any firewall on the way"
    return wrong(found, expected, remedy)


def _outward(facts: Facts, connection: Any, port: int) -> Finding:
    peer, host = named(facts.mesh, connection["peer"]), _host(connection)
    return wrong(
        f"nothing of this host arrives at UDP port {port} of {peer} ({host})",
        f"UDP port {port} of {host} open for this host",
        f"`weave check` names the rule if it is {peer}'s own: else `iptables -I INPUT -p udp --dport {port} -j ACCEPT` "
        "in any firewall on the way",
        where=peer,
    )


def _host(connection: Any) -> str:
    return str(connection["address"].rpartition(":")[0])


def _blocking(facts: Facts, port: int) -> BlockingRule | None:
    blocks = facts.host.blocks if facts.host is not None else ()
    return next((block for block in blocks if block.port == port and block.protocol == "udp"), None)
