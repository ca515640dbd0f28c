"""TCP over links that lose packets: the simulator's Reno, the kernel's, and Mathis' formula.

The kernel's is a bulk transfer between two hosts of a lab of namespaces whose congestion control is `reno`, over links
that the lab's relay delays and lets lose packets (`OVERLAY_LAB_LINKS=relay`); the simulator's is a flow of
`lab.sim.tcp` over the same links in virtual time. Both send without end for the same time and count what the receiver
gets. The formula is sqrt(3/2) full segments for each round trip, over the root of the loss (Mathis et al. 1997); it
knows no time-outs. All of the kernel's corners run at the same time, in pairs of hosts of their own.
"""

import asyncio
import json
import os
import sys
from math import sqrt

import msgspec

from benchmarks.rows import Row, asked, row
from lab.backends.netns import launch
from lab.backends.netns.backend import NetnsBackend, NetnsLab
from lab.errors import LabError
from lab.fabric.mechanisms import SWITCH
from lab.links import Link
from lab.links.changes import LinkChange
from lab.links.model import DirectionModel
from lab.scenario.load import parse
from lab.scenario.resolve import resolve
from lab.sim.reno import MSS
from lab.sim.scheduler import Scheduler
from lab.sim.tcp import PacketSender, TcpFlow
from overlay.env import MILLISECOND, SECOND, Random

CORNERS = ((20, 0.001), (20, 0.01), (100, 0.001), (100, 0.01), (50, 0.003))
"""Round trip in milliseconds, loss."""
_FLOWS = (1, 2, 3, 4, 2)
"""Pairs of hosts of each corner, for slow ones meet few losses in the time."""
_BLOCK = 1 << 16
_LONG = 300
"""Seconds of virtual time for the comparison with a formula of the steady state."""
_KERNEL_WARM = 300 * MILLISECOND
"""What `lab.probes.throughput` leaves out: its figure has slow start's overshoot in it, and so has this one."""
_GOAL = "0.8 to 1.2"


def run() -> list[Row]:
    """OVERLAY_LAB_BENCH_SECONDS: of each transfer (60)."""
    seconds = int(asked("SECONDS", 60))
    kernel = _kernel(seconds)
    rows = []
    for (trip, loss), real in zip(CORNERS, kernel, strict=True):
        name = f"{trip} ms, {100 * loss:g} %"
        formula = sqrt(1.5 / loss) * MSS * 8_000 / trip
        mean = sum(real) / len(real)
        simulated = [_simulated(trip, loss, _LONG, seed) for seed in (1, 2, 3)]
        alike = [_simulated(trip, loss, seconds, seed, warm=_KERNEL_WARM) for seed in range(10)]
        rows.append(row(name, "Mathis", "Mbit/s", [formula / 1e6]))
        rows.append(row(name, "kernel", "Mbit/s", [rate / 1e6 for rate in real]))
        rows.append(row(name, "simulator", "Mbit/s", [rate / 1e6 for rate in simulated]))
        rows.append(row(name, "simulator / Mathis", "", [rate / formula for rate in simulated], goal=_GOAL))
        rows.append(row(name, "simulator / kernel, equal times", "", [sum(alike) / 10 / mean], goal=_GOAL))
    return rows


def _simulated(trip: int, loss: float, seconds: int, seed: int, warm: int = 3 * SECOND) -> float:
    """Bits per second of a transfer without end in virtual time."""
    scheduler, rng = Scheduler(), Random(seed)
    delay = trip * MILLISECOND // 2
    received = 0

    def over(link: Link) -> PacketSender:
        model = DirectionModel(link, rng)

        def send(size: int, arrives, what: object) -> None:  # type: ignore[no-untyped-def]
            for copy in model.packet(scheduler.now, size):
                scheduler.at(copy.at, arrives, what)

        return send

    def delivered(message: object, size: int) -> None:
        nonlocal received
        received += size
        flow.write(None, size)

    there, back = over(Link(delay=delay, loss=loss)), over(Link(delay=delay))
    flow = TcpFlow(scheduler, 2 * delay, there, back, delivered, lambda: None)
    for _ in range(100):
        flow.write(None, _BLOCK)
    scheduler.run(warm)
    before = received
    scheduler.run(warm + seconds * SECOND)
    return (received - before) * 8 / seconds


