"""The figures of a protocol's runs in sweeps: measured, written, read back, and taken as an outcome."""

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.experiment.description import read_experiment
from lab.experiment.figures import with_unit
from lab.records.history import RunFigure
from lab.sweep.groups import sample_of
from lab.sweep.measure import Point, measure
from lab.sweep.table import CSV, read_table, write_tables

EXPERIMENT = """\
# How many copies?
experiment: 1
scenario: ring
factors: {seeds.of.nothing: [1]}
primary: PRIMARY
precision: 10%
"""


def of_run(seed: int, **figures: float) -> Point:
    records = [RunFigure(t=9, name=name, value=value) for name, value in figures.items()]
    return Point(key=f"k{seed}", parameters={"overlay.copies": "2"}, seed=seed, **measure(records))


def test_figures_are_columns_and_outcomes(tmp_path: Path) -> None:
    points = [of_run(1, rmr_mean=0.25, failures=2.0), of_run(2, rmr_mean=0.5), of_run(3)]
    assert points[0].figures == {"rmr_mean": 0.25, "failures": 2.0}
    write_tables(tmp_path, points)
    header, *rows = (tmp_path / CSV).read_text().splitlines()
    assert "figure:rmr_mean,figure:failures" in header and len(rows) == 3
    again = read_table(tmp_path)
    assert [point.figures for point in again] == [point.figures for point in points]
    assert list(sample_of(again, "figure", "rmr_mean").values) == [0.25, 0.5], "a run without it is left out"
    assert with_unit("figure:rmr_mean") == "rmr mean", "its unit is not known here"


@pytest.mark.parametrize(("outcome", "fits"), [("figure:rmr_mean", True), ("figure:", False), ("figur:rmr", False)])
def test_an_experiment_may_be_about_a_figure(outcome: str, fits: bool, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(EXPERIMENT.replace("PRIMARY", f'"{outcome}"'))
    try:
        read_experiment(file)
    except LabError as error:
        assert ("expected EVENT:METRIC" in str(error)) is not fits
    else:
        assert fits
