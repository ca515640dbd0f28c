"""The userspace tunnel under load: bulk, floods of datagrams and 32 busy pairs, between NIC-like and plain veth.

Two hosts for each candidate. The headline is the underlay without super-packets, as between real network cards: the
sender's kernel cuts every packet before the cable (`gso_max_segs 1`), the receiver's joins what it can (GRO, which a
veth device does only if its peer has no TSO). On plain veth a super-packet crosses whole, which favours programs that
make large ones. All candidates have one MTU and are measured in turn, round by round. A flood is datagrams of 1,350
bytes as fast as one process sends them; its goodput counts what the receiving process got, and the loss stands next to
it. The 32 pairs of containers send bulk at the same time; Jain's index is 1 if all get the same, 1/32 if one gets
everything. CPU is that of all processes of the lab during the bulk transfer or the flood (there for each datagram that
arrived), the kernel's work on their account among it; it is the figure to trust where others use the machine.
`wireguard-go` tunnels from host to host without bridge and container. 32 flows need seconds to find their rates: with
stretches of 1 s (OVERLAY_LAB_BENCH_SECONDS) pairs got a fifth to nine tenths of what they get in 2."""

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from benchmarks import tunnels
from benchmarks.labs import on_lab
from benchmarks.path import PROBE, by_hand
from benchmarks.processor_time import of_all
from benchmarks.rows import Row, asked, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.lab import Host
from lab.contracts.overlay import Overlay, must
from lab.fabric.fabric import run as fabric_tool
from lab.overlays.weave import flags
from lab.probes.throughput import FLOOD
from lab.scenario.resolve import Replica, Resolved
from overlay.datapath.vxlan import overlay_mtu
from overlay.runtime.rows.loading import SWITCH

_FIRST = "for each in /proc/self /proc/[0-9]*; do echo -20 2>/dev/null > $each/autogroup; done 2>/dev/null; "
"""Shell words that put the sessions of a host before those of the machine's other work, where the user may do that.
A nice value alone counts only within a session (sched(7), autogroup)."""
PAIRS = 32
_MTU = overlay_mtu(1500)
_HAND = {"left": "10.99.0.1", "right": "10.99.0.2"}
_SECRET: dict[str, bool | int | str] = {"password": "wherever you go", "wireguard": "off", "mtu": _MTU}
_OPTIONS: dict[str, dict[str, bool | int | str]] = {
    "kernel": {"mtu": _MTU},
    "clear": {"no-fastdp": True, "mtu": _MTU},
    "secret": _SECRET,
    "python": _SECRET,
}
"""How the hosts of each pair of hosts are launched."""
_FEATURE = """\
import array, fcntl, socket, struct, sys
value = array.array("I", [int(sys.argv[2]), int(sys.argv[3])])
fcntl.ioctl(socket.socket(), 0x8946, struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0]))
"""
"""Sets a feature of an interface (SIOCETHTOOL); not every machine has the `ethtool` command."""
_GRO, _TSO = 0x2C, 0x1F
"""ETHTOOL_SGRO, ETHTOOL_STSO."""
_METRICS = {
    "throughput": ("Gbit/s", 1e9),
    "round_trip": ("us", 1e3),
    "cpu": ("s/GB", 1.0),
    "flood_goodput": ("Gbit/s", 1e9),
    "flood_lost": ("%", 0.01),
    "flood_cpu": ("us a datagram", 1e-6),
    "pairs_throughput": ("Gbit/s", 1e9),
    "pairs_jain": ("of 1", 1.0),
}
"""Unit and divisor of each."""
_HAND_MADE = "hand-made vxlan"
_GOALS = {
    ("encrypted tunnel", "throughput", "plain veth"): "at least 0.42",
    **{
        (name, metric, cable): goal
        for name in ("tunnel", "encrypted tunnel")
        for cable in ("NIC-like", "plain veth")
        for metric, goal in (("flood_goodput", "at least 0.8"), ("pairs_jain", "at least 0.9"))
    },
}
_CABLES = ("NIC-like", "plain veth")
_PYTHON = "encrypted tunnel, Python alone"


class Path(Struct, frozen=True):
    """What is measured: between which hosts, in which containers ("": the host itself), to which address."""

    name: str
    hosts: tuple[str, str]
    containers: tuple[str, str]
    address: str
    pairs: tuple[str, ...] = ()
    """Addresses of the receivers of the 32 pairs, where the candidate has them."""