def _kernel(seconds: int) -> list[list[float]]:
    """Bits per second of the kernel's transfers, corner by corner."""
    reading, writing = os.pipe()

    def work() -> int:
        found: object
        try:
            found = asyncio.run(_measured(seconds))
        except LabError as error:
            found = str(error)
        os.write(writing, msgspec.json.encode(found))
        return 0

    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "relay"
    try:
        launch(work, name="bench-tcp")
    finally:
        os.close(writing)
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before
        with os.fdopen(reading, "rb") as answer:
            text = answer.read()
    found = json.loads(text or b"null")
    if not isinstance(found, list):
        raise LabError(f"bench tcp: the kernel's transfers failed: {found or 'the lab ended without a result'}")
    return msgspec.convert(found, list[list[float]])


async def _measured(seconds: int) -> list[list[float]]:
    names = ", ".join(f"h{number}: {{}}" for number in range(2 * sum(_FLOWS)))
    text = f"version: 1\nname: tcp\nunderlay: {{hosts: {{{names}}}}}\noverlay: none\ntimeline: [{{wait: 1s}}]\n"
    lab = await NetnsBackend(engine=False).up(resolve(parse(text)))
    try:
        flows = []
        number = 0
        for corner, count in zip(CORNERS, _FLOWS, strict=True):
            flows.append(
                [
                    _flow(lab, f"h{number + 2 * one}", f"h{number + 2 * one + 1}", corner, seconds)
                    for one in range(count)
                ]
            )
            number += 2 * count
        return [list(rates) for rates in await asyncio.gather(*(asyncio.gather(*each) for each in flows))]
    finally:
        await lab.down()


async def _flow(lab: NetnsLab, sender: str, receiver: str, corner: tuple[int, float], seconds: int) -> float:
    trip, loss = corner
    delay = trip * MILLISECOND // 2
    number = int(sender[1:])
    await lab.set_link(2 * number, LinkChange(((sender, receiver),), {"delay": delay, "loss": loss}))
    await lab.set_link(2 * number + 1, LinkChange(((receiver, sender),), {"delay": delay}))
    server, client = lab.hosts[receiver], lab.hosts[sender]
    for host in (server, client):
        chosen = await host.exec(["sh", "-c", "echo reno > /proc/sys/net/ipv4/tcp_congestion_control"])
        if chosen.code:
            raise LabError(f"this kernel has no reno: {chosen.err.strip()[-200:]}")
    tool = [sys.executable, "-m", "lab.probes.throughput"]
    serving = asyncio.create_task(
        server.exec(
            ["sh", "-c", 'sleep "$1" | "$2" -m "$3" server', "sh", str(seconds + 60), *_plain(tool)],
            timeout=seconds + 120,
        )
    )
    while ":5201 " not in (await server.exec(["ss", "-Hltn"])).out:
        if serving.done():
            raise LabError(f"the receiver of a transfer ended: {serving.result().err.strip()[-500:]}")
        await asyncio.sleep(0.1)
    words = ["client", server.address, "--seconds", str(seconds), "--rounds", "1", "--only", "bulk"]
    done = await client.exec([*tool, *words], timeout=seconds + 90)
    serving.cancel()
    if done.code:
        raise LabError(f"a transfer between hosts failed: {done.err.strip()[-2000:]}")
    return float(json.loads(done.out)["throughput"]["median"])


def _plain(tool: list[str]) -> list[str]:
    return [tool[0], tool[2]]
