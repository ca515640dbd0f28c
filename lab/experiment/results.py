"""From runs to results: estimates with intervals, judged hypotheses, sensitivities. Pure.

All statistics come from `lab.sweep`: medians with their intervals, and `compare` for hypotheses. Owns when a hypothesis
counts as supported or refuted, and controls the error rate of all tests of an experiment together.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from lab.experiment.description import Hypothesis, split_outcome
from lab.experiment.design import Sensitivity, sensitivities
from lab.experiment.run import Outcome
from lab.sweep.compare import ALPHA, compare
from lab.sweep.differences import MetricDifference
from lab.sweep.grid import Assignment
from lab.sweep.groups import grouped, sample_of
from lab.sweep.measure import Point
from lab.sweep.statistics import FEWEST_TO_JUDGE, Estimate, holm, median

__all__ = ["Cell", "Judged", "Results", "judge", "results_of"]

Judgement = Literal["supported", "refuted", "undecided"]


class Cell(Struct, frozen=True, kw_only=True):
    """One assignment and one outcome: seconds, bytes or messages."""

    assignment: Assignment
    outcome: str
    runs: int
    censored: int
    estimate: Estimate


class Judged(Struct, frozen=True, kw_only=True):
    """The result of one hypothesis."""

    hypothesis: Hypothesis
    judgement: Judgement
    p: float | None
    """Corrected for all tests of the experiment; None for `alike`, which does not test a difference."""
    differences: tuple[MetricDifference, ...]
    """One for each setting of the other factors."""
    why: str


class Results(Struct, frozen=True, kw_only=True):
    """All results of an experiment."""

    outcome: Outcome
    cells: tuple[Cell, ...]
    judged: tuple[Judged, ...]
    sensitivities: tuple[Sensitivity, ...]

    def of(self, outcome: str) -> list[Cell]:
        """The cells of one outcome, in the order of the assignments."""
        return [cell for cell in self.cells if cell.outcome == outcome]


def results_of(outcome: Outcome) -> Results:
    """Compute estimates and judge hypotheses."""
    experiment = outcome.file.experiment
    cells = tuple(
        Cell(assignment=group.assignment, outcome=name, runs=len(sample), censored=sample.censored,
             estimate=median(sample))
        for name in experiment.outcomes
        for group in grouped(outcome.points)
        if len(sample := sample_of(group.points, *split_outcome(name)))
    )  # fmt: skip
    judged = [judge(one, outcome.points, experiment.primary) for one in experiment.hypotheses]
    found: list[Sensitivity] = []
    if experiment.sobol is not None:
        values = {cell.assignment: cell.estimate.value for cell in cells if cell.outcome == experiment.primary}
        if all(row in values for row in outcome.design.rows):
            found = sensitivities(experiment, outcome.design, values)
    return Results(outcome=outcome, cells=cells, judged=tuple(_together(judged)), sensitivities=tuple(found))


def judge(hypothesis: Hypothesis, points: Sequence[Point], primary: str) -> Judged:
    """Judge one hypothesis; its p value is not yet corrected for the others."""
    name = hypothesis.outcome or primary
    a, b = (_side(points, side) for side in hypothesis.compare)
    if not a or not b:
        return Judged(hypothesis=hypothesis, judgement="undecided", p=None, differences=(), why="there are no runs yet")
    found = compare(a, b, primary=name, margin=hypothesis.margin)
    mine = tuple(item for item in found.differences if (item.event, item.metric) == split_outcome(name))
    judgement, why = _judgement(hypothesis, mine)
    p = None if hypothesis.expect == "alike" else max((item.p for item in mine), default=1.0)
    return Judged(hypothesis=hypothesis, judgement=judgement, p=p, differences=mine, why=why or found.words)


def _judgement(hypothesis: Hypothesis, mine: Sequence[MetricDifference]) -> tuple[Judgement, str]:
    """Over all settings of the other factors: the expectation must hold in each."""
    margin = hypothesis.margin or 1.0
    if hypothesis.expect == "alike":
        if mine and all(item.alike for item in mine):
            return "supported", ""
        outside = [item for item in mine if _outside(item, margin)]
        return ("refuted", outside[0].words) if outside else ("undecided", "")
    wanted = [item for item in mine if item.differs and _direction(hypothesis.expect, item)]
    if mine and len(wanted) == len(mine):
        return "supported", wanted[0].words
    against = [item for item in mine if item.differs and not _direction(hypothesis.expect, item)]
    if against:
        return "refuted", against[0].words
    if hypothesis.expect == "differ" and hypothesis.margin and mine and all(item.alike for item in mine):
        return "refuted", ""
    return "undecided", ""


def _direction(expect: str, item: MetricDifference) -> bool:
    return expect == "differ" or (item.superiority < 0.5 if expect == "less" else item.superiority > 0.5)


def _outside(item: MetricDifference, margin: float) -> bool:
    outside = (item.low is not None and item.low > margin) or (item.high is not None and item.high < 1 / margin)
    return outside and min(item.runs) >= FEWEST_TO_JUDGE


def _together(judged: list[Judged]) -> list[Judged]:
    """Control the error rate of all tests together (Holm); a hypothesis that is no longer significant becomes
    undecided."""
    tested = [at for at, one in enumerate(judged) if one.p is not None]
    for at, p in zip(tested, holm([judged[at].p or 0.0 for at in tested]), strict=True):
        one = replace(judged[at], p=p)
        if one.judgement == "supported" and p >= ALPHA:
            one = replace(one, judgement="undecided", why=f"with all {len(tested)} tests together p is {p:.2g}")
        judged[at] = one
    return judged


def _side(points: Sequence[Point], side: dict[str, str]) -> list[Point]:
    """The runs of one side, without the factors in which the sides differ."""
    return [
        replace(point, parameters={path: value for path, value in point.parameters.items() if path not in side})
        for point in points
        if not point.failed and all(point.parameters.get(path) == value for path, value in side.items())
    ]
