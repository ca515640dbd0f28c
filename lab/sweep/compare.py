"""Two sweeps: do they differ, where, by how much, in words. Pure; reads points only.

Runs of equal assignments are compared event by event and metric by metric. Each comparison is a permutation test on
censored times, with the ratio of medians as effect size; all together are held to one error rate (Holm).
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lab.sweep.grid import Assignment
from lab.sweep.groups import TRAFFIC, Group, events_of, grouped, metrics_of, sample_of
from lab.sweep.measure import Point
from lab.sweep.statistics import CensoredSample, holm, median, permutation_test, ratio_of_medians

__all__ = ["ALPHA", "Comparison", "MetricDifference", "compare"]

ALPHA = 0.05
"""The chance of a false alarm among all comparisons together."""
FEWEST = 5
"""With fewer runs on one side no test can tell anything."""
_WORDS = {"overall": "until all has settled", "bytes_per_peer": "bytes sent per peer",
          "messages_per_peer": "messages per peer", "valid": "share of valid runs"}  # fmt: skip


class MetricDifference(Struct, frozen=True, kw_only=True):
    """One metric after one event, for one assignment. Times in seconds."""

    setting: str
    event: str
    """Empty: the whole run."""
    metric: str
    runs: tuple[int, int]
    a: float | None
    """Median of the first sweep; None: not reached in half of the runs. Of `valid`, the share."""
    b: float | None
    ratio: float | None
    """b / a; None where it cannot be said."""
    low: float | None
    high: float | None
    """Its 95 % bootstrap interval."""
    superiority: float
    """Probability that a run of B is above one of A, ties counting half."""
    p: float
    """After Holm's correction."""
    differs: bool
    words: str


class Comparison(Struct, frozen=True, kw_only=True):
    """What there is to say of two sweeps."""

    verdict: str
    """alike, differ, or unknown (too few runs to tell)."""
    words: str
    differences: tuple[MetricDifference, ...]
    """Every comparison that was made, those that differ first, the clearest ahead."""
    unmatched: tuple[str, ...]
    """What only one of the two has."""


class _Pair(Struct):
    setting: str
    event: str
    metric: str
    a: CensoredSample
    b: CensoredSample
    p: float = 1.0
    superiority: float = 0.5


def compare(a: Sequence[Point], b: Sequence[Point], *, seed: int = 0) -> Comparison:
    """Compare the points of two sweeps; `seed` draws resamples and permutations."""
    matched, unmatched = _matched(grouped(a), grouped(b))
    pairs = [pair for setting, one, other in matched for pair in _pairs(setting, one, other)]
    enough = [pair for pair in pairs if min(len(pair.a), len(pair.b)) >= FEWEST]
    for pair in enough:
        if _same_constant(pair):
            continue
        # The test's probability is that of A above B.
        pair.p, above = permutation_test(pair.a, pair.b, seed=seed)
        pair.superiority = 1 - above
    corrected = holm([pair.p for pair in enough])
    found = [_difference(pair, p, seed) for pair, p in zip(enough, corrected, strict=True)]
    found.sort(key=lambda item: (not item.differs, item.p, -abs(item.superiority - 0.5)))
    differing = [item for item in found if item.differs]
    verdict = "differ" if differing else "alike" if found else "unknown"
    return Comparison(
        verdict=verdict,
        words=_summary(verdict, found, differing),
        differences=tuple(found),
        unmatched=tuple(unmatched),
    )


def _matched(a: list[Group], b: list[Group]) -> tuple[list[tuple[str, Group, Group]], list[str]]:
    """Groups of equal assignments; two sweeps of one assignment each are compared whatever it is."""
    if len(a) == len(b) == 1:
        one, other = a[0], b[0]
        label = one.label if one.assignment == other.assignment else f"{one.label or 'A'} / {other.label or 'B'}"
        return [(label, one, other)], []
    ours = {_key(group.assignment): group for group in a}
    theirs = {_key(group.assignment): group for group in b}
    both = [(group.label, group, theirs[key]) for key, group in ours.items() if key in theirs]
    alone = [f"{group.label} (A only)" for key, group in ours.items() if key not in theirs]
    alone += [f"{group.label} (B only)" for key, group in theirs.items() if key not in ours]
    return both, alone


def _key(assignment: Assignment) -> Assignment:
    return tuple(sorted(assignment))


