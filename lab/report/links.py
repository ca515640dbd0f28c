"""Relayed links of a run: configured and achieved values, as plain data. Pure."""

from typing import Any

from lab.checkers import RecordedRun
from lab.records.history import LinkUse
from lab.scenario.link_words import link_words

__all__ = ["link_rows"]

_MOST = 100
"""Maximum number of rows: those with the most packets."""


def link_rows(run: RecordedRun) -> list[dict[str, Any]]:
    """One row for each link and direction that carried packets, in the order of the history."""
    found = [record for record in run.records if isinstance(record, LinkUse) and record.packets]
    busiest = sorted(range(len(found)), key=lambda place: -found[place].packets)[:_MOST]
    return [
        {
            "t": record.t,
            "sender": record.sender,
            "receiver": record.receiver,
            "asked": link_words(record.asked),
            "lasted": record.lasted,
            "packets": record.packets,
            "lost": record.lost,
            "delay_p50": record.held_p50,
            "delay_p99": record.held_p99,
            "late_p50": record.late_p50,
            "late_p99": record.late_p99,
            "cut": record.cut,
            "failed": record.failed,
            "overruns": record.overruns,
        }
        for record in (found[place] for place in sorted(busiest))
    ]
