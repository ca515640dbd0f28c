"""`weave status` and its parts as text, in the original's style. Pure: a report in, text out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from overlay.clean import clean_tree
from overlay.crypto.secure_peer import WIREGUARD_DEVICE, WIREGUARD_PORT
from overlay.daemon.original_report import Link, links, target
from overlay.env import SECOND

__all__ = ["PARTS", "text"]

Report = Mapping[str, Any]
_STATES = ("established", "pending", "retrying", "failed", "connecting", "waiting")
"""States of connections and targets, in the original's order."""


def text(report: Report, part: str = "") -> str:
    """The page of one part (`PARTS`), or the overview for ""; ends with a newline."""
    report = clean_tree(report)  # names, nicknames and reasons come from others
    return PARTS[part](report) if part else _overview(report)


def _overview(report: Report) -> str:
    sections = [
        _router(report),
        _ipam_service(report),
        _dns_service(report),
        _proxy_service(report),
        _plugin_service(report),
        _troubles(report),
    ]
    return f"\n        Version: {report['version']}\n\n" + "\n".join(filter(None, sections))


def _fields(pairs: Sequence[tuple[str, object]]) -> str:
    return "".join(f"{name:>15}: {value}\n" for name, value in pairs)


def _router(report: Report) -> str:
    mesh, driver = report["mesh"], report["driver"]
    peers = [peer for peer in mesh["peers"] if peer["reachable"]]
    established = sum(link["established"] for peer in peers for link in peer["links"])
    return _fields(
        [
            ("Service", "router"),
            ("Protocol", "overlay-mesh 1"),
            ("Name", f"{mesh['name']}({mesh['nickname']})"),
            ("Encryption", "enabled" if mesh["encrypted"] else "disabled"),
            ("PeerDiscovery", "enabled" if mesh["discovery"] else "disabled"),
            ("Targets", sum(target["explicit"] for target in mesh["targets"])),
            ("Connections", _count(links(report))),
            ("Peers", f"{len(peers)} (with {established} established connections)"),
            ("TrustedSubnets", ", ".join(mesh["trusted_subnets"]) or "none"),
            ("Policy", _policy(report["policy"])),
            ("Sleeve", _sleeve(driver.get("sleeve", {}))),
            *([("WireGuard", _wireguard(driver["wireguard"]))] if mesh["encrypted"] and "wireguard" in driver else ()),
            *([("Ports", _ports(driver["ports"]))] if "ports" in driver else ()),
            *([("KernelAudit", _audit(driver["audit"]))] if "audit" in driver else ()),
            ("DataPath", f"fastdp ({driver['device']} on bridge {driver['bridge']}, MTU {driver['mtu']})"),
        ]
    )


def _policy(policy: Mapping[str, Any]) -> str:
    """The number of policies, the default, how replies are recognised, and whether all peers have the same policies."""
    count = len(policy["policies"])
    if not count and policy["default"] == "allow":
        text = "none, all is allowed"
    else:
        known = "policy" if count == 1 else "policies"
        text = f"{count} {known}, default {policy['default']}, enforced {_state(policy)}"
    differing = [peer for peer in policy["peers"] if peer["differs"]]
    if differing:
        return f"{text}; {len(differing)} of {_plural(len(policy['peers']), 'other peer')} differ"
    return f"{text}; all peers agree" if count or policy["default"] != "allow" else text


def _state(policy: Mapping[str, Any]) -> str:
    words = {"off": "NOWHERE ON THIS HOST", "": "from its packet filter's next turn on"}
    return words.get(policy["state"], f"({policy['state']})")


def _ports(ports: Mapping[str, Any]) -> str:
    """The number of containers restricted to their own addresses."""
    if ports["problem"]:
        return "not guarded"
    free = f", {ports['free']} with --allow-spoofing" if ports["free"] else ""
    return f"{ports['guarded']} guarded against spoofing{free}"


def _audit(audit: Mapping[str, Any]) -> str:
    """Kernel changes by others that were repaired."""
    if not audit["mended"]:
        return "nothing was changed by others"
    what = "; ".join(audit["what"])
    return f"{_plural(audit['mended'], 'change')} of others mended, last {audit['age'] / SECOND:.0f}s ago: {what}"


def _count(found: Iterable[Link]) -> str:
    counts: dict[str, int] = dict.fromkeys(_STATES, 0)
    for link in found:
        counts[link["State"]] += 1
    details = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{sum(counts.values())} ({details})" if details else "0"


