"""Two containers over two hosts: our overlay and a hand-made kernel VXLAN, between the same namespaces.

Both candidates end in the same two containers (`ethwe` is ours, `hand0` the hand-made one), have the same MTU and
are measured in turn, round by round. The hand-made one is what `ip link add … type vxlan` gives: a bridge, a veth
pair, a VXLAN device with the other host in its flood list.
"""

import json
from typing import Any

from benchmarks.labs import on_lab, pair_yaml
from benchmarks.path import PROBE, by_hand
from benchmarks.rows import Row, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay, must
from lab.scenario.resolve import Resolved

_HAND = {"left": "10.99.0.1", "right": "10.99.0.2"}


def run(rounds: int = 7, seconds: float = 2.0) -> list[Row]:
    """Throughput and round trip of both candidates, with ratios."""

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        return await _measure(lab, resolved, overlay, rounds, seconds)

    found = on_lab(pair_yaml("bench-datapath"), "bench-datapath", work)
    rows = []
    for metric, unit, scale, goal in (
        ("throughput", "Gbit/s", 1e9, "at least 0.95"),
        ("round_trip", "us", 1e3, "at most 1.1"),
    ):
        values = {name: [value / scale for value in found[name][metric]] for name in found}
        base = row("hand-made vxlan", metric, unit, values["hand"])
        rows += [base, row("weave", metric, unit, values["weave"], goal=goal, against=base)]
    return rows


async def _measure(lab: NetnsLab, resolved: Resolved, overlay: Overlay, rounds: int, seconds: float) -> Any:
    await overlay.launch(list(resolved.hosts), {})
    await overlay.connect("host1", ["host2"])
    replicas = list(resolved.replicas())
    for replica in replicas:
        await overlay.run(replica)
    mtu = int(await must(lab.hosts["host1"], ["cat", "/sys/class/net/ethwe/mtu"], container="left"))
    for replica in replicas:
        others = [host.address for name, host in resolved.hosts.items() if name != replica.host]
        own, local = _HAND[replica.name], resolved.hosts[replica.host].address
        await by_hand(lab.hosts[replica.host], replica.name, own, local, others, mtu)
    server = ["sh", "-c", f"sleep infinity | {' '.join(PROBE)} server >/dev/null 2>&1 &"]
    await must(lab.hosts["host2"], server, container="right")
    found: dict[str, dict[str, list[float]]] = {}
    targets = {"weave": overlay.address_of("right"), "hand": _HAND["right"]}
    for address in targets.values():  # the server listens, and both paths are warm
        wait = f"until {' '.join(PROBE)} client {address} --rounds 1 --seconds 0.2 2>/dev/null; do :; done"
        await must(lab.hosts["host1"], ["timeout", "20", "sh", "-c", wait], container="left")
    for _ in range(rounds):
        for name, address in targets.items():
            client = [*PROBE, "client", address, "--rounds", "1", "--seconds", str(seconds)]
            result = json.loads(await must(lab.hosts["host1"], client, container="left", timeout=60))
            for metric in ("throughput", "round_trip"):
                found.setdefault(name, {}).setdefault(metric, []).append(result[metric]["median"])
    return found
