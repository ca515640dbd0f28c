"""The figures of a protocol's runs in sweeps: measured, written, read back, and taken as an outcome."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import lab
from lab.errors import LabError
from lab.experiment.description import read_experiment
from lab.experiment.figures import with_unit
from lab.records.history import RunFigure
from lab.sweep.compare import compare
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


def tree(seed: int, **more: float) -> Point:
    return of_run(seed, rmr_mean=0.01 * (seed % 3), last_hop_mean=8.0 + seed % 5, **more)


def flood(seed: int, **more: float) -> Point:
    return of_run(seed, rmr_mean=3.0 + 0.01 * (seed % 4), last_hop_mean=8.0 + seed % 5, **more)


def test_figures_of_two_sweeps_are_compared() -> None:
    found = compare([tree(seed) for seed in range(20)], [flood(seed) for seed in range(20)])
    assert found.verdict == "differ"
    assert [(item.event, item.metric) for item in found.differences if item.differs] == [("figure", "rmr_mean")]
    hops = next(item for item in found.differences if item.metric == "last_hop_mean")
    assert not hops.differs and (hops.a, hops.b, hops.ratio) == (10.0, 10.0, 1.0)
    assert found.differences[0].paired, "the seeds are the same"
    assert found.differences[0].words.startswith(
        "rmr mean with copies 2: B is greater: 3.015 instead of 0.01, 301.50 times"
    )


def test_a_figure_can_decide() -> None:
    trees, floods = [tree(seed) for seed in range(20)], [flood(seed) for seed in range(20)]
    assert compare(trees, floods, primary="figure:last_hop_mean").verdict == "no difference"
    assert compare(trees, floods, primary="figure:last_hop_mean", margin=1.1).verdict == "alike"
    assert compare(trees, floods, primary="figure:rmr_mean").verdict == "differ"
    with pytest.raises(LabError, match=r"found no outcome figure:rmr in .*; expected one of .*figure:rmr_mean"):
        compare(trees, floods, primary="figure:rmr")


def test_a_figure_that_some_runs_lack_is_compared_without_pairs() -> None:
    some = [tree(seed, **({"first_detection_mean": 1.0 + seed} if seed else {})) for seed in range(20)]
    found = compare(some, [tree(seed, first_detection_mean=1.5 + seed) for seed in range(20)])
    detection = next(item for item in found.differences if item.metric == "first_detection_mean")
    assert not detection.paired and detection.runs == (19, 20)
    assert all(item.metric != "first_detection_mean" for item in compare(some, [tree(1), tree(2)]).differences)


def test_the_command_compares_figures(tmp_path: Path) -> None:
    for name, made in (("tree", tree), ("flood", flood)):
        (tmp_path / name).mkdir()
        write_tables(tmp_path / name, [made(seed) for seed in range(20)])
    asked = ["compare", str(tmp_path / "tree"), str(tmp_path / "flood"), "--primary", "figure:rmr_mean"]
    told = CliRunner().invoke(lab, asked)
    assert told.exit_code == 1 and "rmr mean with copies 2: B is greater: 3.015 instead of 0.01" in told.output
    assert re.search(r"figure +copies 2 +rmr_mean +0\.01 +3\.015", told.output), told.output
