"""Measures what links achieve on this machine, with real packets in a separate lab: for `lab doctor` and benchmarks.

Owns how a measurement is made: hosts, flows, and how a result leaves the lab. Callers decide what is measured and how
to interpret it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from lab.backends.netns import launch
from lab.backends.netns.backend import NetnsBackend, NetnsLab
from lab.errors import LabError
from lab.links.changes import LinkChange
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

__all__ = ["LinkFlow", "Measured", "measure_links"]

_QUIET = "1.0"
"""Seconds without a packet that end a flow; more than any measured delay."""
_PORT = "9"
_DEADLINE = 120.0


class LinkFlow(Struct, frozen=True, kw_only=True):
    """Datagrams in several directions at once, whose links have the values of `link`."""

    name: str
    link: Mapping[str, Any]
    """Names of fields of `lab.links.Link` -> values."""
    pairs: Sequence[tuple[int, int]] = ((1, 2),)
    """(sender, receiver), indexes of hosts."""
    size: int = 1000
    """Bytes of a datagram."""
    rate: float
    """Datagrams per second in each direction."""
    count: int
    """Datagrams in each direction."""


class Measured(Struct, kw_only=True):
    """The result of a flow, over all its directions; times are nanoseconds."""

    name: str
    link: dict[str, Any]
    by: str
    """Rules, queues or relay; empty for a perfect link."""
    sent: int
    received: int
    duplicates: int
    took: int
    """Nanoseconds from the first arrival to the last."""
    offered: int = 0
    """Nanoseconds during which they were sent."""
    bytes: int = 0
    """Bytes of IP packets that arrived."""
    p50: int = 0
    """The maximum over all directions; the same for the fields below."""
    p99: int = 0
    spread: int = 0
    """Standard deviation of the delay."""
    relayed: int = 0
    relay_lost: int = 0
    """Packets that the relay dropped deliberately."""
    relay_late_p50: int = 0
    relay_late_p99: int = 0
    overruns: int = 0


def measure_links(flows: Sequence[LinkFlow], name: str) -> list[Measured]:
    """Measure one flow after the other in a fresh lab of bare hosts. Raises `LabError`."""
    hosts = max(number for flow in flows for pair in flow.pairs for number in pair)
    reading, writing = os.pipe()
    complaint = "the lab ended without a result"

    def work() -> int:
        found: Any
        try:
            found = asyncio.run(_measure(flows, hosts))
        except LabError as error:
            found = str(error)
        os.write(writing, msgspec.json.encode(found))
        return 0

    try:
        launch(work, name=name)
    finally:
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            text = answer.read()
    found = json.loads(text or b"null")
    if not isinstance(found, list):
        raise LabError(f"links could not be measured: {found or complaint}")
    return msgspec.convert(found, list[Measured])


async def _measure(flows: Sequence[LinkFlow], hosts: int) -> list[Measured]:
    names = ", ".join(f"h{number}: {{}}" for number in range(1, hosts + 1))
    text = f"version: 1\nname: links\nunderlay: {{hosts: {{{names}}}}}\noverlay: none\ntimeline: [{{wait: 1s}}]\n"
    lab = await NetnsBackend(engine=False).up(resolve(parse(text)))
    try:
        return [await _flow(lab, flow) for flow in flows]
    finally:
        await lab.down()


async def _flow(lab: NetnsLab, flow: LinkFlow) -> Measured:
    pairs = tuple((f"h{one}", f"h{other}") for one, other in flow.pairs)
    await lab.set_link(1, LinkChange(pairs, flow.link))
    try:
        return await _sent(lab, flow, pairs)
    finally:
        await lab.set_link(1, None)


async def _sent(lab: NetnsLab, flow: LinkFlow, pairs: Sequence[tuple[str, str]]) -> Measured:
    targets: dict[str, list[str]] = {}
    for sender, receiver in pairs:
        targets.setdefault(sender, []).append(receiver)
    tool = [sys.executable, "-m", "lab.probes.one_way"]
    receivers = {
        host: asyncio.create_task(lab.hosts[host].exec([*tool, "receive", _PORT, _QUIET], timeout=_DEADLINE))
        for host in dict.fromkeys(receiver for _, receiver in pairs)
    }
    for host in receivers:
        while f":{_PORT} " not in (await lab.hosts[host].exec(["ss", "-Hlun"])).out:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    words = [
        (
            host,
            str(flow.size),
            str(flow.rate * len(to)),
            str(flow.count),
            _PORT,
            *(lab.hosts[one].address for one in to),
        )
        for host, to in targets.items()
    ]
    begun = lab.now()
    done = await asyncio.gather(
        *(lab.hosts[host].exec([*tool, "send", *rest], timeout=_DEADLINE) for host, *rest in words)
    )
    offered = lab.now() - begun
    results = [(await task) for task in receivers.values()]
    for each in (*done, *results):
        if each.code:
            raise LabError(f"a flow between hosts failed: {each.err.strip()[-2000:]}")
    found = [one for each in results for one in json.loads(each.out.splitlines()[-1]).values()]
    counted = await lab.link_counts()
    counts = counted.counts if counted is not None else ()
    by = lab.mechanism(*pairs[0])
    received = sum(one["count"] for one in found)
    return Measured(
        name=flow.name,
        link=dict(flow.link),
        by=by,
        sent=flow.count * len(pairs),
        received=received,
        duplicates=sum(one["duplicates"] for one in found),
        took=max((one["took"] for one in found), default=0),
        offered=offered,
        bytes=sum(one["bytes"] for one in found) + 28 * received,
        p50=max((one["p50"] for one in found), default=0),
        p99=max((one["p99"] for one in found), default=0),
        spread=max((one["spread"] for one in found), default=0),
        relayed=sum(one.packets for one in counts),
        relay_lost=sum(one.lost for one in counts),
        relay_late_p50=max((one.late_p50 for one in counts), default=0),
        relay_late_p99=max((one.late_p99 for one in counts), default=0),
        overruns=counted.overruns if counted is not None else 0,
    )
