"""Impaired links on real packets: what the lab's relay achieves, as an ordinary user.

Datagrams of 1,000 bytes from host to host of a lab of namespaces (`lab.backends.netns.link_check`), every link made by
the relay (`OVERLAY_LAB_LINKS=relay`), in a process of the user `nobody` where the benchmark is started as root. Delays
count from the sender's call to the kernel's time stamp at the receiver, so they hold what the cables take, which the
row "no link" has. Sender, relay and receiver share the machine's cores. Started as root the benchmark gives all of its
processes the same higher priority (nice -20), so that what else runs on the machine disturbs as little as on an idle
one; the rights of an ordinary user stay those of an ordinary user. Rows "as root" are of a relay with its real-time
class. Without that priority, at a load of 13 on 2 cores, an ordinary user's relay got its fair share of them and no
more: 18,000 a second, half a second late; root's had all of it in time. A packet costs the relay some 17 us of a core
(at 25,000 a second: 9 in Python, 8 in the kernel).
"""

import contextlib
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.rows import Row, asked, row
from lab.backends.netns.link_check import LinkFlow, Measured, measure_links
from lab.errors import LabError
from lab.fabric.mechanisms import SWITCH

MS = 1_000_000
DELAYS = (1, 10, 100)
_MANY = tuple((1 + number // 4, 9 + (number // 4 + number % 4) % 8) for number in range(32))
FLOWS = [
    LinkFlow(name="no link", link={}, rate=500, count=1500),
    *(LinkFlow(name=f"delay {delay} ms", link={"delay": delay * MS}, rate=500, count=1500) for delay in DELAYS),
    LinkFlow(name="delay 20 ms, jitter 5 ms", link={"delay": 20 * MS, "jitter": 5 * MS}, rate=1000, count=3000),
    LinkFlow(name="loss 1 %", link={"loss": 0.01}, rate=5000, count=20_000),
    LinkFlow(name="rate 10 Mbit/s", link={"rate": 10_000_000}, rate=1500, count=3000),
    LinkFlow(name="rate 100 Mbit/s", link={"rate": 100_000_000}, rate=16_000, count=32_000),
    LinkFlow(name="25,000 a second, delay 5 ms", link={"delay": 5 * MS}, rate=25_000, count=75_000),
    LinkFlow(name="32 pairs of 500 a second, delay 10 ms", link={"delay": 10 * MS}, pairs=_MANY, rate=500, count=1500),
]


def run() -> list[Row]:
    """Delay, loss, rate and capacity of relayed links. OVERLAY_LAB_BENCH_RUNS: rounds."""
    rounds = int(asked("RUNS", 3))
    users, roots, loads = [], [], []
    for _ in range(rounds):
        loads.append(os.getloadavg()[0])
        users.append(_round(ordinary=True))
        loads.append(os.getloadavg()[0])
        if os.geteuid() == 0:
            roots.append(_round(ordinary=False))
    rows = [row("this machine, one-minute load", "load", "", loads)]
    rows += _rows(users, "", wanted=True)
    return rows + (_rows(roots, ", as root", wanted=False) if roots else [])


def _rows(found: Sequence[Sequence[Measured]], who: str, *, wanted: bool) -> list[Row]:
    rows: list[Row] = []

    def add(flow: LinkFlow, metric: str, unit: str, values: list[float], goal: str) -> None:
        rows.append(row(f"{flow.name}{who}", metric, unit, values, goal=goal if wanted else ""))

    for place, flow in enumerate(FLOWS):
        runs = [each[place] for each in found]
        delay = int(flow.link.get("delay", 0))
        near = "within 0.15 ms or 3 %" if delay else ""
        if "jitter" in flow.link:
            add(flow, "spread", "ms", [one.spread / MS for one in runs], "2.89")
        elif "rate" not in flow.link and "loss" not in flow.link:
            late = [(one.p50 - delay) / MS for one in runs]
            add(flow, "delay above what is asked, median", "ms", late, near)
            late = [(one.p99 - delay) / MS for one in runs]
            add(flow, "delay above what is asked, p99", "ms", late, "within 0.5 ms" if delay else "")
        if "loss" in flow.link:
            lost = [100 * (1 - one.received / one.sent) for one in runs]
            add(flow, "lost", "%", lost, "within 0.2 of it")
        if rate := flow.link.get("rate"):
            share = [one.bytes * 8e9 / one.took / rate for one in runs]
            add(flow, "rate, part of what is asked", "", share, "0.95 to 1.05")
        if flow.rate * len(flow.pairs) >= 10_000 and "rate" not in flow.link:
            arrived = [one.received * 1e6 / one.took for one in runs]
            add(flow, "arrived", "k/s", arrived, "25" if len(flow.pairs) == 1 else "16")
            gone = [float(one.sent - one.received) for one in runs]
            add(flow, "lost unasked", "packets", gone, "0")
    return rows


def _round(*, ordinary: bool) -> list[Measured]:
    """One round in a process of its own, of an ordinary user if that is wanted."""
    who: dict[str, Any] = {}
    if ordinary and os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.links"],
            env={**os.environ, SWITCH: "relay", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=Path(__file__).parents[1],
            stdout=out,
            stderr=errors,
            **who,
        )
        while process.poll() is None:
            prefer(process.pid)
            time.sleep(0.05)
        out.seek(0)
        errors.seek(0)
        text, complaint = out.read(), errors.read()
    try:
        return msgspec.json.decode(text, type=list[Measured])
    except msgspec.MsgspecError:
        raise LabError(
            f"bench links: the measuring process failed: {complaint.decode(errors='replace')[-2000:]}"
        ) from None


def prefer(pid: int) -> None:
    """Give a process, and all below it, the highest priority of its session and in it, as far as this user may."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-20", encoding="utf-8")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -20)
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
            prefer(int(child))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure_links(FLOWS, "bench-links")))
