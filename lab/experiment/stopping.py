"""When there are enough seeds: the sequential rule. Pure.

After each round every assignment's 95 % interval of the primary outcome's median is measured from end to end. The
experiment ends when all are at most as wide as asked, or at the most seeds. All assignments go on together, so that
every seed is played for all of them and runs of equal seeds are pairs.

To look at the data for when to stop makes intervals cover a little less often than they say, because a round with a
narrow interval by chance is one to stop at. The first round (`at_least`, 20 by default) limits this; how much is left
is simulated by `make check-statistics` and stands in docs/experiments.md. Fixed-width rules of this kind are Chow and
Robbins' (Annals of Mathematical Statistics 1965).
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
    """How precise one assignment's primary outcome is."""

    setting: str
    runs: int
    estimate: Estimate
    asked: float
    """The widest interval that is narrow enough; nan where it cannot be said yet."""

    @property
    def width(self) -> float:
        """From end to end; inf where there is no bound."""
        wide = self.estimate.high - self.estimate.low
        return float(wide) if np.isfinite(wide) else float("inf")

    @property
    def narrow(self) -> bool:
        """Whether it is narrow enough."""
        return self.width <= self.asked


def widths(points: Iterable[Point], primary: str, precision: Precision) -> list[Width]:
    """One for each assignment, in order."""
    return [_width(group, primary, precision) for group in grouped(points)]


def enough(found: Sequence[Width], planned: int) -> bool:
    """Whether all of the planned assignments are precise enough."""
    return len(found) == planned and all(one.narrow for one in found)


def more(seeds: Seeds, played: int) -> int:
    """How many seeds the next round has; as many as were played when there is none."""
    return min(played + seeds.step, seeds.at_most) if played else seeds.at_least


def _width(group: Group, primary: str, precision: Precision) -> Width:
    sample = sample_of(group.points, *split_outcome(primary))
    estimate = median(sample)
    asked = precision.absolute if precision.absolute is not None else (precision.relative or 0.0) * estimate.value
    return Width(setting=group.label, runs=len(sample), estimate=estimate, asked=asked)
