"""The public API on stored runs: which run is meant, tables, frames, and that nothing heavy comes with `import lab`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic_history

import lab
from lab.records.history import Sample, encode
from lab.records.store import HISTORY
from lab.report import write_report

HEAVY = {"asyncio", "click", "matplotlib", "msgspec", "numpy", "overlay", "pyarrow", "pydantic", "subprocess"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder below a root, as `lab run` names it."""
    place = tmp_path / "reports/partition/20260102T030405Z"
    place.mkdir(parents=True)
    (place / HISTORY).write_bytes(b"".join(map(encode, synthetic_history.partition())))
    return place


def test_importing_lab_imports_nothing_heavy() -> None:
    asked = "import sys; before = set(sys.modules); import lab; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert "lab" in found and not {name.partition(".")[0] for name in found} & HEAVY
    assert not [name for name in found if name.startswith("lab.")]


def test_every_public_name_is_there_and_others_are_not() -> None:
    assert all(getattr(lab, name) is not None for name in lab.__all__)
    assert set(lab.__all__) <= set(dir(lab))
    with pytest.raises(AttributeError, match="no attribute 'plya'"):
        lab.plya  # noqa: B018


def test_a_run_is_a_folder_a_history_or_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parents[2])
    elsewhere = folder.parents[2] / "kept.jsonl"
    elsewhere.write_bytes((folder / HISTORY).read_bytes())
    for where in (folder, str(folder), folder / HISTORY, elsewhere, "partition", "partition/20260102T030405Z"):
        assert lab.load(where).verdict == "valid", where
    assert lab.load("partition", root=folder.parents[1]).folder == folder
    with pytest.raises(lab.LabError, match="no run at nowhere: expected a directory with history"):
        lab.load("nowhere")
    with pytest.raises(lab.LabError, match="put it into a folder of its own"):
        lab.load(elsewhere).report()


def test_what_no_run_has_written_is_said_to_be_so(folder: Path) -> None:
    with (folder / HISTORY).open("ab") as file:
        file.write(b'{"kind": "news"}\n')
    with pytest.raises(lab.Unreadable, match="no line of a history of this version"):
        lab.load(folder)


def test_the_numbers_are_those_of_the_report(folder: Path) -> None:
    run = lab.load(folder)
    written = write_report(folder, drawn=False)
    assert json.loads(json.dumps(run.summary)).items() <= json.loads(json.dumps(written)).items()
    assert run.longest_outage is not None and run.longest_outage in run.outages
    assert run.longest_outage.lasted == written["longest_outage"]["lasted"]
    assert [change.overall for change in run.convergence] == [change["overall"] for change in written["convergence"]]
    assert [found.ok for found in run.expectations] == [found["ok"] for found in written["expectations"]]
    assert run.verdict == written["verdict"] and run.reason == ""
    assert run.report().name == "index.html" and run.report().is_file()


def test_tables_hold_every_record_and_choose_among_them(folder: Path) -> None:
    run = lab.load(folder)
    every = [record for record in synthetic_history.partition() if isinstance(record, Sample)]
    assert sorted(run.samples, key=repr) == sorted(every, key=repr)
    failed = run.samples.where(ok=False, probe="http")
    assert failed and list(failed) == [row for row in run.samples if not row.ok and row.probe == "http"]
    assert failed[0] in failed and failed[:2] == (failed[0], failed[1])
    with pytest.raises(lab.LabError, match="Sample has no field 'okay', expected one of: t, probe"):
        run.samples.where(okay=True)


def test_frames_have_typed_columns_with_the_unit_in_their_names(folder: Path) -> None:
    run = lab.load(folder)
    frame = run.samples.frame()
    assert frame.num_rows == len(run.samples)
    assert frame.column("t_ns").to_pylist() == [row.t for row in run.samples]
    assert frame.column("latency_ns").to_pylist() == [row.latency for row in run.samples]
    kinds = {field.name: str(field.type) for field in frame.schema}
    assert kinds | {"t_ns": "int64", "ok": "bool", "latency_ns": "int64", "probe": "string"} == kinds
    assert kinds["answers"].startswith("list<")
    assert json.loads(run.events.frame().column("detail").to_pylist()[-1]) == run.events[-1].detail
    overall = run.convergence.frame().column("overall_ns").to_pylist()
    assert overall == [change.overall for change in run.convergence]
    assert run.outages.frame().column("tries").to_pylist() == [len(outage.tries) for outage in run.outages]
    for table in (run.views, run.gone, run.loads, run.steps, run.faults, run.expectations):
        assert table.frame().num_rows == len(table)
        assert table.frame().column_names == [column.name for column in table.columns]


def test_without_pyarrow_a_frame_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(lab.LabError, match=r"pip install 'overlay-lab\[frames\]'"):
        lab.load(folder).samples.frame()