def _ipam_service(report: Report) -> str:
    ipam = report["ipam"]
    if ipam["ready"]:
        status = "ready"
    elif ipam["waiting"]:
        status = f"waiting: {ipam['waiting']}"
    else:
        status = "idle (nothing was asked of it yet)"
    pairs = [
        ("Service", "ipam"),
        ("Status", status),
        ("Range", ipam["range"]),
        ("DefaultSubnet", ipam["default_subnet"]),
    ]
    if ipam["pending"]:
        pairs.append(("Pending", _plural(len(ipam["pending"]), "request")))
    if ipam["conflicts"]:
        pairs.append(("Conflicts", f"{len(ipam['conflicts'])} (`weave status ipam` names them and what mends them)"))
    return _fields(pairs)


def _dns_service(report: Report) -> str:
    dns, driver = report["dns"], report["driver"]
    if not driver["dns_address"]:
        return _fields([("Service", "dns"), ("Status", driver["dns_problem"] or "disabled")])
    return _fields(
        [
            ("Service", "dns"),
            ("Domain", dns["domain"]),
            ("Upstream", ", ".join(driver["upstreams"]) or "none"),
            ("TTL", dns["ttl"]),
            ("Entries", sum(entry["state"] == "answered" for entry in dns["entries"])),
            ("Listen", f"{driver['dns_address']}:53"),
        ]
    )


def _proxy_service(report: Report) -> str:
    addresses = report["driver"].get("proxy")
    return _fields([("Service", "proxy"), ("Address", ", ".join(addresses))]) if addresses else ""


def _plugin_service(report: Report) -> str:
    name = report["driver"].get("plugin")
    return _fields([("Service", "plugin (legacy)"), ("DriverName", name)]) if name else ""


def _troubles(report: Report) -> str:
    """Problems that need attention; empty if there are none."""
    mesh, driver = report["mesh"], report["driver"]
    lines = [
        f"channel {conflict['channel']} conflicts with {conflict['nickname']}: {conflict['error']}"
        for conflict in mesh["channel_conflicts"]
    ]
    if mesh["name_conflict"]:
        lines.append("another process bears this peer's name: `weave reset` on one of them, or launch with --name")
    if problem := driver.get("ports", {}).get("problem"):
        lines.append(problem)
    if problem := driver.get("plugin_problem"):
        lines.append(problem)
    if problem := driver.get("filter"):
        lines.append(f"packet filter: {problem}")
    lines.extend(f"in the kernel: {left}" for left in driver.get("audit", {}).get("left", ()))
    lines.extend(policy_troubles(report["policy"]))
    if driver["disk"]:
        lines.append(driver["disk"])
    if driver["stalled"]:
        lines.append("nothing is sent to other peers until the disk has room")
    for contest in report["endpoints"]["quarantine"]:
        lines.append(f"{contest['what']} is quarantined; to mend it: {contest['mend']}")
    return _fields([("Trouble", line) for line in lines])


def policy_troubles(policy: Mapping[str, Any]) -> list[str]:
    """Where policies are not enforced."""
    lines = [f"policies are not enforced on this host: {policy['problem']}"] if policy["problem"] else []
    lines += [
        f"policy {each['number']} is not understood by this version, and not enforced: {each['policy']}"
        for each in policy["policies"]
        if not each["understood"]
    ]
    return lines + [f"policies: {peer['nickname']} {peer['differs']}" for peer in policy["peers"] if peer["differs"]]


def _policies(report: Report) -> str:
    """The table at 80 columns; long policies wrap."""
    policy = report["policy"]
    lines = [f"{'N':>3}  {'POLICY':<51} {'FROM':>5} {'TO':>5}  SET BY"] if policy["policies"] else []
    names = {peer["name"]: peer["nickname"] for peer in report["mesh"]["peers"]}
    for each in policy["policies"]:
        text, rest = each["policy"][:51], each["policy"][51:]
        by = names.get(each["writer"], each["writer"])
        lines.append(f"{each['number']:>3}  {text:<51} {each['from']:>5} {each['to']:>5}  {by:.10}".rstrip())
        lines.extend(f"     {rest[at : at + 75]}" for at in range(0, len(rest), 75))
    lines.append(f"default: {policy['default']} what none of them decides")
    lines.extend(policy_troubles(policy))
    return "".join(f"{line}\n" for line in lines)


def _targets(report: Report) -> str:
    mesh = report["mesh"]
    return "".join(f"{target(each['address'], mesh['port'])}\n" for each in mesh["targets"] if each["explicit"])


