"""Frames around the bridge by BPF: what programs at the ports of bridge and tunnel would gain.

Between two containers on two hosts: a hand-made VXLAN, our overlay, and our overlay with programs that take frames
past the bridge: `bpf_redirect` from the container's port into the VXLAN device after checking (port, MAC, address),
`bpf_redirect_peer` from the VXLAN device into the container (`benchmarks/bridge_programs.py`). The bound is a VXLAN
device in the container itself, without veth and bridge: no program at a bridge's port can be faster. The programs are
no part of the overlay; docs/design.md says what it would take. Candidates are measured in turn, with one MTU. NIC-like:
the sender's kernel cuts every packet before the cable, the receiver's joins what it can; on plain veth super-packets
cross whole. CPU is that of all processes of the lab during the bulk transfer. Needs root and Linux 6.6.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import bridge_programs
from benchmarks.labs import on_lab, pair_yaml
from benchmarks.path import PROBE, by_hand
from benchmarks.processor_time import of_all
from benchmarks.rows import Row, asked, row
from benchmarks.tunnel import as_cable
from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import Host
from lab.contracts.overlay import Overlay, must
from lab.errors import LabError
from lab.host_engine import HostEngine
from lab.scenario.resolve import Resolved
from overlay.datapath.vxlan import VXLAN_DEVICE

_HAND = {"left": "10.99.0.1", "right": "10.99.0.2"}
_BOUND = {"left": "10.98.0.1", "right": "10.98.0.2"}
_BASE = "hand-made vxlan"
_MODES = {"weave": "off", "weave, receive by program": "receive", "weave, both by program": "both"}
_CANDIDATES = (_BASE, *_MODES, "vxlan in the container")
_METRICS = {
    "throughput": ("Gbit/s", 1e9, "at least 1.15"),
    "round_trip": ("us", 1e3, "at most 0.85"),
    "small_packets": ("k/s", 1e3, ""),
    "cpu": ("s/GB", 1, ""),
}
_SCRIPT = str(Path(bridge_programs.__file__).resolve())
_Found = dict[str, dict[str, list[float]]]


def run() -> list[Row]:
    """Every metric of every candidate on both cables, with ratios to the hand-made VXLAN.

    OVERLAY_LAB_BENCH_RUNS: rounds; OVERLAY_LAB_BENCH_SECONDS: of each stretch of traffic.
    """
    rounds, seconds = int(asked("RUNS", 7)), asked("SECONDS", 1.0)

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        return await _measure(lab, resolved, overlay, rounds, seconds)

    rows = []
    for cable, found in on_lab(pair_yaml("bench-bpf"), "bench-bpf", work).items():
        for metric, (unit, scale, goal) in _METRICS.items():
            made = {name: [value / scale for value in values[metric]] for name, values in found.items()}
            base = row(f"{_BASE}, {cable}", metric, unit, made[_BASE])
            rows.append(base)
            for name in _CANDIDATES[1:]:
                wanted = goal if name.endswith("both by program") else ""
                rows.append(row(f"{name}, {cable}", metric, unit, made[name], goal=wanted, against=base))
    return rows


async def _measure(
    lab: NetnsLab, resolved: Resolved, overlay: Overlay, rounds: int, seconds: float
) -> dict[str, _Found]:
    await _prepare(lab, resolved, overlay)
    targets = dict.fromkeys(_MODES, overlay.address_of("right"))
    targets |= {_BASE: _HAND["right"], _CANDIDATES[-1]: _BOUND["right"]}
    server = ["sh", "-c", f"sleep infinity | {' '.join(PROBE)} server >/dev/null 2>&1 &"]
    await must(lab.hosts["host2"], server, container="right")
    for address in dict.fromkeys(targets.values()):  # the server listens, and all paths are warm
        wait = f"until {' '.join(PROBE)} client {address} --rounds 1 --seconds 0.2 2>/dev/null; do :; done"
        await must(lab.hosts["host1"], ["timeout", "40", "sh", "-c", wait], container="left", timeout=60)
    await _prove(lab, resolved, overlay)
    found: dict[str, _Found] = {}
    for cable in ("NIC-like", "plain veth"):
        await as_cable(lab, cable == "NIC-like")
        values = found.setdefault(cable, {name: {} for name in _CANDIDATES})
        for number in range(rounds):
            for name in _CANDIDATES[:: -1 if number % 2 else 1]:
                await _program(lab, resolved, overlay, _MODES.get(name, "off"))
                for metric, value in (await _traffic(lab, targets[name], seconds)).items():
                    values[name].setdefault(metric, []).append(value)
    return found


async def _traffic(lab: NetnsLab, address: str, seconds: float) -> dict[str, float]:
    client = [*PROBE, "client", address, "--rounds", "1", "--seconds", str(seconds), "--only"]
    before = of_all()
    bulk = json.loads(await must(lab.hosts["host1"], [*client, "bulk"], container="left", timeout=60))
    used = of_all() - before
    rest = json.loads(await must(lab.hosts["host1"], [*client, "rest"], container="left", timeout=60))
    rate = bulk["throughput"]["median"]
    return {
        "throughput": rate,
        "round_trip": rest["round_trip"]["median"],
        "small_packets": rest["small_packets"]["median"],
        "cpu": used / max(rate * seconds / 8e9, 1e-9),
    }


async def _prepare(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> None:
    await overlay.launch(list(resolved.hosts), {})
    await overlay.connect("host1", ["host2"])
    replicas = list(resolved.replicas())
    for replica in replicas:
        await overlay.run(replica)
    mtu = int(await must(lab.hosts["host1"], ["cat", "/sys/class/net/ethwe/mtu"], container="left"))
    for replica in replicas:
        host, local = lab.hosts[replica.host], resolved.hosts[replica.host].address
        (other,) = (each.address for name, each in resolved.hosts.items() if name != replica.host)
        await by_hand(host, replica.name, _HAND[replica.name], local, [other], mtu)
        pid = (await HostEngine(host).inspect(replica.name))["State"]["Pid"]
        lines = [
            f"ip link add bound0 mtu {mtu} type vxlan id 97 dstport 4790 local {local}",
            f"bridge fdb append 00:00:00:00:00:00 dev bound0 dst {other}",
            f"ip link set bound0 netns {pid}",
            f"nsenter -t {pid} -n ip addr add {_BOUND[replica.name]}/24 dev bound0",
            f"nsenter -t {pid} -n ip link set bound0 up",
        ]
        await must(host, ["sh", "-ec", "\n".join(lines)])


async def _prove(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> None:
    """Raises `LabError` unless TCP goes around the bridge with the programs, and does not without them.

    A foreign table drops what the bridge would forward of it.
    """
    drop = "add chain bridge proof forwarded { type filter hook forward priority 0; }; add rule bridge proof forwarded"
    client = [*PROBE, "client", overlay.address_of("right"), "--rounds", "1", "--seconds", "0.1", "--only", "bulk"]
    for mode, patience in (("off", "5"), ("both", "30")):
        await _program(lab, resolved, overlay, mode)
        for host in lab.hosts.values():
            await must(
                host, ["nft", f"add table bridge proof; {drop} iifname {await _port(host)} ip protocol tcp drop"]
            )
        done = await lab.hosts["host1"].exec(["timeout", patience, *client], container="left", timeout=60)
        for host in lab.hosts.values():
            await must(host, ["nft", "delete table bridge proof"])
        if (done.code == 0) != (mode == "both"):
            raise LabError(
                f"bench bpf: programs {mode} while the bridge forwards no TCP: the client ended with {done.code}"
            )


async def _port(host: Host) -> str:
    (port,) = (await must(host, ["sh", "-c", "ls /sys/class/net/weave/brif | grep vethwel"])).split()
    return port


async def _program(lab: NetnsLab, resolved: Resolved, overlay: Overlay, mode: str) -> None:
    """Attach the programs of this mode on both hosts, and no others."""
    replicas = list(resolved.replicas())
    macs = {}
    for replica in replicas:
        address = ["cat", "/sys/class/net/ethwe/address"]
        macs[replica.name] = (await must(lab.hosts[replica.host], address, container=replica.name)).strip()
    for replica in replicas:
        host = lab.hosts[replica.host]
        (other,) = (mac for name, mac in macs.items() if name != replica.name)
        words = [mode, await _port(host), VXLAN_DEVICE, overlay.address_of(replica.name), macs[replica.name], other]
        await must(host, [sys.executable, _SCRIPT, *words])
