"""Every path and its peers: raw veth, hand-made VXLAN, fastdp, sleeve, and other tunnels.

One run, all candidates in turn, round by round. Each of ours has two hosts of its own, so that one lab holds fast and
slow paths at the same time; `wireguard-go`, `nebula` and `tinc` (where installed) tunnel from host to host without
bridge and container, which spares them a veth each; their versions and years stand in the rows. All overlays have one
MTU. CPU is that of all processes of the lab during the bulk transfer: both ends, daemons, and the kernel's work on
their account.

Newer peers are faster: a `wireguard-go` of late 2023 (commit 542e565, with segmentation and receive offload) had 0.96
times the throughput of our encrypted tunnel, and 0.61 times where the underlay carries no super-packets, as between
real network cards (measured outside this benchmark, November 2026; it can install only the packaged `wireguard-go`).
Where links lose packets the lab switches offloads off, so that packets are lost and not super-packets.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct

from benchmarks import tunnels
from benchmarks.labs import on_lab
from benchmarks.processor_time import of_all
from benchmarks.rows import Row, asked, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import Host
from lab.contracts.overlay import Overlay, must
from lab.host_engine import HostEngine
from lab.scenario.resolve import Resolved
from overlay.datapath.vxlan import overlay_mtu

PROBE = (sys.executable, "-m", "lab.probes.throughput")
CHAIN = 5
"""Hosts of the chain: four hops."""
_HAND = {"left": "10.99.0.1", "right": "10.99.0.2"}
_SECRET: dict[str, bool | int | str] = {"password": "wherever you go", "wireguard": "off", "mtu": overlay_mtu(1500)}
"""The encrypted tunnel, on kernels with WireGuard too, and with the MTU of all the others."""


class Candidate(Struct, frozen=True):
    """Where a client and a server run: host and container ("": the host itself), and the server's address."""

    name: str
    client: tuple[str, str]
    server: tuple[str, str]
    address: str


PAIRS = ("fast", "sleeve", "secret", "sleeve-lossy", "secret-lossy")


def _scenario() -> str:
    names = [f"{pair}{end}" for pair in PAIRS for end in (1, 2)] + [f"chain{number}" for number in range(1, CHAIN + 1)]
    hosts = "".join(f"    {name}: {{}}\n" for name in names)
    links = "".join(f'    "{pair}1 <-> {pair}2": {{loss: 0.1%}}\n' for pair in PAIRS if pair.endswith("lossy"))
    ends = {f"{pair}-{side}": f"{pair}{end}" for pair in PAIRS for end, side in ((1, "left"), (2, "right"))}
    ends |= {"chain-left": "chain1", "chain-next": "chain2", "chain-right": f"chain{CHAIN}"}
    services = "".join(
        f"  {name}: {{command: [sleep, infinity], host: {host}, address: 10.0.1.{number}/24}}\n"
        for number, (name, host) in enumerate(ends.items(), 1)
    )
    return (
        f"version: 1\nname: bench-path\nunderlay:\n  hosts:\n{hosts}  links:\n{links}services:\n{services}"
        "timeline:\n  - launch: all\n"
    )


