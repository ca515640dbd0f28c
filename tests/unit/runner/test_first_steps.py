"""What somebody types who has no scenario yet: `lab init`, `lab scenarios`, a packaged scenario by its name."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import lab
from lab.cli.play import replay_command
from lab.scenario.load import load_resolved
from lab.scenario.packaged import called, named, names


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_scenario_says_what_to_type_and_never_overwrites(empty: Path) -> None:
    result = CliRunner().invoke(lab, ["init", "a b/c"])
    assert result.exit_code == 0, result.output
    path = empty / "a b" / "c" / "first.yaml"
    assert load_resolved(path).name == "first"
    assert "run 'a b/c/first.yaml' --backend sim" in result.output
    assert len(result.output.splitlines()) < 10

    path.write_text("mine")
    again = CliRunner().invoke(lab, ["init", "a b/c"])
    assert "exists and stays as it is" in str(again.exception) and path.read_text() == "mine"
    assert [one.name for one in path.parent.iterdir()] == ["first.yaml"]


def test_init_refuses_what_is_no_folder(empty: Path) -> None:
    (empty / "file").write_text("")
    for folder, says in (("file", "file is a file, expected a folder"), ("file/x", "lies below a file")):
        assert says in str(CliRunner().invoke(lab, ["init", folder]).exception)
    (empty / "first.yaml").symlink_to("nowhere")
    assert "exists and stays" in str(CliRunner().invoke(lab, ["init"]).exception)


def test_a_packaged_scenario_is_meant_by_its_name_unless_there_is_such_a_file(empty: Path) -> None:
    rows = json.loads(CliRunner().invoke(lab, ["scenarios", "--json"]).output)
    assert {"first", "walkthrough", "partition"} <= {row["name"] for row in rows}
    assert all(row["question"] for row in rows)

    result = CliRunner().invoke(lab, ["validate", "walkthrough"])
    assert (result.exit_code, "walkthrough.yaml: valid" in result.output) == (0, True)

    (empty / "reports").mkdir()
    (empty / "walkthrough").mkdir()  # a folder is no scenario
    assert named("walkthrough") == names()["walkthrough"]
    (empty / "walkthrough").rmdir()
    (empty / "walkthrough").write_text("mine")
    assert named("walkthrough") == Path("walkthrough")
    for word in ("./partition", "partition.yaml", "x/partition"):
        assert named(word) == Path(word)


def test_what_runs_it_again_names_it_as_it_was_typed(empty: Path) -> None:
    from lab.backends.netns import NetnsBackend

    path = named("partition")
    assert called(path) == "partition"
    assert replay_command(path, NetnsBackend(), load_resolved(path), empty).endswith(
        "run partition --backend netns --seed 1"
    )
    (empty / "partition").write_text("mine")
    assert called(path) == str(path)
    assert called(Path("scenarios/partition.yaml")) == "scenarios/partition.yaml"


def test_a_name_that_is_none_is_told_with_the_nearest(empty: Path) -> None:
    for command in ("run", "up", "sweep", "fidelity", "explore", "validate"):
        result = CliRunner().invoke(lab, [command, "walktrough"])
        assert "did you mean 'walkthrough'?" in str(result.exception), command
