"""Experiment files: what is wrong with one is said in a sentence with its place, before anything runs."""

import re
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.experiment.description import read_experiment
from lab.experiment.design import design_of
from lab.experiment.run import planned_for

SCENARIO = """\
version: 1
underlay: {generate: {kind: ring, hosts: 3}}
overlay: weave
timeline: [{launch: all}]
"""
GOOD = """\
# Does it?
experiment: 1
scenario: ring.yaml
factors:
  overlay.gossip_interval: [5s, 30s]
  topology.hosts: [3, 5]
primary: heal:overall
hypotheses:
  - id: H1
    claim: it does
    compare: [{topology.hosts: 3}, {topology.hosts: 5}]
    expect: more
"""


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "ring.yaml").write_text(SCENARIO)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_good_file_says_what_is_run(tmp_path: Path) -> None:
    file = read_experiment(write(tmp_path, GOOD))
    assert (file.experiment.name, file.question, file.experiment.backend) == ("mine", "Does it?", "sim")
    design = design_of(file.experiment)
    assert len(design.rows) == 4
    planned = planned_for(file, design, tmp_path / "out", 3)
    assert len(planned.tasks) == 12
    for seed in (1, 2, 3):
        assert sum(task.seed == seed for task in planned.tasks) == 4, "every seed is played for every setting: pairs"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("topology.hosts: [3, 5]", "topology.hosts: [3, 3]"), r"mine.yaml:6:19: .*hosts: found 3 twice"),
        (("topology.hosts: [3, 5]", "topology.hosts: []"), "found no value"),
        (("topology.hosts: [3, 5]", "topology.hosts: {from: 3, to: 5}"), "a list of values for `design: grid`"),
        (("primary: heal:overall", "primary: heal:overal"), "found 'heal:overal', expected EVENT:METRIC .*overall"),
        (("primary: heal:overall", "primary: overall"), "expected EVENT:METRIC as heal:overall"),
        (("primary: heal:overall\n", ""), "found no `primary`, expected one"),
        (("scenario: ring.yaml", "scenario: rnig"), "rnig"),
        (("scenario: ring.yaml", "scenari: ring.yaml"), "found the key 'scenari'"),
        (("experiment: 1", "experiment: 2"), "experiment: found '2'"),
        (("compare: [{topology.hosts: 3}", "compare: [{topology.hosts: 4}"), "hosts=4, expected one of 3, 5"),
        (("compare: [{topology.hosts: 3}", "compare: [{seed: 3}"), "expected the same factors in both settings"),
        (("expect: more", "expect: alike"), "expected a `margin`"),
        (("expect: more", "expect: bigger"), "bigger"),
        (("# Does it?", "precision: wide"), "found 'wide', expected a part of the median"),
        (("# Does it?", "precision: 0%"), "expected a part of the median"),
        (("# Does it?", "seeds: {at_least: 10, at_most: 5}"), "`at_most` not below `at_least`, found 5 and 10"),
        (("# Does it?", "seeds: {at_least: many}"), "many"),
        (("# Does it?", "name: ../../etc"), "name"),
        (("# Does it?", "design: {sobol: {samples: 12}}"), "power of two, found 12"),
        (("# Does it?", "design: {sobol: {samples: 8}}"), "found a list, expected {from, to}"),
        (("# Does it?", "x: &a [*a]"), "found no valid YAML|means nothing here|alias"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(LabError, match=said) as caught:
        read_experiment(write(tmp_path, GOOD.replace(*change)))
    assert "Traceback" not in str(caught.value) and "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("overlay.gossip_interval", "overlay.gosip_interval"), "factors: overlay.gosip_interval: found"),
        (("topology.hosts: [3, 5]", "topology.hots: [3, 5]"), "factors: topology.hots: found 'hots'.*hosts"),
        (("[5s, 30s]", "[5s, soon]"), "soon"),
        (("[5s, 30s]", "[5s, 1ms]"), "10ms to 24h"),
    ],
)  # fmt: skip
def test_a_factor_that_the_scenario_does_not_have_is_refused(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    text = GOOD.replace(*change).replace(
        "topology.hosts: 3}, {topology.hosts: 5", "overlay.hold: 5s}, {overlay.hold: 6s"
    )
    text = text.partition("hypotheses:")[0]
    file = read_experiment(write(tmp_path, text))
    with pytest.raises(LabError, match=said):
        planned_for(file, design_of(file.experiment), tmp_path / "out", 3)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"nowhere\.yaml"):
        read_experiment(tmp_path / "nowhere.yaml")
    for text, said in (("[1, 2]", "expected an experiment"), ("a: [", "no valid YAML"), ("", "expected an experiment")):
        with pytest.raises(LabError, match=said):
            read_experiment(write(tmp_path, text))


def test_the_digest_is_of_what_decides(tmp_path: Path) -> None:
    file = read_experiment(write(tmp_path, GOOD))
    comment = read_experiment(write(tmp_path, GOOD.replace("# Does it?", "# Does it, really?")))
    other = read_experiment(write(tmp_path, GOOD.replace("30s", "40s")))
    claim = read_experiment(write(tmp_path, GOOD.replace("it does", "it does not")))
    assert file.plan_digest == comment.plan_digest == claim.plan_digest != other.plan_digest
    assert file.hypotheses_digest == other.hypotheses_digest != claim.hypotheses_digest
    write(tmp_path, GOOD)
    (tmp_path / "ring.yaml").write_text(SCENARIO.replace("hosts: 3", "hosts: 4"))
    assert read_experiment(tmp_path / "mine.yaml").plan_digest != file.plan_digest, "the scenario is part of the plan"


def test_the_experiments_of_the_project_are_good() -> None:
    top = Path(__file__).parents[3] / "experiments"
    files = sorted(top.glob("*.yaml"))
    assert files
    for path in files:
        file = read_experiment(path)
        assert planned_for(file, design_of(file.experiment), path.parent / "nowhere", 2).tasks


def test_the_documentation_shows_both_files_of_its_experiment() -> None:
    """A reader who types what the page shows has all that the command needs."""
    top = Path(__file__).parents[3]
    page = (top / "docs" / "experiments.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    files = [top / "experiments" / name for name in ("heal-after-cut.yaml", "heal-after-cut/ring.yaml")]
    assert shown == [file.read_text(encoding="utf-8") for file in files]
