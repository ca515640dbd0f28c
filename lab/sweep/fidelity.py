"""The simulator beside real packets: how far times to settle and message counts differ. Pure; reads points only.

Owns which figures are comparable, the ratio of the simulator's to the real one's, and what it says in words. A ratio
near 1 means that the simulator foretells the figure; times shorter than `NOISE` on both sides are called equal, for
they are made of a probe's phase and a scheduler's whim.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np
from msgspec import Struct

from lab.sweep.groups import TRAFFIC, events_of, grouped, metrics_of, sample_of
from lab.sweep.measure import Point
from lab.sweep.statistics import CensoredSample, median, ratio_of_medians

__all__ = ["NOISE", "Fidelity", "Line", "fidelity"]

NOISE = 0.1
"""Seconds. What is shorter on both sides is not told apart."""
_FACTOR = 2.0
"""Within this factor a figure is called close."""


class Line(Struct, frozen=True, kw_only=True):
    """One figure after one event. Times in seconds."""

    event: str
    metric: str
    runs: tuple[int, int]
    """In the simulator, and on real packets."""
    sim: float | None
    """Median; None: not reached in half of the runs."""
    real: float | None
    ratio: float | None
    """sim / real; None where it cannot be said, or both are shorter than `NOISE`."""
    low: float | None
    high: float | None
    """Its 95 % bootstrap interval."""
    close: bool
    """Within a factor of two, or both shorter than `NOISE`, or neither reached."""


class Fidelity(Struct, frozen=True, kw_only=True):
    """What there is to say."""

    words: str
    lines: tuple[Line, ...]
    verdicts: tuple[str, str]
    """How many runs of the simulator, and of the real backend, were valid: `5 of 5`."""
    agree: bool
    """Both call the scenario valid, or both do not."""


def fidelity(sim: Sequence[Point], real: Sequence[Point], *, seed: int = 0) -> Fidelity:
    """Compare the runs of one scenario on both."""
    ours, theirs = grouped(sim), grouped(real)
    lines: list[Line] = []
    for event in (name for name in events_of(theirs) if name in set(events_of(ours))):
        known = [metric for metric in metrics_of(theirs, event) if metric in metrics_of(ours, event)]
        for metric in (*known, *TRAFFIC):
            one, other = (sample_of([p for g in groups for p in g.points], event, metric) for groups in (ours, theirs))
            if len(one) and len(other) and (one.values.any() or other.values.any()):
                lines.append(_line(event, metric, one, other, seed))
    sound = [_all_valid(points) for points in (sim, real)]
    found = (_how_many(sim), _how_many(real))
    return Fidelity(words=_words(lines, found), lines=tuple(lines), verdicts=found, agree=sound[0] == sound[1])


def _line(event: str, metric: str, sim: CensoredSample, real: CensoredSample, seed: int) -> Line:
    one, other = median(sim, seed=seed).value, median(real, seed=seed).value
    known = [value if np.isfinite(value) else None for value in (one, other)]
    tiny = metric not in TRAFFIC and max(one, other) < NOISE
    ratio = None if tiny else ratio_of_medians(sim, real, seed=seed)
    value = None if ratio is None else ratio.value
    return Line(
        event=event,
        metric=metric,
        runs=(len(sim), len(real)),
        sim=known[0],
        real=known[1],
        ratio=value,
        low=None if ratio is None else ratio.low,
        high=None if ratio is None else ratio.high,
        close=tiny or known == [None, None] or (value is not None and 1 / _FACTOR <= value <= _FACTOR),
    )


def _words(lines: Sequence[Line], verdicts: tuple[str, str]) -> str:
    if not lines:
        return "There is nothing to compare: no event is in runs of both."
    parts = [f"Valid runs: {verdicts[0]} in the simulator, {verdicts[1]} on real packets."]
    for title, chosen in (
        ("Times to settle", [line for line in lines if line.metric not in TRAFFIC]),
        ("Message counts", [line for line in lines if line.metric == "messages_per_peer"]),
        ("Bytes", [line for line in lines if line.metric == "bytes_per_peer"]),
    ):
        if not chosen:
            continue
        ratios = [line.ratio for line in chosen if line.ratio]
        close = sum(line.close for line in chosen)
        text = f"{title}: {close} of {len(chosen)} within a factor of {_FACTOR:g}"
        text += f" (or both below {NOISE:g} s, or reached in neither)" if title == "Times to settle" else ""
        if ratios:
            middle = exp(sum(map(log, ratios)) / len(ratios))
            text += f"; the simulator's are {middle:.2f} times the real ones in the geometric mean"
            worst = max((line for line in chosen if line.ratio), key=lambda line: abs(log(line.ratio or 1)))
            text += f", farthest off {worst.metric.replace('_', ' ')} after {worst.event} ({worst.ratio:.2f} times)"
        parts.append(text + ".")
    return " ".join(parts)


def _all_valid(points: Sequence[Point]) -> bool:
    return bool(points) and all(point.verdict == "valid" for point in points)


def _how_many(points: Sequence[Point]) -> str:
    return f"{sum(point.verdict == 'valid' for point in points)} of {len(points)}"
