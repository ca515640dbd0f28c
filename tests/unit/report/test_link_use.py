"""What relayed links did: from the lab's counts to the history, the summary and the page."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from lab.checkers import RecordedRun
from lab.fabric.relay.orders import DirectionCounts, RelayReply
from lab.links import Deliveries, Link
from lab.records.history import LinkUse, Meta, decode, encode
from lab.report.feed import Feed
from lab.report.page import render
from lab.report.summary import summarise
from lab.runner.link_use import follow_links, write_links

MS = 1_000_000
SLOW = Link(delay=20 * MS, loss=0.01, deliveries=Deliveries(times=(0, 1), period=2))


class CountedLab:
    """As much of a lab as its links."""

    def __init__(self) -> None:
        self.relayed: Callable[[Sequence[DirectionCounts]], None] = lambda counts: None
        self.dead = False

    def now(self) -> int:
        return 5_000 * MS

    async def link_counts(self) -> RelayReply | None:
        if self.dead:
            return None
        return RelayReply(id=1, counts=(counts(500, 5), counts(0, 0)), overruns=3)


def counts(packets: int, lost: int) -> DirectionCounts:
    return DirectionCounts(
        sender="a", receiver="<b>", link=SLOW, since=1_000 * MS, packets=packets, lost=lost, held_p50=20 * MS + 4_000
    )


def written() -> list[LinkUse]:
    lab: Any = CountedLab()
    found: list[LinkUse] = []
    follow_links(lab, found.append)
    lab.relayed((counts(100, 0),))
    asyncio.run(write_links(lab, found.append))
    lab.dead = True
    asyncio.run(write_links(lab, found.append))
    other: Any = object()
    asyncio.run(write_links(other, found.append))  # a lab without a relay
    return found


def test_links_are_written_down_when_they_change_and_at_the_end() -> None:
    records = written()
    assert [(record.packets, record.overruns) for record in records] == [(100, 0), (500, 3), (0, 0)]
    assert records[0].asked == {"delay": 20 * MS, "loss": 0.01, "deliveries": 2}
    assert [decode(encode(record)) for record in records] == records
    assert Feed().feed(records[0]) == []


def test_the_summary_and_the_page_have_those_that_carried_something() -> None:
    scenario = {"name": "links", "hosts": {}, "timeline": []}
    run = RecordedRun([Meta(t=0, scenario=scenario, backend="netns", seed=1, version="", started=""), *written()])
    summary = summarise(run)
    assert [(row["packets"], row["lost"], row["asked"]) for row in summary["links"]] == [
        (100, 0, "delay 20ms, loss 1%"),
        (500, 5, "delay 20ms, loss 1%"),
    ]
    page = render(run, {**summary, "figures": []})
    assert "Links made by the relay" in page and "a → &lt;b&gt;" in page and "1.00 %" in page
    assert "no room for 3 packets" in page
    assert "Links made by the relay" not in render(run, {**summary, "links": [], "figures": []})
