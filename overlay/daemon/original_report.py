"""The report in the original's format: `.Router`, `.IPAM`, `.DNS` and the rest, with its names and words. Pure.

Converted from our own report, for templates and scripts written for version 2.8. Knows nothing of templates.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from overlay.env import SECOND

__all__ = ["Link", "entries", "links", "target", "views"]

Report = Mapping[str, Any]
Link = dict[str, Any]
"""`Address`, `Outbound`, `State`, `Info` and `Attrs` of one line of `weave status connections`."""

_STATES = {"waiting": "waiting", "dialling": "connecting", "connected": "pending", "refused": "failed"}
"""The original's words for the state of a target that has never failed."""


def views(report: Report) -> dict[str, Any]:
    """This report in the format of the original's `weave report`."""
    driver = report["driver"]
    found: dict[str, Any] = {
        "Ready": True,
        "Version": report["version"],
        "Router": _router(report),
        "IPAM": _ipam(report),
    }
    if driver["dns_address"]:
        found["DNS"] = _dns(report)
    if proxy := driver.get("proxy"):
        found["Proxy"] = {"Addresses": list(proxy)}
    if plugin := driver.get("plugin"):
        found["Plugin"] = {"DriverName": plugin}
    return found


def target(address: str, port: int) -> str:
    """A target as the user types it, without the default port."""
    bare = address.removesuffix(f":{port}")
    return bare.strip("[]") if bare != address else address


def links(report: Report) -> Iterator[Link]:
    """Connections, plus targets and strangers that have no connection."""
    mesh = report["mesh"]
    for connection in mesh["connections"]:
        established = connection["state"] == "established"
        path = report["paths"].get(connection["peer"], {}) if established else {}
        who = f"{connection['peer']}({connection['nickname']})" if connection["peer"] else ""
        attributes = {"name": path["path"]} if "path" in path else {}
        if attributes.get("name") == "sleeve":
            attributes["mtu"] = path["mtu"]
        secret = f"{'encrypted' if path.get('encrypted') else 'unencrypted':<11} {path.get('path', 'fastdp')}"
        yield {
            "Address": connection["address"],
            "Outbound": connection["outbound"],
            "State": "established" if established else "pending",
            "Info": f"{secret} {who}" if established else who,
            "Attrs": attributes,
        }
    connected = {connection["address"] for connection in mesh["connections"]}
    for each in mesh["targets"]:
        if each["state"] != "connected" and each["address"] not in connected:
            state = _STATES[each["state"]]
            if each["reason"] and state != "failed":
                state = "failed" if each["state"] == "waiting" else "retrying"
            yield {
                "Address": each["address"], "Outbound": True, "State": state, "Info": _retry(each), "Attrs": {},
            }  # fmt: skip


def _retry(each: Mapping[str, Any]) -> str:
    due = each["next_attempt"]
    when = f"retry in {due / SECOND:.1f}s" if due is not None else ""
    return f"{each['reason']} ({when})" if each["reason"] and when else each["reason"] or when


def _router(report: Report) -> dict[str, Any]:
    mesh = report["mesh"]
    return {
        "Protocol": "overlay-mesh",
        "ProtocolMinVersion": 1,
        "ProtocolMaxVersion": 1,
        "Encryption": mesh["encrypted"],
        "PeerDiscovery": mesh["discovery"],
        "Name": mesh["name"],
        "NickName": mesh["nickname"],
        "Port": mesh["port"],
        "Peers": [_peer(peer) for peer in mesh["peers"] if peer["reachable"]],
        "Connections": list(links(report)),
        "TerminationCount": mesh["terminations"],
        "Targets": [target(each["address"], mesh["port"]) for each in mesh["targets"] if each["explicit"]],
        "TrustedSubnets": mesh["trusted_subnets"],
        "Interface": f"{report['driver']['device']} on bridge {report['driver']['bridge']}",
    }


def _peer(peer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Name": peer["name"],
        "NickName": peer["nickname"],
        "UID": peer["uid"],
        "Version": peer["version"],
        "Connections": [
            {
                "Name": link["peer"],
                "NickName": link["nickname"],
                "Address": link["address"],
                "Outbound": link["outbound"],
                "Established": link["established"],
            }
            for link in peer["links"]
        ],
    }


def _ipam(report: Report) -> dict[str, Any]:
    ipam, mesh = report["ipam"], report["mesh"]
    names = {peer["name"]: peer["nickname"] for peer in mesh["peers"]}
    reachable = set(mesh["reachable"])
    return {
        "Range": ipam["range"],
        "RangeNumIPs": ipam["size"],
        "ActiveIPs": sum(map(len, ipam["addresses"].values())),
        "DefaultSubnet": ipam["default_subnet"],
        "Entries": [
            {
                "Token": entry["start"],
                "Size": entry["size"],
                "Peer": entry["owner"],
                "Nickname": names.get(entry["owner"], ""),
                "IsKnownPeer": entry["owner"] in reachable,
                "Version": entry["version"],
            }
            for entry in ipam["entries"]
        ],
        "PendingClaims": [
            {"Ident": each["container"], "CIDR": each["wants"]} for each in ipam["pending"] if each["claim"]
        ],
        "PendingAllocates": [each["container"] for each in ipam["pending"] if not each["claim"]],
    }


def _dns(report: Report) -> dict[str, Any]:
    dns, driver = report["dns"], report["driver"]
    return {
        "Domain": dns["domain"],
        "Upstream": driver["upstreams"],
        "Address": f"{driver['dns_address']}:53",
        "TTL": dns["ttl"],
        "Entries": entries(dns),
    }


def entries(dns: Report) -> list[dict[str, Any]]:
    """The DNS entries of a report."""
    return [
        {
            "Hostname": entry["name"],
            "Origin": entry["peer"],
            "ContainerID": entry["container"],
            "Address": entry["address"],
            "Tombstone": 0,
        }
        for entry in dns["entries"]
    ]