def jain(rates: Sequence[float]) -> float:
    """Jain's fairness index: 1 if all are equal, 1/n if one has everything."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else 0.0


def _scenario() -> str:
    hosts = "".join(f"    {kind}{end}: {{}}\n" for kind in _OPTIONS for end in (1, 2))
    services = ""
    number = 0
    for kind in _OPTIONS:
        for end, side in ((1, "left"), (2, "right")):
            for pair in range(PAIRS):
                number += 1
                services += (
                    f"  {kind}-{side}{pair}: {{command: [sleep, infinity], host: {kind}{end}, "
                    f"address: 10.0.{1 + number // 250}.{1 + number % 250}/16}}\n"
                )
    return (
        f"version: 1\nname: bench-tunnel\nunderlay:\n  hosts:\n{hosts}services:\n{services}timeline:\n  - launch: all\n"
    )


def run() -> list[Row]:
    """See the module. OVERLAY_LAB_BENCH_RUNS: rounds; OVERLAY_LAB_BENCH_SECONDS: of each stretch of traffic."""
    rounds, seconds = int(asked("RUNS", 5)), asked("SECONDS", 2.0)

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        return await _measure(lab, resolved, overlay, rounds, seconds)

    with suppress(OSError):  # what else runs on the machine shall disturb as little as on an idle one
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    found = on_lab(_scenario(), "bench-tunnel", work)
    return [made for cable in _CABLES for made in _rows(found, cable)]


def _rows(found: Mapping[str, Mapping[str, Sequence[float]]], cable: str) -> list[Row]:
    """The rows of one underlay: each metric against the hand-made VXLAN, then what is wanted against others."""
    mine = {name.removesuffix(f", {cable}"): values for name, values in found.items() if name.endswith(cable)}
    releases = {name: tunnels.release(name) for name in mine if name in tunnels.NAMES}
    rows: list[Row] = []
    known: dict[tuple[str, str], Row] = {}

    def add(name: str, metric: str, *, against: Row | None = None, goal: str = "") -> None:
        unit, scale = _METRICS[metric]
        values = [value / scale for value in mine[name][metric]]
        version = releases.get(name, "")
        made = row(f"{name}, {cable}", metric, unit, values, goal=goal, against=against, version=version)
        known.setdefault((name, metric), made)
        rows.append(made)

    for metric in _METRICS:
        for name, values in mine.items():
            if metric == "pairs_throughput" and metric in values:
                ours = name not in ("fastdp", _PYTHON)
                add(name, metric, against=known[name, "throughput"], goal="at least 0.6" if ours else "")
            elif metric in values:
                add(name, metric, against=known.get((_HAND_MADE, metric)), goal=_GOALS.get((name, metric, cable), ""))
    compiled = "encrypted tunnel"
    add(
        compiled,
        "throughput",
        against=known[_PYTHON, "throughput"],
        goal="at least 1.75" if cable == "NIC-like" else "",
    )
    add(compiled, "cpu", against=known[_PYTHON, "cpu"])
    if peers := [known[name, "round_trip"] for name in releases]:
        add(compiled, "round_trip", against=min(peers, key=lambda peer: peer.median), goal="at most 1.3")
        add(
            compiled,
            "throughput",
            against=max((known[name, "throughput"] for name in releases), key=lambda p: p.median),
        )
    return rows


async def _measure(lab: NetnsLab, resolved: Resolved, overlay: Overlay, rounds: int, seconds: float) -> Any:
    paths = await _prepare(lab, resolved, overlay)
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for cable in _CABLES:
            await as_cable(lab, cable == "NIC-like")
            for path in paths:
                values = await _one_round(lab, path, seconds)
                for metric, value in values.items():
                    found.setdefault(f"{path.name}, {cable}", {}).setdefault(metric, []).append(value)
                print(
                    path.name,
                    cable,
                    {key: f"{value:.4g}" for key, value in values.items()},
                    file=sys.stderr,
                    flush=True,
                )
    return found


async def _one_round(lab: NetnsLab, path: Path, seconds: float) -> dict[str, float]:
    client = lab.hosts[path.hosts[0]]
    container = path.containers[0]

    async def ask(what: str) -> Any:
        words = [path.address, "--rounds", "1", "--seconds", str(seconds), *(("--only", what) if what else ())]
        return json.loads(await must(client, _client(*words), container=container, timeout=90))

    before = of_all()
    rate = (await ask("bulk"))["throughput"]["median"]
    used = of_all() - before
    before = of_all()
    flood = await ask("flood")
    flood_used = of_all() - before
    datagrams = flood["goodput"]["median"] * seconds / 8 / FLOOD
    values = {
        "throughput": rate,
        "cpu": used / max(rate * seconds / 8e9, 1e-9),
        "round_trip": (await ask("rest"))["round_trip"]["median"],
        "flood_goodput": flood["goodput"]["median"],
        "flood_lost": flood["lost"]["median"],
        "flood_cpu": flood_used / max(datagrams, 1),
    }
    if path.pairs:
        start = str(time.monotonic_ns() + int(8e9))  # all of them have started by then
        words = ["--rounds", "1", "--seconds", str(2 * seconds), "--only", "bulk", "--at", start]
        kind = container.rpartition("-")[0]
        answers = await asyncio.gather(*(
            must(client, _client(address, *words), container=f"{kind}-left{pair}", timeout=120)
            for pair, address in enumerate(path.pairs)
        ))  # fmt: skip
        rates = [float(json.loads(answer)["throughput"]["median"]) for answer in answers]
        values |= {"pairs_throughput": sum(rates), "pairs_jain": jain(rates)}
    return values


def _client(*words: str) -> list[str]:
    return ["sh", "-c", f"{_FIRST} exec {' '.join((*PROBE, 'client', *words))}"]


async def as_cable(lab: NetnsLab, single: bool) -> None:
    """The underlay's interfaces as network cards, or as the veth pairs that they are."""
    feature = f"{sys.executable} -ISc '{_FEATURE}'"
    for host in lab.hosts.values():
        script = (
            "for device in $(ip -o link show type veth | sed -nE 's/^[0-9]+: (eth[0-9]+)@.*/\\1/p'); do "
            f"ip link set $device gso_max_segs {1 if single else 65535}; "
            f"{feature} $device {_GRO} {int(single)}; done"
        )
        await must(host, ["sh", "-ec", script])
    # A veth device joins packets only if its peer, the cable's end at the bridge, does not send super-packets.
    ports = [name for _, name in socket.if_nameindex() if re.fullmatch(r"p\d+\.\d+", name)]
    for port in ports:
        await fabric_tool(sys.executable, "-ISc", _FEATURE, port, str(_TSO), str(int(not single)))


