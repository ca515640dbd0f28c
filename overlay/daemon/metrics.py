"""Metrics for Prometheus (text format 0.0.4), with the original's names where it has them. Pure: report in, text
out."""

from collections.abc import Iterable, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]
"""(labels, value)."""


def text(report: Mapping[str, Any]) -> str:
    """All metrics; ends with a newline."""
    mesh, ipam, dns = report["mesh"], report["ipam"], report["dns"]
    owned = {peer["name"]: peer for peer in ipam["peers"]}
    total = sum(peer["owned"] for peer in owned.values())
    gone = [peer for peer in owned.values() if not peer["reachable"]]
    share = 100 * sum(peer["share"] for peer in gone)
    own = owned.get(mesh["name"], {}).get("owned", 0)
    pending = ipam["pending"]
    claims = sum(entry["claim"] for entry in pending)
    used = sum(len(addresses) for addresses in ipam["addresses"].values())
    answered = sum(entry["state"] == "answered" for entry in dns["entries"])
    families = [
        _family("weave_connections", "gauge", "Peer-to-peer connections.", _connections(report)),
        _one("weave_connection_terminations_total", "counter", "Connections that have ended.", mesh["terminations"]),
        _one("weave_peers", "gauge", "Peers that can be reached, this one included.", len(mesh["reachable"])),
        _one("weave_sent_messages_total", "counter", "Messages sent on control connections.", mesh["sent_messages"]),
        _one("weave_handshakes_computed_total", "counter", "Steps of password proofs computed.", mesh["computed"]),
        _family(
            "weave_ips",
            "gauge",
            "IP addresses of this peer.",
            [({"state": "local-owned"}, own), ({"state": "local-used"}, used)],
        ),
        _one("weave_max_ips", "gauge", "IP addresses of the whole range.", total),
        _one("weave_dns_entries", "gauge", "DNS entries.", answered),
        _one("weave_flows", "gauge", "Forwarding entries in the kernel.", report["driver"]["remote_macs"]),
        _one("weave_ipam_unreachable_count", "gauge", "Peers that own addresses and are out of reach.", len(gone)),
        _one("weave_ipam_unreachable_percentage", "gauge", "Addresses of such peers, in percent.", share),
        _one("weave_ipam_pending_allocates", "gauge", "Allocations that wait.", len(pending) - claims),
        _one("weave_ipam_pending_claims", "gauge", "Claims that wait.", claims),
        _one(
            "weave_quarantined",
            "gauge",
            "Addresses lost to others.",
            len(report["endpoints"]["quarantine"]),
        ),
    ]
    return "".join(families)


def _connections(report: Mapping[str, Any]) -> list[Sample]:
    counts: dict[tuple[str, str, str], int] = {}
    for connection in report["mesh"]["connections"]:
        established = connection["state"] == "established"
        carrier = "sleeve" if connection["data_encrypted"] else "fastdp"
        path = report.get("paths", {}).get(connection["peer"], {}).get("path", carrier) if established else "unknown"
        key = ("established" if established else "pending", path, "yes" if connection["data_encrypted"] else "")
        counts[key] = counts.get(key, 0) + 1
    return [
        ({"state": state, "type": path, "encryption": encryption}, count)
        for (state, path, encryption), count in sorted(counts.items())
    ]


def _one(name: str, kind: str, what: str, value: float) -> str:
    return _family(name, kind, what, [({}, value)])


def _family(name: str, kind: str, what: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value:g}" if inner else f"{name} {value:g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