def _pairs(setting: str, a: Group, b: Group) -> list[_Pair]:
    pairs = [_Pair(setting, "", "valid", _valid(a), _valid(b))]
    theirs = set(events_of([b]))
    for event in (event for event in events_of([a]) if event in theirs):
        metrics = [metric for metric in metrics_of([a], event) if metric in metrics_of([b], event)]
        for metric in (*metrics, *TRAFFIC):
            one, other = sample_of(a.points, event, metric), sample_of(b.points, event, metric)
            if len(one) and len(other):
                pairs.append(_Pair(setting, event, metric, one, other))
    return pairs


def _valid(group: Group) -> CensoredSample:
    return CensoredSample([float(point.verdict == "valid") for point in group.points])


def _same_constant(pair: _Pair) -> bool:
    return (
        pair.a.constant
        and pair.b.constant
        and bool(pair.a.values[0] == pair.b.values[0])
        and pair.a.censored == pair.b.censored == 0
    )


def _difference(pair: _Pair, p: float, seed: int) -> MetricDifference:
    differs = p < ALPHA
    shares = pair.metric == "valid"
    middles = [float(s.values.mean()) if shares else median(s, seed=seed, resamples=50).value for s in (pair.a, pair.b)]
    ratio = None if shares else ratio_of_medians(pair.b, pair.a, seed=seed)
    known = [value if np.isfinite(value) else None for value in middles]
    found = MetricDifference(
        setting=pair.setting,
        event=pair.event,
        metric=pair.metric,
        runs=(len(pair.a), len(pair.b)),
        a=known[0],
        b=known[1],
        ratio=None if ratio is None else ratio.value,
        low=None if ratio is None else ratio.low,
        high=None if ratio is None else ratio.high,
        superiority=round(pair.superiority, 4),
        p=p,
        differs=differs,
        words="",
    )
    return replace(found, words=_say(found))


def _say(item: MetricDifference) -> str:
    """One sentence about one comparison."""
    what = _WORDS.get(item.metric, f"until {item.metric} has settled")
    where = f" after {item.event}" if item.event else ""
    where += f" with {item.setting}" if item.setting else ""
    head = what + where
    if not item.differs:
        if item.low is not None and item.high is not None:
            if item.low == item.high == 1:
                return f"{head}: no difference found; both medians are {_figure(item.metric, item.a)} ({_p(item.p)})"
            return (
                f"{head}: no difference found; B is {item.low:.2f} to {item.high:.2f} times A, if at all ({_p(item.p)})"
            )
        return f"{head}: no difference found ({_p(item.p)})"
    low, high = _figure(item.metric, item.a), _figure(item.metric, item.b)
    more = item.superiority > 0.5
    if item.metric == "valid":
        direction = "more runs are valid" if more else "fewer runs are valid"
    elif item.metric in TRAFFIC:
        direction = "B sends more" if more else "B sends less"
    else:
        direction = "B takes longer" if more else "B is sooner"
    if low == high:
        # The distributions differ though their medians are alike to the digit.
        text = f"{head}: {direction} in most pairs of runs, though both medians are {low}"
    else:
        text = f"{head}: {direction}: {high} instead of {low}"
    if item.ratio is not None and low != high:
        text += f", {item.ratio:.2f} times"
        text += f" (95 % interval {item.low:.2f} to {item.high:.2f})" if item.low is not None and item.high else ""
    share = max(item.superiority, 1 - item.superiority)
    if item.metric != "valid":
        text += f"; so in {100 * share:.0f} of 100 pairs of runs"
    return f"{text}; {_p(item.p)}"


def _summary(verdict: str, found: Sequence[MetricDifference], differing: Sequence[MetricDifference]) -> str:
    if verdict == "unknown":
        return f"There are too few runs of a common setting to tell ({FEWEST} on each side are the least)."
    made = f"{len(found)} comparison{'s' if len(found) > 1 else ''}"
    if verdict == "alike":
        return f"No difference was found in {made} (error rate {ALPHA:.0%} for all of them together)."
    clearest = next((item for item in differing if item.metric in ("overall", "valid")), differing[0])
    return f"The two differ in {len(differing)} of {made}. Most telling: {clearest.words}."


def _figure(metric: str, value: float | None) -> str:
    if value is None:
        return "not reached"
    if metric == "valid":
        return f"{value:.0%}"
    if metric in TRAFFIC:
        return f"{value:,.0f}"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