def run() -> list[Row]:
    """Throughput, round trips, small packets and CPU of every candidate, with ratios to the hand-made VXLAN.

    OVERLAY_LAB_BENCH_RUNS: rounds; OVERLAY_LAB_BENCH_SECONDS: of each stretch of traffic.
    """
    rounds, seconds = int(asked("RUNS", 5)), asked("SECONDS", 2.0)

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        return await _measure(lab, resolved, overlay, rounds, seconds)

    found = on_lab(_scenario(), "bench-path", work)
    goals = {
        "fastdp": "at least 0.98",
        "sleeve": "at least 0.25",
        "sleeve encrypted": "at least 0.15, 4 times the best peer",
        "sleeve, 0.1 % loss": "at least 0.125",
        "sleeve encrypted, 0.1 % loss": "at least 0.075",
    }
    releases = {name: tunnels.release(name) for name in found if name in tunnels.NAMES}
    rows: list[Row] = []
    for metric, unit, scale in (
        ("throughput", "Gbit/s", 1e9),
        ("round_trip", "us", 1e3),
        ("round_trip_p90", "us", 1e3),
        ("round_trip_p99", "us", 1e3),
        ("small_packets", "k/s", 1e3),
        ("cpu", "s/GB", 1),
    ):
        base = row("hand-made vxlan", metric, unit, [value / scale for value in found["hand-made vxlan"][metric]])
        for name in found:
            values = [value / scale for value in found[name][metric]]
            goal = goals.get(name, "") if metric == "throughput" else ""
            version = releases.get(name, "")
            made = row(name, metric, unit, values, goal=goal, against=base, version=version)
            rows.append(made if name != base.name else base)
    hop = row(
        "sleeve, one hop of the chain", "throughput", "Gbit/s", [v / 1e9 for v in found["chain, 1 hop"]["throughput"]]
    )
    four = [value / 1e9 for value in found["chain, 4 hops"]["throughput"]]
    rows.append(row("sleeve, four hops", "throughput", "Gbit/s", four, goal="at least 0.25", against=hop))
    peers = [
        row(name, "throughput", "Gbit/s", [v / 1e9 for v in found[name]["throughput"]], version=version)
        for name, version in releases.items()
    ]
    if peers:
        best = max(peers, key=lambda peer: peer.median)
        ours = [value / 1e9 for value in found["sleeve encrypted"]["throughput"]]
        rows.append(row("sleeve encrypted", "throughput", "Gbit/s", ours, goal="at least 4", against=best))
    return rows


async def _measure(lab: NetnsLab, resolved: Resolved, overlay: Overlay, rounds: int, seconds: float) -> Any:
    candidates = await _prepare(lab, resolved, overlay)
    for candidate in candidates:
        host, container = candidate.server
        server = ["sh", "-c", f"sleep infinity | {' '.join(PROBE)} server >/dev/null 2>&1 &"]
        await must(lab.hosts[host], server, container=container)
    for candidate in candidates:  # servers listen, and paths are warm
        wait = f"until {' '.join(PROBE)} client {candidate.address} --rounds 1 --seconds 0.2 2>/dev/null; do :; done"
        host, container = candidate.client
        await must(lab.hosts[host], ["timeout", "40", "sh", "-c", wait], container=container, timeout=60)
    found: dict[str, dict[str, list[float]]] = {candidate.name: {} for candidate in candidates}
    for _ in range(rounds):
        for candidate in candidates:
            host, container = candidate.client
            client = [*PROBE, "client", candidate.address, "--rounds", "1", "--seconds", str(seconds)]
            before = of_all()
            bulk = json.loads(await must(lab.hosts[host], [*client, "--only", "bulk"], container=container, timeout=60))
            used = of_all() - before
            rest = json.loads(await must(lab.hosts[host], [*client, "--only", "rest"], container=container, timeout=60))
            rate = bulk["throughput"]["median"]
            for metric, value in (
                ("throughput", rate),
                ("round_trip", rest["round_trip"]["median"]),
                ("round_trip_p90", rest["round_trip"]["p90"]),
                ("round_trip_p99", rest["round_trip"]["p99"]),
                ("small_packets", rest["small_packets"]["median"]),
                ("cpu", used / max(rate * seconds / 8e9, 1e-9)),
            ):
                found[candidate.name].setdefault(metric, []).append(value)
    return found