def _connections(report: Report) -> str:
    lines = []
    for link in links(report):
        size = f" mtu={link['Attrs']['mtu']}" if "mtu" in link["Attrs"] else ""
        arrow = "->" if link["Outbound"] else "<-"
        lines.append((arrow, link["Address"], link["State"], f"{link['Info']}{size}"))
    for refusal in report["mesh"]["refused"]:
        times = f"{_plural(refusal['count'], 'time')}, last {refusal['age'] / SECOND:.1f}s ago"
        lines.append(("<-", refusal["address"], "refused", f"{refusal['reason']} ({times}) {refusal['peer']}"))
    return "".join(
        f"{arrow} {address:<21} {state:<11} {detail}".rstrip() + "\n" for arrow, address, state, detail in lines
    )


def _sleeve(sleeve: Mapping[str, Any]) -> str:
    """How the userspace tunnel moves packets on this kernel."""
    if not sleeve.get("port"):
        return "not available: no packet socket on this host"
    missing = [
        name
        for name, key in (("UDP segmentation", "segmentation"), ("UDP coalescing", "coalescing"))
        if not sleeve[key]
    ]
    how = "one packet at a time: no " + " and no ".join(missing) if missing else "many packets at a time (UDP GSO, GRO)"
    how += ", compiled" if sleeve["compiled"] else f", in Python: {sleeve['uncompiled']}"
    return f"{how}; this machine refuses {' and '.join(sleeve['refused'])}" if sleeve["refused"] else how


def _wireguard(wireguard: Mapping[str, Any]) -> str:
    if not wireguard["kind"]:
        return f"none: {wireguard['problem']}"
    return f"{wireguard['kind']} ({WIREGUARD_DEVICE}, UDP port {WIREGUARD_PORT}, {wireguard['peers']} peers)"


def _peers(report: Report) -> str:
    lines = []
    for peer in report["mesh"]["peers"]:
        state = "" if peer["reachable"] else " (left)" if peer["gone"] else " (unreachable)"
        lines.append(f"{peer['name']}({peer['nickname']}){state}\n")
        for link in peer["links"]:
            arrow = "->" if link["outbound"] else "<-"
            stage = "established" if link["established"] else "pending"
            lines.append(f"   {arrow} {link['address']:<21} {link['peer']}({link['nickname']}) {stage}\n")
    return "".join(lines)


def _dns(report: Report) -> str:
    names = {peer["name"]: peer["nickname"] for peer in report["mesh"]["peers"]}
    domain = "." + report["dns"]["domain"]
    lines = []
    for entry in sorted(report["dns"]["entries"], key=lambda entry: (entry["name"].lower(), entry["address"])):
        short = entry["name"].removesuffix(domain)
        mark = "" if entry["state"] == "answered" else f" ({entry['state']})"
        owner = names.get(entry["peer"], entry["peer"])
        lines.append(
            f"{short:<12} {entry['address']:<15} {entry['container'][:12]:<12} {entry['peer']}({owner}){mark}\n"
        )
    return "".join(lines)


def _ipam(report: Report) -> str:
    ipam = report["ipam"]
    names = {peer["name"]: peer["nickname"] for peer in report["mesh"]["peers"]}
    lines = [] if ipam["ready"] else [ipam["waiting"] or "nothing was asked of it yet"]
    for peer in ipam["peers"]:
        state = "" if peer["reachable"] else " - unreachable"
        who = f"{peer['name']}({names.get(peer['name'], '?')})"
        lines.append(f"{who:<40} {peer['owned']:>8} IPs ({100 * peer['share']:05.1f}% of total){state}")
    for pending in ipam["pending"]:
        lines.append(f"waiting: {pending['wants']} for {pending['container'][:12]}")
    for conflict in ipam["conflicts"]:
        lines.append(_conflict(conflict))
    for contest in report["endpoints"]["quarantine"]:
        lines.append(f"{contest['what']} is quarantined; to mend it: {contest['mend']}")
    return "".join(f"{line}\n" for line in lines)


def _conflict(conflict: Mapping[str, Any]) -> str:
    if conflict["kind"] == "range":
        return f"conflict: {conflict['owner'] or 'a peer'} uses the range {conflict['range']}; {conflict['remedy']}"
    holder = f", held by {conflict['holder'][:12]}" if conflict["holder"] else ""
    return (
        f"{conflict['kind']}: {conflict['address']} of {conflict['container'][:12]} "
        f"is owned by {conflict['owner']}{holder}; {conflict['remedy']}"
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


PARTS: dict[str, Callable[[Report], str]] = {
    "targets": _targets,
    "connections": _connections,
    "peers": _peers,
    "dns": _dns,
    "ipam": _ipam,
    "policies": _policies,
}
