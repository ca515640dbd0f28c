"""The sequential stopping rule: when there are enough seeds. Pure.

After each round, the 95 % interval of the primary outcome's median is measured from end to end for every assignment.
The experiment ends when all intervals are at most as wide as asked, or at the maximum number of seeds. All assignments
continue together, so that every seed is played for all of them and runs of equal seeds are pairs.

Looking at the data to decide when to stop makes intervals cover slightly less often than stated, because the rule stops
at rounds whose interval is narrow by chance. The first round (`at_least`, 20 by default) limits this effect; `make
check-statistics` simulates the rest, which is documented in docs/experiments.md. Fixed-width rules of this kind are due
to Chow and Robbins (Annals of Mathematical Statistics 1965).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from lab.experiment.description import Precision, Seeds, split_outcome
from lab.sweep.groups import Group, grouped, sample_of
from lab.sweep.measure import Point
from lab.sweep.statistics import Estimate, median

__all__ = ["Width", "enough", "more", "widths"]


class Width(Struct, frozen=True, kw_only=True):
    """The precision of one assignment's primary outcome."""

    setting: str
    runs: int
    estimate: Estimate
    asked: float
    """The maximum width; nan if it is not known yet."""

    @property
    def width(self) -> float:
        """Width of the interval, from end to end; inf if a bound is missing."""
        wide = self.estimate.high - self.estimate.low
        return float(wide) if np.isfinite(wide) else float("inf")

    @property
    def narrow(self) -> bool:
        """Whether the interval is at most as wide as asked."""
        return self.width <= self.asked


def widths(points: Iterable[Point], primary: str, precision: Precision) -> list[Width]:
    """The widths of all assignments, in order."""
    return [_width(group, primary, precision) for group in grouped(points)]


def enough(found: Sequence[Width], planned: int) -> bool:
    """Whether all of the planned assignments are precise enough."""
    return len(found) == planned and all(one.narrow for one in found)


def more(seeds: Seeds, played: int) -> int:
    """Number of seeds after the next round; equal to `played` if there is no further round."""
    return min(played + seeds.step, seeds.at_most) if played else seeds.at_least


def _width(group: Group, primary: str, precision: Precision) -> Width:
    sample = sample_of(group.points, *split_outcome(primary))
    estimate = median(sample)
    asked = precision.absolute if precision.absolute is not None else (precision.relative or 0.0) * estimate.value
    return Width(setting=group.label, runs=len(sample), estimate=estimate, asked=asked)
