"""What a sweep's page and figures say: each number is one that their data has."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import synthetic_points
from synthetic_points import S

from lab.sweep.figures import figures
from lab.sweep.groups import grouped
from lab.sweep.measure import Point
from lab.sweep.page import write
from lab.sweep.run import SweepDescription, SweepResults
from lab.sweep.statistics import CensoredSample, curve, median, ratio_of_medians


def swept_by(values: Sequence[str], partition: Sequence[float], heal: Sequence[float], runs: int = 1) -> list[Point]:
    """Runs of a parameter's values, with the times (s) to settle after the two events of each."""
    made = []
    for value, *took in zip(values, partition, heal, strict=True):
        for seed in range(1, runs + 1):
            point = synthetic_points.point(seed)
            times = dict(zip(("partition", "heal"), took, strict=True))
            events = tuple(
                msgspec.structs.replace(event, times=event.times | {"overall": round(times[event.name] * S)})
                for event in point.events
                if event.name in times
            )
            made.append(
                msgspec.structs.replace(
                    point, key=f"{value}/{seed}", parameters={"overlay.beat_interval": value}, events=events
                )
            )
    return made


def titles(points: list[Point]) -> dict[str, str]:
    return {figure.name: figure.title for figure in figures(grouped(points))}


@pytest.mark.parametrize(
    ("partition", "heal", "said"),
    [
        ((4, 8), (0.5, 0.5), "settling after partition takes 2.0 times as long; unchanged after heal"),
        ((4, 4.1), (0.5, 1.5), "settling after heal takes 3.0 times as long; unchanged after partition"),
        ((4, 4), (0.5, 0.5), "settling takes as long after each event"),
        ((4, 2), (0.5, 1), "settling after heal takes 2.0 times as long"),
    ],
)
def test_the_headline_is_what_changes_most(
    partition: tuple[float, float], heal: tuple[float, float], said: str
) -> None:
    title = titles(swept_by(("500ms", "2s"), partition, heal, 3))["scaling-beat-interval"]
    assert title == f"From beat interval 500ms to 2s, {said}"


def test_an_axis_has_the_values_with_their_units() -> None:
    drawn = {figure.name: figure for figure in figures(grouped(swept_by(("500ms", "2s"), (4, 8), (1, 1), 2)))}
    table = csv.DictReader(io.StringIO(drawn["scaling-beat-interval"].csv))
    assert {row["overlay.beat_interval"] for row in table} == {"500ms", "2s"}


def test_one_run_has_no_interval() -> None:
    one, many = CensoredSample([1.28]), CensoredSample([1.0, 2.0, 3.0])
    found = median(one)
    assert found.value == 1.28 and math.isnan(found.low) and math.isnan(found.high)
    assert ratio_of_medians(one, many).low is None and ratio_of_medians(many, one).high is None
    assert np.isnan(curve(one).low).all() and curve(one).share[-1] == 1
    assert not math.isnan(median(many).low)


def about(runs: int) -> SweepDescription:
    return SweepDescription(
        scenario="partition", question="", file="partition.yaml", backend="sim", seeds=tuple(range(1, runs + 1)),
        settings=(), code="0123",
    )  # fmt: skip


@pytest.mark.parametrize("runs", [1, 5, 20])
def test_a_page_claims_no_more_than_its_runs_can_show(runs: int, tmp_path: Path) -> None:
    points = synthetic_points.points(range(1, runs + 1))
    swept = SweepResults(points=tuple(points), planned=runs, reused=0, about=about(runs))
    page = write(tmp_path, swept).read_text(encoding="utf-8")
    assert " to 1.28" not in page
    assert ("95 % interval " in page.partition("</ul>")[0]) == (runs > 1)
    assert ("95th percentile after heal" in page) == (runs == 20)
    assert ("slowest run after heal" in page) == (runs == 5)
    assert ("1 seed" in page) == (runs == 1) and "1 seeds" not in page and "1 runs" not in page
    for table in tmp_path.glob("*.csv"):
        assert "nan" not in table.read_text(encoding="utf-8")
