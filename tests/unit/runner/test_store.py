"""Run directories: unique names, the `latest` link, the summary file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.records.store import HISTORY, Summary, find_run, new_run, read_summary, write_summary


def test_runs_that_start_in_the_same_second_get_directories_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: new_run("x", tmp_path), range(24)))
    assert len(set(runs)) == 24 and all(run.is_dir() for run in runs)
    assert (tmp_path / "x" / "latest").resolve() in runs
    assert not list((tmp_path / "x").glob(".latest*"))


def test_a_run_is_found_by_path_or_by_its_scenario(tmp_path: Path) -> None:
    run = new_run("x", tmp_path)
    (run / HISTORY).touch()
    assert find_run(str(run)) == find_run("x", tmp_path) == find_run(f"x/{run.name}", tmp_path) == run
    with pytest.raises(LabError, match="no run at y"):
        find_run("y", tmp_path)


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    summary = Summary(
        verdict="valid",
        scenario="x",
        file="x.yaml",
        backend="netns",
        seed=1,
        run_dir="r",
        replay="lab run",
        version="1",
    )
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    with pytest.raises(LabError, match="not a run"):
        read_summary(tmp_path / "nowhere")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="choose another with --out"):
        new_run("x", tmp_path / "file")


def test_a_directory_called_latest_is_left_alone_and_the_newest_run_is_found(tmp_path: Path) -> None:
    (tmp_path / "x" / "latest").mkdir(parents=True)
    (tmp_path / "x" / "latest" / HISTORY).touch()
    runs = [new_run("x", tmp_path) for _ in range(11)]
    for run in runs:
        (run / HISTORY).touch()
    assert find_run("x", tmp_path) == runs[-1]
    assert not (tmp_path / "x" / "latest").is_symlink()
