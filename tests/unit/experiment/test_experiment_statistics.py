"""When there are enough seeds, what becomes of hypotheses, and Sobol's indices: on points that are made up."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from synthetic_points import point

from lab.experiment.description import Experiment, Hypothesis, Precision, Seeds
from lab.experiment.design import design_of, sensitivities
from lab.experiment.registration import read_registered
from lab.experiment.results import _together, judge
from lab.experiment.stopping import enough, more, widths
from lab.sweep.measure import Point

PRIMARY = "heal:reachability"


def side(value: str, factor: float, seeds: int, more: str = "") -> list[Point]:
    named = {"hosts": value} | ({"delay": more} if more else {})
    return [replace(point(seed, factor=factor), parameters=named) for seed in range(seeds)]


def hypothesis(expect: str, margin: float | None = None) -> Hypothesis:
    return Hypothesis.model_validate(
        {"id": "H1", "claim": "x", "compare": ({"hosts": "a"}, {"hosts": "b"}), "expect": expect, "margin": margin}
    )


@pytest.mark.parametrize(
    ("expect", "factor", "margin", "judgement"),
    [
        ("more", 3.0, None, "supported"),
        ("less", 3.0, None, "refuted"),
        ("less", 0.3, None, "supported"),
        ("differ", 0.3, None, "supported"),
        ("differ", 1.0, None, "undecided"),
        ("differ", 1.0, 1.5, "refuted"),
        ("alike", 1.0, 1.5, "supported"),
        ("alike", 3.0, 1.5, "refuted"),
        ("more", 1.0, None, "undecided"),
    ],
)
def test_a_hypothesis_is_supported_refuted_or_undecided(
    expect: str, factor: float, margin: float | None, judgement: str
) -> None:
    points = side("a", 1.0, 30) + side("b", factor, 30)
    assert judge(hypothesis(expect, margin), points, PRIMARY).judgement == judgement


@pytest.mark.parametrize(("runs", "judgement"), [(2, "undecided"), (5, "undecided"), (6, "refuted")])
def test_an_interval_of_fewer_than_six_runs_refutes_no_claim_of_equality(runs: int, judgement: str) -> None:
    points = side("a", 1.0, runs) + side("b", 9.0, runs)
    assert judge(hypothesis("alike", 1.5), points, PRIMARY).judgement == judgement


@pytest.mark.parametrize(("runs", "judgement"), [(2, "undecided"), (5, "undecided"), (30, "supported")])
def test_an_interval_of_fewer_than_six_runs_supports_none(runs: int, judgement: str) -> None:
    points = side("a", 1.0, runs) + side("b", 1.001, runs)
    assert judge(hypothesis("alike", 1.5), points, PRIMARY).judgement == judgement


def test_a_claim_must_hold_in_every_setting_of_the_other_factors() -> None:
    both = side("a", 1.0, 30, "1ms") + side("b", 3.0, 30, "1ms") + side("a", 1.0, 30, "5ms")
    assert judge(hypothesis("more"), both + side("b", 3.0, 30, "5ms"), PRIMARY).judgement == "supported"
    assert judge(hypothesis("more"), both + side("b", 1.0, 30, "5ms"), PRIMARY).judgement == "undecided"
    assert judge(hypothesis("more"), both + side("b", 0.2, 30, "5ms"), PRIMARY).judgement == "refuted"


def test_all_tests_together_have_one_error_rate() -> None:
    one = judge(hypothesis("more"), side("a", 1.0, 30) + side("b", 3.0, 30), PRIMARY)
    weak = replace(one, p=0.03)
    assert [each.judgement for each in _together([weak])] == ["supported"]
    assert [each.judgement for each in _together([weak, weak])] == ["undecided", "undecided"]


def test_a_hypothesis_without_runs_is_undecided() -> None:
    assert judge(hypothesis("more"), side("a", 1.0, 5), PRIMARY).judgement == "undecided"


def test_seeds_are_added_until_every_interval_is_narrow() -> None:
    seeds = Seeds(at_least=5, at_most=42, step=10)
    assert [more(seeds, played) for played in (0, 5, 35, 42)] == [5, 15, 42, 42]
    few, many = (side("a", 1.0, n) + side("b", 1.0, n) for n in (5, 300))
    precision = Precision(relative=0.15)
    assert not enough(widths(few, PRIMARY, precision), 2) and enough(widths(many, PRIMARY, precision), 2)
    assert not enough(widths(many, PRIMARY, precision), 3), "a setting that has no runs is not precise"
    assert not enough(widths(many, PRIMARY, Precision(absolute=1e-6)), 2)
    assert enough(widths(many, PRIMARY, Precision(absolute=10.0)), 2)


def sobol(**factors: Any) -> Experiment:
    return Experiment.model_validate(
        {"experiment": "1", "name": "x", "scenario": "x", "primary": PRIMARY, "factors": factors,
         "design": {"sobol": {"samples": 64}}}
    )  # fmt: skip


def test_sobols_design_and_its_sensitivities() -> None:
    pytest.importorskip("SALib")
    experiment = sobol(a={"from": "10ms", "to": "1s", "scale": "log"}, hosts={"from": "3", "to": "9"})
    design = design_of(experiment)
    assert len(design.points) == 64 * 4 and design == design_of(experiment), "the same file, the same design"
    for (_, a), (_, hosts) in design.rows:
        assert a.endswith("ms") and 10 <= float(a[:-2]) <= 1000 and 3 <= int(hosts) <= 9
    below = sum(float(dict(row)["a"][:-2]) < 100 for row in design.points)
    assert abs(below - len(design.points) / 2) < 16, "half of them lie in each decade"
    outcome = {row: float(dict(row)["hosts"]) for row in design.rows}
    first, second = sensitivities(experiment, design, outcome)
    assert abs(first.total) < 0.05 and 0.8 < second.first < 1.2
    assert sensitivities(experiment, design, dict.fromkeys(design.rows, 1.0)) == [], "a constant depends on nothing"


def test_a_registration_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "registered.json").write_text("{")
    with pytest.raises(Exception, match="no registration of an experiment"):
        read_registered(tmp_path)
    assert read_registered(tmp_path / "nowhere") is None
