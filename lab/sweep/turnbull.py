"""Distributions of interval-censored times: Turnbull's estimate (JRSS B 1976), for many weightings at once.

Each run's time is in `(low, high]`; it is exact if both are equal, and right-censored if `high` is infinite. The
estimate puts probability only on the *innermost* intervals (a lower bound followed by an upper one with no other bound
between them), and does not determine its place within them: it is spread evenly there. With exact and right-censored
times it equals the Kaplan-Meier estimate. No dependency has it (scipy: neither `ecdf` nor `stats.CensoredData`
estimate intervals; lifelines has it, but needs pandas and four more, and takes one sample at a time). Pure except for
numpy.
"""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["Support", "coarse", "masses", "quantiles", "shares", "support"]

Floats = NDArray[np.float64]

_ROUNDS = 2_000
"""Maximum number of iterations."""
_CLOSE = 1e-7
"""The iteration stops when no probability changes by more than this."""
_POINTS = 60
"""Maximum number of distinct bounds of a sample whose band is computed: more take long and gain nothing."""
_EVEN = 1e-6
"""Tolerance for comparing a share with one half."""


class Support(Struct, frozen=True):
    """The innermost intervals of a sample, and which of them each run's time can be in."""

    low: Any
    high: Any
    """Bounds of the innermost intervals, in order; the last may end in infinity."""
    first: Any
    last: Any
    """Per run: the first and the last innermost interval within its bounds."""


def support(low: Floats, high: Floats) -> Support:
    """The innermost intervals of times in (low, high], or exactly at both where they are equal."""
    exact = low == high
    values = np.concatenate([low, high])
    # Order of bounds at the same value: an exact time begins, then intervals end, then others begin.
    order = np.concatenate([np.where(exact, 0, 2), np.ones(len(high), dtype=int)])
    sort = np.lexsort((order, values))
    sorted_values, sorted_order = values[sort], order[sort]
    begins = sorted_order != 1
    pairs = np.flatnonzero(begins[:-1] & ~begins[1:])
    rank = np.empty(len(values), dtype=int)
    rank[sort] = _ranks(sorted_values, sorted_order)
    ranked = rank[sort]
    return Support(
        low=sorted_values[pairs],
        high=sorted_values[pairs + 1],
        first=np.searchsorted(ranked[pairs], rank[: len(low)], side="left"),
        last=np.searchsorted(ranked[pairs + 1], rank[len(low) :], side="right") - 1,
    )


def coarse(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The same bounds, each moved outwards to one of at most `_POINTS` values, so that every time stays within."""
    values = np.unique(np.concatenate([low, high[np.isfinite(high)]]))
    if len(values) <= _POINTS:
        return low, high
    kept = values[np.unique(np.linspace(0, len(values) - 1, _POINTS).round().astype(int))]
    down = kept[np.searchsorted(kept, low, side="right") - 1]
    up = np.append(kept, np.inf)[np.searchsorted(kept, high, side="left")]
    return down, np.where(np.isfinite(high), up, high)


def _ranks(values: Floats, order: NDArray[Any]) -> NDArray[Any]:
    """The rank of each value among the distinct ones; both are sorted."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        moved = (values[1:] != values[:-1]) | (order[1:] != order[:-1])
    return np.concatenate([[0], np.cumsum(moved)])


def masses(where: Support, weights: Floats, *, begin: Floats | None = None, rounds: int = _ROUNDS) -> Floats:
    """The probability of each innermost interval, per row of weights of runs: (rows, intervals).

    Expectation maximisation, accelerated: two steps, then a longer one in their direction (Varadhan and Roland 2008).
    """
    runs, parts = weights.shape[1], len(where.low)
    within = np.zeros((runs, parts))
    for run, (first, last) in enumerate(zip(where.first, where.last, strict=True)):
        within[run, first : last + 1] = 1.0
    # Runs with equal bounds are merged; their weights are added.
    within, which = np.unique(within, axis=0, return_inverse=True)
    grouped = np.zeros((len(weights), len(within)))
    np.add.at(grouped.T, which.reshape(-1), weights.T)
    grouped /= weights.sum(axis=1, keepdims=True)
    found = np.full((len(weights), parts), 1.0 / parts)
    if begin is not None:
        found = 0.1 * found + 0.9 * begin
    left = np.arange(len(weights))
    for _ in range(rounds):
        now, part = found[left], grouped[left]
        one = _step(now, part, within)
        two = _step(one, part, within)
        change, bend = one - now, two - 2 * one + now
        size = np.sqrt((bend**2).sum(axis=1))
        stride = np.maximum(1.0, np.sqrt((change**2).sum(axis=1)) / np.where(size > 0, size, 1.0))[:, None]
        leap = now + 2 * stride * change + stride**2 * bend
        # The step was too long: a probability is below zero.
        leap = np.where((leap >= 0).all(axis=1, keepdims=True), leap, two)
        after = _step(leap / leap.sum(axis=1, keepdims=True), part, within)
        found[left] = after
        left = left[np.abs(after - now).max(axis=1) > _CLOSE]
        if not len(left):
            break
    return found


def _step(now: Floats, weights: Floats, within: Floats) -> Floats:
    """One EM step: distribute each run's weight over its intervals, in proportion to their probabilities."""
    allowed = now @ within.T
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(weights > 0, weights / np.maximum(allowed, 1e-300), 0.0)
    after: Floats = now * (share @ within)
    return after


def shares(where: Support, found: Floats, times: Floats) -> Floats:
    """The share that had settled by each of `times`, per row of masses."""
    ends = np.concatenate([np.zeros((len(found), 1)), np.cumsum(found, axis=1)], axis=1)
    finite = np.isfinite(where.high)
    part = np.searchsorted(np.where(finite, where.high, np.inf), times, side="right")
    inside = np.minimum(part, len(where.low) - 1)
    width = where.high[inside] - where.low[inside]
    with np.errstate(invalid="ignore", divide="ignore"):
        into = np.where(np.isfinite(width) & (width > 0), (times - where.low[inside]) / width, 0.0)
    into = np.where(part == len(where.low), 0.0, np.clip(into, 0.0, 1.0))
    share: Floats = ends[:, part] + into * found[:, inside]
    return share


def quantiles(where: Support, found: Floats, part: float = 0.5) -> Floats:
    """The time by which this share has settled, per row of masses; infinite if it never has.

    If exactly this share has settled at the end of an interval: the middle between that end and the start of the next.
    """
    ends = np.cumsum(found, axis=1)
    row = np.arange(len(found))
    reach = (ends >= part - _EVEN).argmax(axis=1)
    beyond = (ends > part + _EVEN).argmax(axis=1)
    mass = found[row, reach]
    before = ends[row, reach] - mass
    width = where.high[reach] - where.low[reach]
    with np.errstate(invalid="ignore", divide="ignore"):
        into = np.clip(np.where(mass > 0, (part - before) / mass, 1.0), 0.0, 1.0)
        inside = where.low[reach] + np.where(width > 0, width * into, 0.0)
    next_begin = np.where(np.isfinite(where.high[beyond]), where.low[beyond], where.high[reach])
    flat = (beyond != reach) & (abs(ends[row, reach] - part) <= _EVEN)
    middle: Floats = np.where(flat, (where.high[reach] + next_begin) / 2, inside)
    return np.where(np.isfinite(where.high[reach]), middle, np.inf)
