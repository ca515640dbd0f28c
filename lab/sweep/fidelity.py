"""The simulator compared with real packets: how far settling times and message counts differ. Pure; reads points only.

Owns which figures are comparable, the ratio simulated / real, and its description in words. A ratio near 1 means that
the simulator predicts the figure. Times shorter than `NOISE` on both sides are called equal, because they depend mostly
on the phase of a probe and on the scheduler. Both sides are censored at the shorter of the two windows. An event is not
compared if it began in a settled state on one side only.
"""

from collections.abc import Sequence
from math import exp, log
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct

from lab.sweep.groups import TRAFFIC, Group, events_of, floor_of, grouped, metrics_of, sample_of
from lab.sweep.measure import Point
from lab.sweep.statistics import CensoredSample, median, ratio_of_medians

__all__ = ["NOISE", "Fidelity", "Line", "fidelity"]

NOISE = 0.1
"""Seconds. Times that are shorter on both sides are not distinguished."""
_FACTOR = 2.0
"""Within this factor a figure is called close."""
_ALPHA = 0.05

Closeness = Literal["close", "unclear", "off"]


class Line(Struct, frozen=True, kw_only=True):
    """One figure after one event. Times in seconds."""

    event: str
    metric: str
    runs: tuple[int, int]
    """Number of runs in the simulator, and on real packets."""
    sim: float | None
    """Median; None: not reached in half of the runs."""
    real: float | None
    ratio: float | None
    """sim / real; None where it is undefined, or both are shorter than `NOISE`."""
    low: float | None
    high: float | None
    """Its 95 % bootstrap interval."""
    sim_bounds: tuple[float, float | None] | None = None
    """The median lies above the first and not above the second (None: no bound is known); None if it is exact."""
    real_bounds: tuple[float, float | None] | None = None
    floor: float = 0.0
    """Seconds below which neither side can measure it: the longest interval of the probes."""
    closeness: Closeness
    """`close`: the whole interval is within a factor of two, or both are equal, shorter than `NOISE`, or not reached.
    `off`: the whole interval is outside, or only one side was reached. `unclear`: the interval contains the limit, or
    there is no interval.
    """


class Fidelity(Struct, frozen=True, kw_only=True):
    """The result of the comparison."""

    words: str
    lines: tuple[Line, ...]
    verdicts: tuple[str, str]
    """Number of valid runs of the simulator, and of the real backend: `5 of 5`."""
    agree: bool | None
    """True: all runs of both are valid, or none of both; False: their shares differ significantly (Fisher's exact
    test); None: there are too few runs to decide."""
    left_out: tuple[str, ...] = ()
    """Events of both that began in different states."""


def fidelity(sim: Sequence[Point], real: Sequence[Point], *, seed: int = 0) -> Fidelity:
    """Compare the runs of one scenario on both backends."""
    ours, theirs = grouped(sim), grouped(real)
    lines: list[Line] = []
    left_out: list[str] = []
    for event in (name for name in events_of(theirs) if name in set(events_of(ours))):
        if _began_settled(ours, event) != _began_settled(theirs, event):
            left_out.append(event)
            continue
        known = [metric for metric in metrics_of(theirs, event) if metric in metrics_of(ours, event)]
        window = min(_window(ours, event), _window(theirs, event))
        for metric in (*known, *TRAFFIC):
            one, other = (sample_of([p for g in groups for p in g.points], event, metric) for groups in (ours, theirs))
            if metric not in TRAFFIC:
                one, other = _within(one, window), _within(other, window)
            if len(one) and len(other) and (one.values.any() or other.values.any()):
                floor = max(floor_of(groups, event, metric) for groups in (ours, theirs))
                lines.append(_line(event, metric, one, other, floor, seed))
    found = (_how_many(sim), _how_many(real))
    return Fidelity(
        words=_words(lines, left_out, found),
        lines=tuple(lines),
        verdicts=found,
        agree=_agree(_valid(sim), _valid(real)),
        left_out=tuple(left_out),
    )


def _began_settled(groups: Sequence[Group], event: str) -> bool:
    """Whether the changes of the previous event had settled when this one began, in at least half of the runs."""
    settled = runs = 0
    for point in (point for group in groups for point in group.points):
        names = [one.name for one in point.events]
        if event in names:
            place = names.index(event)
            runs += 1
            settled += place == 0 or point.events[place - 1].times.get("overall") is not None
    return 2 * settled >= runs


