"""Writes counters of relayed links into the history: when a link is changed, and at the end. Decides nothing."""

from collections.abc import Callable, Sequence

import msgspec

from lab.contracts.lab import Lab, Relayed
from lab.fabric.relay.orders import DirectionCounts
from lab.records.history import LinkUse

__all__ = ["follow_links", "write_links"]


def follow_links(lab: Lab, record: Callable[[LinkUse], None]) -> None:
    """From now on record the counters of a link each time it is changed."""
    if isinstance(lab, Relayed):
        lab.relayed = lambda counts: _write(lab.now(), counts, 0, record)


async def write_links(lab: Lab, record: Callable[[LinkUse], None]) -> None:
    """Record the counters of all links so far."""
    if isinstance(lab, Relayed) and (found := await lab.link_counts()) is not None:
        _write(lab.now(), found.counts, found.overruns, record)


def _write(t: int, counts: Sequence[DirectionCounts], overruns: int, record: Callable[[LinkUse], None]) -> None:
    for one in counts:
        asked = {name: msgspec.to_builtins(getattr(one.link, name)) for name in one.link.asks()}
        if "table" in asked:
            asked["table"] = len(one.link.table)
        if "deliveries" in asked:
            asked["deliveries"] = len(one.link.deliveries.times) if one.link.deliveries is not None else 0
        record(
            LinkUse(
                t=t,
                sender=one.sender,
                receiver=one.receiver,
                asked=asked,
                lasted=one.since,
                packets=one.packets,
                lost=one.lost,
                duplicated=one.duplicated,
                corrupted=one.corrupted,
                cut=one.cut,
                failed=one.failed,
                held_p50=one.held_p50,
                held_p99=one.held_p99,
                late_p50=one.late_p50,
                late_p99=one.late_p99,
                overruns=overruns,
            )
        )
        overruns = 0