async def _prepare(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> list[Path]:
    for kind, options in _OPTIONS.items():
        if kind == "python":
            words = [
                "env",
                f"{SWITCH}=0",
                "weave",
                "launch",
                *flags({**options, "init": f"consensus={len(lab.hosts)}"}),
            ]
            await asyncio.gather(*(must(lab.hosts[f"{kind}{end}"], words) for end in (1, 2)))
        else:
            await overlay.launch([f"{kind}1", f"{kind}2"], options)
        await overlay.connect(f"{kind}1", [f"{kind}2"])
    room = asyncio.Semaphore(8)

    async def start_one(replica: Replica) -> None:
        async with room:
            await overlay.run(replica)

    await asyncio.gather(*map(start_one, resolved.replicas()))
    for number, side in ((1, "left"), (2, "right")):
        host, other = (resolved.hosts[f"kernel{end}"].address for end in (number, 3 - number))
        await by_hand(lab.hosts[f"kernel{number}"], f"kernel-{side}0", _HAND[side], host, [other], _MTU)
    names = {"kernel": "fastdp", "clear": "tunnel", "secret": "encrypted tunnel", "python": _PYTHON}
    kernel = ("kernel1", "kernel2")
    ends = ("kernel-left0", "kernel-right0")
    paths = [Path(_HAND_MADE, kernel, ends, _HAND["right"])]
    for kind, name in names.items():
        addresses = tuple(overlay.address_of(f"{kind}-right{pair}") for pair in range(PAIRS))
        hosts, ends = (f"{kind}1", f"{kind}2"), (f"{kind}-left0", f"{kind}-right0")
        paths.append(Path(name, hosts, ends, addresses[0], addresses))
    commands, start = tunnels.PEERS["wireguard-go"]
    if all(shutil.which(command, path=tunnels.PATH) for command in commands):
        ours = (lab.hosts["kernel1"], lab.hosts["kernel2"])
        outer = (resolved.hosts["kernel1"].address, resolved.hosts["kernel2"].address)
        paths.append(Path("wireguard-go", kernel, ("", ""), await start(ours, outer, _MTU)))
    for path in paths:
        kind = path.containers[1].rpartition("-")[0]
        servers = [path.containers[1]] if not path.pairs else [f"{kind}-right{pair}" for pair in range(PAIRS)]
        words = ["sh", "-c", f"{_FIRST} sleep infinity | {' '.join(PROBE)} server >/dev/null 2>&1 &"]
        await asyncio.gather(*(must(lab.hosts[path.hosts[1]], words, container=server) for server in servers))
    for path in paths:  # servers listen, and paths are warm
        targets = {path.containers[0]: path.address}
        if path.pairs:
            kind = path.containers[0].rpartition("-")[0]
            targets = {f"{kind}-left{pair}": address for pair, address in enumerate(path.pairs)}
        await asyncio.gather(*(_warm(lab.hosts[path.hosts[0]], *target) for target in targets.items()))
    for machine in lab.hosts.values():
        await must(machine, ["sh", "-c", _FIRST])
    return paths


async def _warm(host: Host, container: str, address: str) -> None:
    wait = f"until {' '.join(PROBE)} client {address} --rounds 1 --seconds 0.01 --only bulk 2>/dev/null; do :; done"
    await must(host, ["timeout", "60", "sh", "-c", wait], container=container, timeout=90)
