"""Plays an experiment: rounds of one sweep with more and more seeds, until the stopping rule is satisfied.

Owns the order: errors are reported before anything runs, hypotheses are on disk before the first run, and the first run
is checked for the primary outcome before the others start. The folder is that of a sweep, so a finished run is never
played again, however the previous command ended.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from lab.errors import LabError
from lab.experiment.description import ExperimentFile, split_outcome
from lab.experiment.design import Design, design_of
from lab.experiment.registration import Registered, check, read_registered, register
from lab.experiment.stopping import Width, enough, more, widths
from lab.sweep.groups import FIGURE_OF, events_of, grouped, metrics_of, sample_of
from lab.sweep.ledger import LEDGER, read_points
from lab.sweep.measure import Point
from lab.sweep.pools import WorkerPool
from lab.sweep.run import SweepPlan, SweepResults, plan, sweep

__all__ = ["Outcome", "planned_for", "run", "state_of"]

Player = Callable[[SweepPlan, Callable[[], WorkerPool], Callable[..., SweepResults]], SweepResults]
"""Plays a sweep and shows its progress (`lab.cli.sweep.with_bar`)."""
Rounds = Callable[[int, Sequence[Width]], None]
"""Called after each round with the number of seeds so far, and the precision of every assignment."""


class Outcome(Struct, frozen=True, kw_only=True):
    """The state of an experiment."""

    file: ExperimentFile
    design: Design
    registered: Registered
    points: tuple[Point, ...]
    seeds: int
    """Number of seeds played for every assignment."""
    widths: tuple[Width, ...]
    interrupted: bool = False
    other_code: bool = False
    """The runs were made by a different version of the code."""
    swept: SweepResults | None = None
    """The last round; None if results were only read from disk."""

    @property
    def precise(self) -> bool:
        """Whether every assignment is as precise as asked."""
        return enough(self.widths, len(self.design.rows))

    @property
    def failed(self) -> int:
        """Runs that could not be carried out."""
        return sum(point.failed for point in self.points)


def planned_for(file: ExperimentFile, design: Design, folder: Path, seeds: int) -> SweepPlan:
    """The sweep of these seeds. Raises `LabError` for factors that the scenario does not have, in terms of the
    experiment file."""
    experiment = file.experiment
    first = experiment.seeds.first
    try:
        return plan(file.scenario, design.settings, range(first, first + seeds), backend=experiment.backend,
                    folder=folder, rows=design.rows)  # fmt: skip
    except LabError as error:
        raise LabError("\n".join(_of_the_file(file, line) for line in str(error).splitlines())) from None


def run(
    file: ExperimentFile, folder: Path, pool: Callable[[], WorkerPool], play: Player,
    *, amend: bool = False, told: Rounds = lambda seeds, found: None,
) -> Outcome:  # fmt: skip
    """Play the missing runs. Raises `LabError` for an error in the file, or if it does not match the folder."""
    experiment = file.experiment
    design = design_of(experiment)
    planned_for(file, design, folder, experiment.seeds.at_least)
    ledger = folder / LEDGER
    before = sum(1 for _ in read_points(ledger)) if ledger.is_file() else 0
    registered = register(file, folder, runs=before, amend=amend)
    first = play(planned_for(file, Design(design.settings, design.rows[:1], ()), folder, 1), pool, sweep)
    if not first.interrupted:
        _find(experiment.outcomes, first.points)
    seeds, swept, found = 0, first, list[Width]()
    while not swept.interrupted:
        wanted = more(experiment.seeds, seeds)
        if wanted == seeds:
            break
        swept = play(planned_for(file, design, folder, wanted), pool, sweep)
        seeds = wanted
        found = widths(swept.points, experiment.primary, experiment.asked)
        if swept.interrupted or enough(found, len(design.rows)) or any(point.failed for point in swept.points):
            break
        told(seeds, found)
    return Outcome(file=file, design=design, registered=registered, points=swept.points, seeds=seeds,
                   widths=tuple(found), interrupted=swept.interrupted, swept=swept)  # fmt: skip


def state_of(file: ExperimentFile, folder: Path) -> Outcome:
    """The state of an experiment on disk; plays nothing. Raises `LabError` if there is none."""
    registered = read_registered(folder)
    if registered is None:
        raise LabError(f"{folder} has no runs of {file.path} yet: `lab experiment run {file.path}` makes them")
    check(file, registered, folder)
    design = design_of(file.experiment)
    stored = (
        [point for point in read_points(folder / LEDGER) if not point.failed] if (folder / LEDGER).is_file() else []
    )
    tasks = planned_for(file, design, folder, file.experiment.seeds.at_most).tasks
    exact = {point.key: point for point in stored}
    # Later versions of the code also rebuild reports, so runs are matched by parameters and seed.
    alike = {(tuple(sorted(point.parameters.items())), point.seed): point for point in stored}
    other = not any(task.key in exact for task in tasks)
    seeds, points = 0, list[Point]()
    by_seed: dict[int, list[Point]] = {}
    for task in tasks:
        point = alike.get((tuple(sorted(task.assignment)), task.seed)) if other else exact.get(task.key)
        if point is not None:
            by_seed.setdefault(task.seed, []).append(point)
            points.append(point)
    first = file.experiment.seeds.first
    while len(by_seed.get(first + seeds, ())) == len(design.rows):
        seeds += 1
    found = widths(points, file.experiment.primary, file.experiment.asked)
    return Outcome(file=file, design=design, registered=registered, points=tuple(points), seeds=seeds,
                   widths=tuple(found), other_code=other and bool(points))  # fmt: skip


def _find(outcomes: Sequence[str], points: Sequence[Point]) -> None:
    """Raises `LabError` for an outcome that is missing in the first run."""
    ran = [point for point in points if not point.failed]
    for outcome in outcomes if ran else ():
        if not len(sample_of(ran, *split_outcome(outcome))):
            known = _outcomes(ran)
            raise LabError(f"found no outcome {outcome!r} in the first run, expected one of {', '.join(known)}")


def _outcomes(points: Sequence[Point]) -> list[str]:
    groups: Any = grouped(points)
    figures = dict.fromkeys(f"{FIGURE_OF}:{name}" for point in points for name in point.figures)
    return [*(f"{event}:{metric}" for event in events_of(groups) for metric in metrics_of(groups, event)), *figures]


def _of_the_file(file: ExperimentFile, line: str) -> str:
    return f"{file.path}: factors: {line.removeprefix('--set ')}" if line.startswith("--set ") else line
