"""Compares two sweeps: do they differ, where, by how much, in words. Pure; reads points only.

Runs of equal assignments are compared per event and metric, and per figure of a protocol. Each comparison is a
permutation test on censored times, with the ratio of medians as effect size. Runs are paired where both sweeps played
the same seeds. The verdict is that of the primary outcome, if one is named; otherwise the error rate of all comparisons
together is controlled (Holm). Constant metrics, and metrics with the same numbers as another one, are not separate
comparisons.

"No difference found" means nothing if the samples were too small to show one, and does not prove that there is none.
For `alike` the whole interval of the ratio must lie within a margin that the user names (two one-sided tests).
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lab.errors import LabError
from lab.sweep.differences import MetricDifference, sentence
from lab.sweep.grid import Assignment
from lab.sweep.groups import (
    FIGURE_OF,
    TRAFFIC,
    Group,
    events_of,
    figures_of,
    floor_of,
    grouped,
    metrics_of,
    sample_of,
    waited,
)
from lab.sweep.measure import Point
from lab.sweep.statistics import (
    CONFIDENCE,
    FEWEST_TO_JUDGE,
    CensoredSample,
    holm,
    least_p,
    median,
    paired_test,
    permutation_test,
    ratio_of_medians,
)
from lab.words import count

__all__ = ["ALPHA", "Comparison", "compare"]

ALPHA = 0.05
"""Probability of any false alarm among all comparisons together."""


class Comparison(Struct, frozen=True, kw_only=True):
    """The result of comparing two sweeps."""

    verdict: str
    """`differ`; `alike` (within the margin); `no difference` (none was found); `unknown` (the samples are too small to
    show one, or neither a difference nor equivalence within the margin could be shown)."""
    words: str
    differences: tuple[MetricDifference, ...]
    """All comparisons, those that differ first, sorted by clarity."""
    unmatched: tuple[str, ...]
    """Groups that exist in only one of the two sweeps."""


class _Pair(Struct):
    setting: str
    event: str
    metric: str
    a: CensoredSample
    b: CensoredSample
    paired: bool
    floor: float = 0.0
    """Seconds below which neither side can be measured."""
    p: float = 1.0
    superiority: float = 0.5
    waited: bool = False

    @property
    def name(self) -> str:
        return f"{self.event}:{self.metric}" if self.event else self.metric

    @property
    def numbers(self) -> tuple[bytes, ...]:
        """Key of the comparison: comparisons of the same numbers are one."""
        return tuple(part.tobytes() for side in (self.a, self.b) for part in (side.values, side.reached, side.after))

    @property
    def least(self) -> float:
        return least_p(len(self.a), len(self.b), paired=self.paired)

    @property
    def constant(self) -> bool:
        """Whether both sides are one and the same value."""
        return (
            self.a.constant
            and self.b.constant
            and bool(self.a.values[0] == self.b.values[0])
            and self.a.censored == self.b.censored == 0
        )


def compare(
    a: Sequence[Point], b: Sequence[Point], *, primary: str = "", margin: float | None = None, seed: int = 0
) -> Comparison:
    """Compare the points of two sweeps; `seed` draws resamples and permutations.

    `primary`: the outcome that decides, as EVENT:METRIC, METRIC (of whole runs) or figure:NAME. `margin`: the ratio of
    medians, above 1, within which two times or counts are called alike (of shares of valid runs: the difference,
    plus 1).
    Raises `LabError` for a primary outcome that is in neither.
    """
    matched, unmatched = _matched(grouped(a), grouped(b))
    pairs = [pair for setting, one, other in matched for pair in _pairs(setting, one, other)]
    chosen = [pair for pair in pairs if pair.name == primary]
    if primary and matched and not chosen:
        raise LabError(f"found no outcome {primary} in runs of both; expected one of {_names(pairs)}")
    first = _family(chosen, seed)
    second = _family([pair for pair in pairs if pair.numbers not in first], seed)
    adjusted = first | second
    found = [_difference(pair, adjusted.get(pair.numbers, 1.0), margin, seed) for pair in pairs]
    deciding = [item for item, pair in zip(found, pairs, strict=True) if pair.name == primary or not primary]
    family = [pair for pair in (chosen if primary else pairs) if not pair.constant]
    verdict, words = _verdict(deciding, family, len(first if primary else second), margin)
    found.sort(key=lambda item: (not item.differs, item.p, -abs(item.superiority - 0.5)))
    return Comparison(verdict=verdict, words=words, differences=tuple(found), unmatched=tuple(unmatched))


def _names(pairs: Sequence[_Pair]) -> str:
    return ", ".join(dict.fromkeys(pair.name for pair in pairs)) or "none"


def _family(pairs: Sequence[_Pair], seed: int) -> dict[tuple[bytes, ...], float]:
    """Test the pairs; returns adjusted p values by their numbers. Constants are left out, duplicates are
    tested once."""
    raw: dict[tuple[bytes, ...], float] = {}
    for pair in pairs:
        if not pair.constant:
            # The test returns the probability that A is above B.
            pair.p, above = (paired_test if pair.paired else permutation_test)(pair.a, pair.b, seed=seed)
            pair.superiority = 1 - above
            raw[pair.numbers] = pair.p
    return dict(zip(raw, holm(list(raw.values())), strict=True))


def _verdict(
    deciding: Sequence[MetricDifference], family: Sequence[_Pair], comparisons: int, margin: float | None
) -> tuple[str, str]:
    """The verdict and a sentence or two. `comparisons`: their number in the family, without duplicates."""
    if not deciding:
        return "unknown", "The two have no runs of a common setting."
    made = count(comparisons, "comparison")
    if differing := [item for item in deciding if item.differs]:
        clearest = next((item for item in differing if item.metric in ("half", "overall", "valid")), differing[0])
        where = f" in {len(differing)} of {count(len(deciding), 'outcome')}" if len(deciding) > 1 else ""
        return "differ", f"The two differ{where}. Most telling: {clearest.words}."
    if margin is not None and all(item.alike for item in deciding):
        return "alike", f"The two are alike: every outcome within {_margin(margin)}."
    least = min((pair.least for pair in family), default=1.0)
    if family and least * comparisons >= ALPHA:
        runs = _runs_needed(comparisons, paired=any(pair.paired for pair in family))
        few = min(len(side) for pair in family for side in (pair.a, pair.b))
        return "unknown", (
            f"With {count(few, 'run')} on a side no difference could be found, whatever the runs say: the least p of "
            f"{made} is {min(1.0, least * comparisons):.2f}. Play at least {runs} seeds on each side"
            + (", or name the primary outcome (--primary)." if comparisons > 1 else ".")
        )
    if margin is not None:
        open_ = [item for item in deciding if not item.alike]
        return "unknown", (
            f"No difference was found in {made}, nor are the two shown to be alike within {_margin(margin)}: "
            f"{open_[0].words}. More seeds narrow the interval."
        )
    return "no difference", (
        f"No difference was found in {made} (error rate {ALPHA:.0%}{' for all of them together' * (comparisons > 1)}). "
        "That is no proof that there is none: --margin says within what the two have to be alike."
    )


def _runs_needed(comparisons: int, *, paired: bool) -> int:
    """The fewest runs on each side with which one of this many comparisons can be significant."""
    runs = 2
    while least_p(runs, runs, paired=paired) * comparisons >= ALPHA:
        runs += 1
    return runs


def _margin(margin: float) -> str:
    return f"a factor of {margin:g}"


def _matched(a: list[Group], b: list[Group]) -> tuple[list[tuple[str, Group, Group]], list[str]]:
    """Pairs of groups with equal assignments; two sweeps with one assignment each are always compared."""
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
    a, b, paired = _in_pairs(a, b)
    pairs = [_Pair(setting, "", "valid", _valid(a), _valid(b), paired)]
    for name in figures_of([a]):
        one, other = (sample_of(group.points, FIGURE_OF, name) for group in (a, b))
        if len(other):
            pairs.append(_Pair(setting, FIGURE_OF, name, one, other, paired and _whole(one, other, a, b)))
    theirs = set(events_of([b]))
    for event in (event for event in events_of([a]) if event in theirs):
        metrics = [metric for metric in metrics_of([a], event) if metric in metrics_of([b], event)]
        for metric in (*metrics, *TRAFFIC):
            one, other = (sample_of(group.points, event, metric) for group in (a, b))
            if len(one) and len(other):
                floor = floor_of((a, b), event, metric)
                found = _Pair(setting, event, metric, one, other, paired and _whole(one, other, a, b), floor)
                found.waited = metric not in TRAFFIC and bool(one.censored + other.censored) and waited((a, b), event)
                pairs.append(found)
    return pairs


def _whole(one: CensoredSample, other: CensoredSample, a: Group, b: Group) -> bool:
    """Whether every run has the metric; otherwise partners are missing."""
    return len(one) == len(a.points) and len(other) == len(b.points)


def _in_pairs(a: Group, b: Group) -> tuple[Group, Group, bool]:
    """Both groups sorted by seed, and whether their seeds are equal, so that the runs are pairs."""
    a, b = (replace(group, points=tuple(sorted(group.points, key=lambda point: point.seed))) for group in (a, b))
    seeds = [[point.seed for point in group.points] for group in (a, b)]
    return a, b, seeds[0] == seeds[1] and len(set(seeds[0])) == len(seeds[0])


def _valid(group: Group) -> CensoredSample:
    return CensoredSample([float(point.verdict == "valid") for point in group.points])


def _difference(pair: _Pair, p: float, margin: float | None, seed: int) -> MetricDifference:
    shares = pair.metric == "valid"
    middles = [float(s.values.mean()) if shares else median(s, seed=seed, resamples=50).value for s in (pair.a, pair.b)]
    ratio = None if shares else ratio_of_medians(pair.b, pair.a, paired=pair.paired, seed=seed)
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
        paired=pair.paired,
        differs=p < ALPHA,
        alike=False,
        words="",
        floor=pair.floor,
        waited=pair.waited,
    )
    return replace(found, words=sentence(found), alike=margin is not None and _within(pair, found, margin))


def _within(pair: _Pair, found: MetricDifference, margin: float) -> bool:
    """Whether the 95 % interval, which is stricter than two one-sided tests at 5 %, lies within the margin."""
    if pair.constant:
        return True
    if pair.metric == "valid":
        return _share_gap(len(pair.a), len(pair.b), middles=(found.a or 0.0, found.b or 0.0)) <= margin - 1
    enough = min(found.runs) >= FEWEST_TO_JUDGE and found.low is not None and found.high is not None
    return enough and 1 / margin <= (found.low or 0.0) and (found.high or 0.0) <= margin


def _share_gap(a: int, b: int, *, middles: tuple[float, float]) -> float:
    """The largest difference of two shares that is compatible with these (Newcombe 1998, method 10)."""
    # Imported here because the import takes a second and only this function needs it.
    from scipy.stats import binomtest  # type: ignore[attr-defined]

    wilson = [binomtest(round(share * runs), runs).proportion_ci(CONFIDENCE, "wilson")
              for share, runs in zip(middles, (a, b), strict=True)]  # fmt: skip
    (la, ua), (lb, ub) = ((each.low, each.high) for each in wilson)
    gap = middles[1] - middles[0]
    up = gap + float(np.hypot(ub - middles[1], middles[0] - la))
    down = gap - float(np.hypot(middles[1] - lb, ua - middles[0]))
    return max(abs(up), abs(down))
