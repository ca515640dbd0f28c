"""docs/performance.md says what the files of reports/bench/ say, and nothing else."""

from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.__main__ import BENCHES, BY_NAME
from benchmarks.rows import Row, row
from lab.errors import LabError

TOP = Path(__file__).resolve().parents[3]
NAMES = [*BENCHES, *BY_NAME]


def rows() -> list[Row]:
    hand = row("hand-made vxlan", "throughput", "Gbit/s", [12.0, 13.0, 14.0])
    ours = row("weave", "throughput", "Gbit/s", [12.5, 13.5, 13.7], against=hand, goal="at least 0.95")
    return [hand, ours, row("a|b", "round trip", "us", [1200.4], version="1.0, 2022")]


def test_a_table_for_each_metric_without_empty_columns() -> None:
    text = page.written([page.Section("datapath", "Two: containers", "How.", None, rows())], ["sim"])
    assert "## Two\n\nHow.\n" in text
    assert "| weave | 13.5 (12.5 to 13.7) | 3 | 1.038 of hand-made vxlan | at least 0.95 |" in text
    assert "| candidate | round trip, us | runs |\n| --- | --- | --- |\n| a\\|b (1.0, 2022) | 1,200 | 1 |" in text
    assert "No file in `reports/bench/`: `sim`." in text


def test_a_file_that_holds_no_rows_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "heal.json").write_text('[{"name": "x"}]')
    with pytest.raises(LabError, match=r"heal\.json: found no rows of a benchmark .* python -m benchmarks heal"):
        page.sections(NAMES, tmp_path)


def test_the_committed_page_is_that_of_the_committed_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP)
    found = page.sections(NAMES)
    missing = [name for name in NAMES if name not in {section.name for section in found}]
    assert page.PAGE.read_text() == page.written(found, missing), "write it again: python -m benchmarks page"