async def _prepare(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> list[Candidate]:
    replicas = {replica.name: replica for replica in resolved.replicas()}
    chain = [f"chain{number}" for number in range(1, CHAIN + 1)]
    options: dict[str, dict[str, bool | int | str]] = {
        "fast": {},
        "sleeve": {"no-fastdp": True},
        "secret": _SECRET,
        "sleeve-lossy": {"no-fastdp": True},
        "secret-lossy": _SECRET,
    }
    for pair, chosen in options.items():
        await overlay.launch([f"{pair}1", f"{pair}2"], chosen)
        await overlay.connect(f"{pair}1", [f"{pair}2"])
    await overlay.launch(chain, {"no-fastdp": True, "no-discovery": True})
    for one, other in pairwise(chain):
        await overlay.connect(one, [other])
    for replica in replicas.values():
        await overlay.run(replica)
    mtu = int(await must(lab.hosts["fast1"], ["cat", "/sys/class/net/ethwe/mtu"], container="fast-left"))
    ends = {"fast1": "fast-left", "fast2": "fast-right"}
    for number, (name, container) in enumerate(ends.items(), 1):
        other = resolved.hosts[f"fast{3 - number}"].address
        side = container.removeprefix("fast-")
        await by_hand(lab.hosts[name], container, _HAND[side], resolved.hosts[name].address, [other], mtu)
    candidates = [
        Candidate("raw veth", ("fast1", ""), ("fast2", ""), resolved.hosts["fast2"].address),
        Candidate("hand-made vxlan", ("fast1", "fast-left"), ("fast2", "fast-right"), _HAND["right"]),
    ]
    names = ("fastdp", "sleeve", "sleeve encrypted", "sleeve, 0.1 % loss", "sleeve encrypted, 0.1 % loss")
    for pair, name in zip(PAIRS, names, strict=True):
        left, right = f"{pair}-left", f"{pair}-right"
        candidates.append(Candidate(name, (f"{pair}1", left), (f"{pair}2", right), overlay.address_of(right)))
    for name, target, host in (("chain, 1 hop", "chain-next", "chain2"), ("chain, 4 hops", "chain-right", chain[-1])):
        candidates.append(Candidate(name, ("chain1", "chain-left"), (host, target), overlay.address_of(target)))
    hosts = (lab.hosts["fast1"], lab.hosts["fast2"])
    addresses = (resolved.hosts["fast1"].address, resolved.hosts["fast2"].address)
    for name, (commands, start) in tunnels.PEERS.items():
        if all(shutil.which(command, path=tunnels.PATH) for command in commands):
            candidates.append(Candidate(name, ("fast1", ""), ("fast2", ""), await start(hosts, addresses, mtu)))
        else:
            packages = tunnels.PACKAGES.get(name, name)
            print(f"{name} is not installed and is left out: `apt-get install {packages}`", file=sys.stderr)
    return candidates


async def by_hand(host: Host, container: str, own: str, local: str, others: Sequence[str], mtu: int) -> None:
    """A kernel VXLAN as anybody would type it: bridge, veth, and a VXLAN device that floods the other hosts."""
    pid = (await HostEngine(host).inspect(container))["State"]["Pid"]
    lines = [
        f"ip link add hand type bridge && ip link set hand mtu {mtu} up",
        f"ip link add vxlan-hand mtu {mtu} type vxlan id 99 dstport 4789 local {local}",
        "ip link set vxlan-hand master hand up",
        *(f"bridge fdb append 00:00:00:00:00:00 dev vxlan-hand dst {other}" for other in others),
        f"ip link add handport mtu {mtu} type veth peer name hand0 mtu {mtu} netns {pid}",
        "ip link set handport master hand up",
        # Docker's policy drops bridged frames where they go through the packet filter.
        "for tables in iptables ip6tables; do",
        '[ "$(cat /proc/sys/net/bridge/bridge-nf-call-$tables 2>/dev/null)" != 1 ] ||',
        "$tables -w -I FORWARD -i hand -o hand -j ACCEPT",
        "done",
        f"nsenter -t {pid} -n ip addr add {own}/24 dev hand0",
        f"nsenter -t {pid} -n ip link set hand0 up",
    ]
    await must(host, ["sh", "-ec", "\n".join(lines)])