def _window(groups: Sequence[Group], event: str) -> float:
    """The shortest window that a run gave this event, in seconds."""
    points = (point for group in groups for point in group.points)
    return min(one.window for point in points for one in point.events if one.name == event) / 1e9


def _within(sample: CensoredSample, window: float) -> CensoredSample:
    """The sample censored at `window`."""
    reached = sample.reached & (sample.values <= window)
    after = np.minimum(sample.after, window)
    return CensoredSample(list(np.where(reached, sample.values, after)), list(reached), list(after))


def _line(event: str, metric: str, sim: CensoredSample, real: CensoredSample, floor: float, seed: int) -> Line:
    one, other = median(sim, seed=seed).value, median(real, seed=seed).value
    known = [value if np.isfinite(value) else None for value in (one, other)]
    alike = known[0] == known[1] or (metric not in TRAFFIC and max(one, other) < NOISE)
    ratio = None if alike else ratio_of_medians(sim, real, seed=seed)
    found = Line(
        event=event,
        metric=metric,
        runs=(len(sim), len(real)),
        sim=known[0],
        real=known[1],
        ratio=None if ratio is None else ratio.value,
        low=None if ratio is None else ratio.low,
        high=None if ratio is None else ratio.high,
        sim_bounds=_bounds(sim),
        real_bounds=_bounds(real),
        floor=floor,
        closeness="close",
    )
    return found if alike else msgspec.structs.replace(found, closeness=_closeness(found))


def _bounds(sample: CensoredSample) -> tuple[float, float | None] | None:
    """The bounds of the median: the medians of the bounds of all runs. None: every time is exact."""
    if not sample.intervals:
        return None
    middle = (len(sample) - 1) // 2
    low, high = (float(np.sort(each)[middle]) for each in sample.bounds)
    return low, high if np.isfinite(high) else None


def _closeness(line: Line) -> Closeness:
    if line.ratio is None:
        return "off"  # reached, or sent, on one side only
    low, high = line.low or 0.0, line.high or np.inf
    if low >= 1 / _FACTOR and high <= _FACTOR:
        return "close"
    return "off" if low > _FACTOR or high < 1 / _FACTOR else "unclear"


def _words(lines: Sequence[Line], left_out: Sequence[str], verdicts: tuple[str, str]) -> str:
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
        close, unclear = (sum(line.closeness == what for line in chosen) for what in ("close", "unclear"))
        text = f"{title}: {close} of {len(chosen)} certainly within a factor of {_FACTOR:g}"
        text += f" (or both below {NOISE:g} s, or reached in neither)" if title == "Times to settle" else ""
        text += f", {unclear} unclear with so few runs" if unclear else ""
        if ratios:
            middle = exp(sum(map(log, ratios)) / len(ratios))
            text += f"; the simulator's are {middle:.2f} times the real ones in the geometric mean"
            worst = max((line for line in chosen if line.ratio), key=lambda line: abs(log(line.ratio or 1)))
            text += f", farthest off {worst.metric.replace('_', ' ')} after {worst.event} ({worst.ratio:.2f} times)"
        parts.append(text + ".")
    if left_out:
        parts.append(f"Not compared, for only one side had settled before: {', '.join(left_out)}.")
    return " ".join(parts)


def _agree(sim: tuple[int, int], real: tuple[int, int]) -> bool | None:
    """Agreement from (valid, all) runs of each side."""
    shares = [valid / runs if runs else None for valid, runs in (sim, real)]
    if shares[0] == shares[1] and shares[0] in (0, 1):
        return True
    if None in shares or set(shares) == {0, 1}:
        return False
    # Imported here because the import takes a second and only this function needs it.
    from scipy.stats import fisher_exact

    table = [[valid, runs - valid] for valid, runs in (sim, real)]
    return False if fisher_exact(table).pvalue < _ALPHA else None


def _valid(points: Sequence[Point]) -> tuple[int, int]:
    return sum(point.verdict == "valid" for point in points), len(points)


def _how_many(points: Sequence[Point]) -> str:
    valid, runs = _valid(points)
    return f"{valid} of {runs}"
