"""The definition of an outage, shared by checkers, summary, page, figures and tables. Pure.

An *outage* is a maximal row of failed tries of one series, without a good try in between. It lasts from the due time of
its first failed try until the answer of the next good try; without a next good try it lasts to the end of the record. A
try that was never sent in time (`late`) says nothing: it does not belong to an outage and does not end one.

A *pair* is a source and a target. It may be probed by HTTP and by ICMP; a report uses HTTP where there is HTTP, because
it demands more. `RecordedRun` has the pairs and outages of a history.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from lab.checkers.world import SeriesKey
from lab.kinds.probes import ordered_probes, says_reach
from lab.records.history import Sample
from lab.words import natural

__all__ = ["Outage", "failed", "in_rows", "outages", "pairs", "series_order"]

_LATER = 2_000_000_000
"""Nanoseconds after the first pair from which a pair counts as late."""


class Outage(Struct, frozen=True, kw_only=True):
    """One outage of one series. Times in nanoseconds."""

    series: SeriesKey
    start: int
    """Due time of the first failed try."""
    end: int
    """When the next good try was answered, or the record ended."""
    tries: Sequence[Sample]
    """The failed tries."""
    ended: bool
    """False: no good try followed."""

    @property
    def lasted(self) -> int:
        """Duration of the outage."""
        return self.end - self.start


def failed(sample: Sample) -> bool | None:
    """Whether a try failed; None when it says nothing."""
    return None if sample.error == "late" else not sample.ok


def in_rows(
    samples: Iterable[Sample], wrong: Callable[[Sample], bool | None]
) -> list[tuple[tuple[Sample, ...], Sample | None]]:
    """Maximal rows of wrong tries without a right one in between, each with the right try that ended it (or None).

    `wrong` is None for a try that says nothing: it does not belong to a row and does not end one.
    """
    rows: list[tuple[tuple[Sample, ...], Sample | None]] = []
    row: list[Sample] = []
    for sample in samples:
        verdict = wrong(sample)
        if verdict:
            row.append(sample)
        elif row and verdict is False:
            rows.append((tuple(row), sample))
            row = []
    return [*rows, (tuple(row), None)] if row else rows


def outages(series: SeriesKey, samples: Iterable[Sample], *, end: int, stop: int) -> list[Outage]:
    """The outages of one series, in order. Tries due at `stop` (when the lab is taken down) or later do not count;
    `end` is the time of the last record."""
    return [
        Outage(
            series=series,
            start=row[0].t,
            end=min(end, stop) if back is None else back.t + back.late + (back.latency or 0),
            tries=row,
            ended=back is not None,
        )
        for row, back in in_rows((sample for sample in samples if sample.t < stop), failed)
    ]


def pairs(series: Mapping[SeriesKey, Sequence[Sample]]) -> tuple[SeriesKey, ...]:
    """One series of each pair, in display order: by name, late pairs last."""
    probes: dict[tuple[str, str], str] = {}
    rank = {probe: index for index, probe in enumerate(ordered_probes(key[0] for key in series))}
    for probe, source, target in series:
        if says_reach(probe):
            probes[source, target] = min(probe, probes.get((source, target), probe), key=rank.__getitem__)
    keys: list[SeriesKey] = [(probe, source, target) for (source, target), probe in probes.items()]
    began = min((series[key][0].t for key in keys), default=0)
    # Late pairs (a service was scaled) go below those that were there from the beginning.
    return tuple(sorted(keys, key=lambda key: (series[key][0].t > began + _LATER, series_order(key)[1:], key[0])))


def series_order(key: SeriesKey) -> tuple[object, ...]:
    """Sort key of a series: probe, source and target, with numbers in names compared as numbers."""
    return key[0], natural(key[1]), natural(key[2])
