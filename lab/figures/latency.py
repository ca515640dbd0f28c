"""Latencies: percentiles per interval, as text and as a table. Owns the intervals."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lab.checkers.run import RecordedRun, nearest_rank
from lab.figures.told import Told, seconds, table
from lab.kinds.probes import ordered_probes, title_of
from lab.records.history import Sample
from lab.words import span

__all__ = ["PERCENTILES", "LatencyCurves", "bin_width", "curves", "latency", "percentile"]

PERCENTILES = (50, 95, 99)
_BINS = 80


class LatencyCurves(Struct, frozen=True):
    """The tries of one kind of probe, by interval."""

    kind: str
    width: int
    """Length of an interval in nanoseconds."""
    middles: list[float]
    """Middle of each interval in seconds."""
    answered: list[int]
    failed: list[int]
    values: list[tuple[float, ...] | None]
    """The percentiles (ns); None for an interval without answers."""


def bin_width(length: int, tries: int) -> int:
    """Nanoseconds per point: a round number that gives at most `_BINS` points, with ten or more tries in each."""
    wanted: float = max(length / _BINS, length * 10 / max(tries, 1), 1)
    steps = [int(base * 10**power) for power in range(6, 13) for base in (1, 2, 5)]
    return next((step for step in steps if step >= wanted), steps[-1])


def percentile(ordered: Sequence[int], percent: int) -> float:
    """Linear interpolation between the two nearest values."""
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def curves(run: RecordedRun) -> list[LatencyCurves]:
    """The curves of every kind of probe that was ever answered."""
    if run.long is not None:
        from lab.figures.many_tries import latency_curves

        return latency_curves(run)
    by_kind: dict[str, list[Sample]] = {}
    for key, samples in run.series.items():
        by_kind.setdefault(key[0], []).extend(samples)
    kinds = [kind for kind in ordered_probes(by_kind) if any(sample.ok for sample in by_kind[kind])]
    if not kinds:
        return []
    start = min(sample.t for kind in kinds for sample in by_kind[kind])
    end = max(min(run.end, run.stop), start + 1)
    return [_curves(kind, by_kind[kind], start, end) for kind in kinds]


def _curves(kind: str, samples: list[Sample], start: int, end: int) -> LatencyCurves:
    width = bin_width(end - start, len(samples))
    count = (end - start) // width + 1
    answered: list[list[int]] = [[] for _ in range(count)]
    failed = [0] * count
    for sample in samples:
        index = (sample.t - start) // width
        if index >= count or sample.error == "late":
            continue
        if sample.ok and sample.latency is not None:
            answered[index].append(sample.latency)
        else:
            failed[index] += 1
    for values in answered:
        values.sort()
    return LatencyCurves(
        kind=kind,
        width=width,
        middles=[seconds(start + index * width + width // 2) for index in range(count)],
        answered=[len(values) for values in answered],
        failed=failed,
        values=[tuple(percentile(values, p) for p in PERCENTILES) if values else None for values in answered],
    )


def latency(run: RecordedRun) -> Told | None:
    """p50, p95 and p99 of the successful tries of each interval, and the number of failed ones."""
    found = curves(run)
    if not found:
        return None
    data: list[tuple[Any, ...]] = [
        (f"{middle:.3f}", each.kind, good + bad, bad, *(map(round, values) if values else ("",) * len(PERCENTILES)))
        for each in found
        for middle, good, bad, values in zip(each.middles, each.answered, each.failed, each.values, strict=True)
        if good + bad
    ]
    medians = [f"{title_of(each.kind)} {span(nearest_rank(run.latencies(each.kind), 50))}" for each in found]
    widths = [f"{title_of(each.kind)} {span(each.width)}" for each in found]
    return Told(
        name="latency",
        title=f"Half of all answers came within: {', '.join(medians)}",
        caption="Median, 95th and 99th percentile of the successful tries, on a logarithmic scale "
        f"(one point per interval: {', '.join(widths)}); "
        "dots at the foot are tries that failed, larger when more of them did.",
        csv=table(("t_s", "probe", "tries", "failed", *(f"p{value}_ns" for value in PERCENTILES)), data),
    )
