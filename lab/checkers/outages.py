"""What an outage is, once for checkers, summary, page, figures and tables. Pure.

An *outage* is a longest row of failed tries of one series, with no good one between. It lasts from when its first
failed try was due until the next good try was answered; one that no good try follows lasts to the end of the record.
A try that was never sent in time (`late`) says nothing: it is no part of an outage and ends none.

A *pair* is a source and a target. It may be asked by HTTP and by ICMP; what a report says of pairs, it says by HTTP,
which demands more, where there is HTTP. `RecordedRun` has the pairs and outages of a history; here is what they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from lab.checkers.world import SeriesKey
from lab.kinds.probes import ordered_probes, says_reach
from lab.records.history import Sample
from lab.words import natural

__all__ = ["Outage", "failed", "in_rows", "outages", "pairs", "series_order"]

_LATER = 2_000_000_000
"""Nanoseconds after the first pair from which a pair is a late-comer."""


class Outage(Struct, frozen=True, kw_only=True):
    """One outage of one series. Times in nanoseconds."""

    series: SeriesKey
    start: int
    """When the first failed try was due."""
    end: int
    """When the next good try was answered, or the record ended."""
    tries: tuple[Sample, ...]
    """The failed ones."""
    ended: bool
    """False: no good try followed."""

    @property
    def lasted(self) -> int:
        """How long nothing got through."""
        return self.end - self.start


def failed(sample: Sample) -> bool | None:
    """Whether a try failed; None when it says nothing."""
    return None if sample.error == "late" else not sample.ok


def in_rows(
    samples: Iterable[Sample], wrong: Callable[[Sample], bool | None]
) -> list[tuple[tuple[Sample, ...], Sample | None]]:
    """The longest rows of wrong tries with no right one between, each with the right one that ended it (or None).

    `wrong` is None for a try that says nothing: such a one is in no row and ends none.
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
    """The outages of one series, in order. Tries that are due at `stop` or later, when the lab is taken down, do not
    count; `end` is when the last record was."""
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
    """One series of each pair, in the order in which pairs are shown: by name, late-comers last."""
    probes: dict[tuple[str, str], str] = {}
    rank = {probe: index for index, probe in enumerate(ordered_probes(key[0] for key in series))}
    for probe, source, target in series:
        if says_reach(probe):
            probes[source, target] = min(probe, probes.get((source, target), probe), key=rank.__getitem__)
    keys: list[SeriesKey] = [(probe, source, target) for (source, target), probe in probes.items()]
    began = min((series[key][0].t for key in keys), default=0)
    # Pairs that came later (a service was scaled) go below those that were there from the beginning.
    return tuple(sorted(keys, key=lambda key: (series[key][0].t > began + _LATER, series_order(key)[1:], key[0])))


def series_order(key: SeriesKey) -> tuple[object, ...]:
    """A key to sort series by: probe, source and target, with numbers in names as numbers."""
    return key[0], natural(key[1]), natural(key[2])
