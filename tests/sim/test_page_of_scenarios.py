"""The page of real scenarios, played in virtual time: its JavaScript says of every moment what the checkers say."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from page_states import compare

from lab.checkers import RecordedRun
from lab.cli import lab
from lab.records.history import read
from lab.records.store import find_run
from lab.report.page import data_of

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


@pytest.mark.parametrize("name", ["partition", "churn", "policy", "scale", "ring", "steady-load"])
def test_the_page_shows_what_the_checkers_judge(name: str, tmp_path: Path) -> None:
    words = ["run", str(SCENARIOS / f"{name}.yaml"), "--backend", "sim", "--out", str(tmp_path), "--no-figures"]
    done = CliRunner().invoke(lab, words)
    assert done.exit_code == 0, done.output
    run = RecordedRun(read(find_run(name, tmp_path) / "history.jsonl"))
    compare(run, data_of(run)[0], seed=name)
