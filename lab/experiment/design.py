"""From factors to assignments: every combination of a grid, or the points of Sobol's sequence. Pure except for SALib.

Owns how a point of the unit cube becomes values of factors, and the sensitivity indices of a Sobol design.
"""

from typing import Any

import numpy as np
from msgspec import Struct

from lab.errors import LabError
from lab.experiment.description import Experiment, Range
from lab.sweep.columns import numeric, unit_of
from lab.sweep.grid import Assignment, Setting, assignments

__all__ = ["Design", "Sensitivity", "design_of", "sensitivities"]


class Design(Struct, frozen=True):
    """The runs of an experiment, without their seeds."""

    settings: tuple[Setting, ...]
    rows: tuple[Assignment, ...]
    """Distinct assignments, in order."""
    points: tuple[Assignment, ...]
    """Sobol design only: the assignment of each point of the sequence, in order; may contain duplicates."""


class Sensitivity(Struct, frozen=True, kw_only=True):
    """How much of the outcome's variance one factor explains: alone, and together with all others. With the half widths
    of their 95 % intervals."""

    factor: str
    first: float
    first_half: float
    total: float
    total_half: float


def design_of(experiment: Experiment) -> Design:
    """The design of an experiment. Raises `LabError` if SALib is needed and missing."""
    if experiment.sobol is None:
        settings = tuple(
            Setting(path, values) for path, values in experiment.factors.items() if not isinstance(values, Range)
        )
        return Design(settings, tuple(assignments(settings)), ())
    ranges = {path: value for path, value in experiment.factors.items() if isinstance(value, Range)}
    sample = _salib("sample.sobol").sample
    cube = sample(_problem(ranges), experiment.sobol.samples, calc_second_order=False, seed=experiment.sobol.seed)
    points = tuple(
        tuple((path, _value(ranges[path], float(at))) for path, at in zip(ranges, row, strict=True)) for row in cube
    )
    rows = tuple(dict.fromkeys(points))
    settings = tuple(
        Setting(path, tuple(dict.fromkeys(row[index][1] for row in rows))) for index, path in enumerate(ranges)
    )
    return Design(settings, rows, points)


def sensitivities(experiment: Experiment, design: Design, outcome: dict[Assignment, float]) -> list[Sensitivity]:
    """Sobol indices of an outcome; `outcome` maps every assignment to its estimate. Raises `KeyError` if one is
    missing."""
    assert experiment.sobol is not None
    values = np.asarray([outcome[point] for point in design.points])
    if not np.isfinite(values).all() or float(np.ptp(values)) == 0:
        return []
    ranges = {path: value for path, value in experiment.factors.items() if isinstance(value, Range)}
    analyze = _salib("analyze.sobol").analyze
    found = analyze(_problem(ranges), values, calc_second_order=False, seed=experiment.sobol.seed)
    return [
        Sensitivity(
            factor=path,
            first=float(found["S1"][index]),
            first_half=float(found["S1_conf"][index]),
            total=float(found["ST"][index]),
            total_half=float(found["ST_conf"][index]),
        )
        for index, path in enumerate(ranges)
    ]


def _problem(ranges: dict[str, Range]) -> dict[str, Any]:
    return {"num_vars": len(ranges), "names": list(ranges), "bounds": [[0.0, 1.0]] * len(ranges)}


def _value(range_: Range, at: float) -> str:
    """The value at fraction `at` of a range, in the unit of its lower end; an integer if both ends are integers."""
    _, numbers = numeric((range_.start, range_.end)) or ("", {})
    unit, scale = unit_of(range_.start if float(numbers[range_.start]) else range_.end)
    low, high = numbers[range_.start] / scale, numbers[range_.end] / scale
    value = low * (high / low) ** at if range_.scale == "log" else low + (high - low) * at
    whole = not unit and all("." not in text and "e" not in text.lower() for text in (range_.start, range_.end))
    return f"{round(value)}" if whole else f"{float(f'{value:.4g}'):.10g}{unit}"


def _salib(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"SALib.{name}")
    except ImportError:
        raise LabError("`design: sobol` needs SALib: pip install 'overlay-lab[experiment]'") from None
