"""What a league measures: the columns of its tables, with their units. How each is read is `measures`'."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from lab.trials.trial import LeagueQuestion

__all__ = ["MEASURES", "LeagueMeasure", "measures_of"]


class LeagueMeasure(Struct, frozen=True, kw_only=True):
    """One column."""

    name: str
    title: str
    about: str
    unit: str
    better: Literal["less", "more"] = "less"
    step: float = 0.0
    """The least difference that can be told."""


MEASURES: Mapping[str, LeagueMeasure] = {
    one.name: one
    for one in (
        LeagueMeasure(
            name="outage",
            title="outage",
            about="of the pair of containers for which it is longest: the time in which its tries failed, from the "
            "question's event (for a cut: from its heal) to the end of the run",
            unit="s",
            step=0.05,
        ),
        LeagueMeasure(
            name="lost",
            title="lost",
            about="tries that failed in the same time, per pair of containers",
            unit="packets",
            step=1.0,
        ),
        LeagueMeasure(
            name="first",
            title="first packet",
            about="from the question's event until each pair of containers had an answer; includes how long engines "
            "take to start containers",
            unit="s",
            step=0.1,
        ),
        LeagueMeasure(
            name="control",
            title="control traffic",
            about="bytes on a host's cables, in and out, while no container runs; with the underlay's own ARP",
            unit="B/s",
            step=1.0,
        ),
        LeagueMeasure(
            name="cpu",
            title="CPU",
            about="seconds of CPU a second that the overlay's processes use on a host (what the kernel does for an "
            "overlay is in no process)",
            unit="cores",
            step=0.002,
        ),
        LeagueMeasure(
            name="memory",
            title="memory",
            about="resident memory of the overlay's processes on a host",
            unit="MiB",
            step=0.1,
        ),
        LeagueMeasure(
            name="throughput",
            title="throughput",
            about="of one TCP connection",
            unit="Mbit/s",
            better="more",
        ),
        LeagueMeasure(name="rtt", title="round trip", about="median of the answered tries", unit="ms", step=0.01),
    )
}


def measures_of(questions: Sequence[LeagueQuestion]) -> list[LeagueMeasure]:
    """Those that any of these questions asks for."""
    asked = {name for question in questions for name in question.measures}
    return [measure for name, measure in MEASURES.items() if name in asked]
