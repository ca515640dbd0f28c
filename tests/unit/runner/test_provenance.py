"""What made a run is told in a file of its own; equal simulated runs are equal to the byte wherever they were made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.records import provenance
from lab.records.provenance import PROVENANCE

SCENARIO = """\
# Do two hosts agree?
version: 1
underlay:
  hosts: {a: {}, b: {}}
  links: {"a -> b": {delay: 5ms}}
overlay: weave
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 20s}
  - trace: {from: a, to: b, file: slow.csv, for: 2s}
  - wait: 3s
"""


def lab(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.cli", *map(str, words)]
    top = str(Path(__file__).parents[3])

    environment = {**os.environ, "PYTHONPATH": top, "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def _place(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "two hosts.yaml").write_text(SCENARIO)
    (folder / "slow.csv").write_text("time,delay\n0s,5ms\n1s,30ms\n")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    """What has to be equal: histories, tables and figures."""
    kinds = ("history.jsonl", "*.csv", "*.parquet", "*.png", "*.svg", "*.pdf")
    return {path.name: path.read_bytes() for kind in kinds for path in sorted(folder.glob(kind))}


def test_equal_runs_are_equal_to_the_byte_wherever_they_were_made(tmp_path: Path) -> None:
    here, there = _place(tmp_path / "here"), _place(tmp_path / "a longer place" / "there")
    found = []
    for cwd, file, out in ((here, "two hosts.yaml", "out"), (tmp_path, there / "two hosts.yaml", there / "out")):
        done = lab("run", file, "--backend", "sim", "--seed", 3, "--out", out, "--json", cwd=cwd)
        assert done.returncode == 0, done.stderr
        run_dir = Path(json.loads(done.stdout.splitlines()[-1])["run_dir"])
        assert lab("report", run_dir, "--format", "svg,pdf", cwd=cwd).returncode == 0
        found.append((run_dir, _files(run_dir)))
        told = json.loads((run_dir / PROVENANCE).read_text())
        assert told["file"] == str(file) and told["folder"] == str(cwd), "what was typed, and where, is there"
        assert told["started"] <= told["ended"] and told["seed"] == 3 and told["backend"] == "sim"
        assert told["command"][0] == "lab" and "--seed" in told["command"]
        assert lab("replay", run_dir, cwd=tmp_path).returncode == 0
    (one, ours), (other, theirs) = found
    assert len(ours) > 6 and ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    for place in (here, there, one, other):
        assert not any(str(place).encode() in content for content in (*ours.values(), *theirs.values()))


def test_provenance_says_code_libraries_tools_machine_and_load(tmp_path: Path) -> None:
    provenance.started(tmp_path, file="x.yaml")
    provenance.ended(tmp_path)
    told = json.loads((tmp_path / PROVENANCE).read_text())
    assert len(told["code"]["digest"]) == 16 and told["code"]["version"]
    if told["code"]["commit"] is not None:
        assert len(told["code"]["commit"]) >= 40 and told["code"]["dirty"] in (True, False)
    assert told["libraries"]["numpy"] and told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["tools"].keys() >= {"ip", "tc", "nft", "wg"}
    assert told["machine"]["kernel"] and told["machine"]["cores"] >= 1 and told["machine"]["memory_bytes"] > 1 << 20
    assert len(told["load"]["before"]) == len(told["load"]["after"]) == 3


def test_a_commit_and_whether_files_differ_from_it_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    (tmp_path / "code.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", "code"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    monkeypatch.setattr(provenance, "TOP", tmp_path)
    clean = provenance._commit.__wrapped__()
    (tmp_path / "code.py").write_text("x = 2\n")
    assert (clean["dirty"], provenance._commit.__wrapped__()) == (False, clean | {"dirty": True})
    monkeypatch.setattr(provenance, "TOP", tmp_path / "elsewhere")
    assert provenance._commit.__wrapped__() == {"commit": None, "dirty": None}


def test_a_file_that_is_no_provenance_stops_nothing(tmp_path: Path) -> None:
    for text in ("", "[1]", "{", '{"a": ' + "[" * 100_000):
        (tmp_path / PROVENANCE).write_text(text)
        assert provenance.read_provenance(tmp_path) == {}
        provenance.ended(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((OSError, LabError)):
        provenance.started(tmp_path / "file")


def test_all_commands_of_a_sweep_are_kept(tmp_path: Path) -> None:
    for number in range(3):
        provenance.started(tmp_path, goes_on=True, number=number)
    told = provenance.read_provenance(tmp_path)
    assert told["number"] == 2 and [one["number"] for one in told["earlier"]] == [0, 1]


def test_equal_sweeps_have_equal_tables_and_figures(tmp_path: Path) -> None:
    here, there = _place(tmp_path / "here"), _place(tmp_path / "a longer place" / "there")
    found = []
    for cwd, file, out in ((here, "two hosts.yaml", "out"), (tmp_path, there / "two hosts.yaml", there / "out")):
        done = lab("sweep", file, "--seeds", 3, "--set", "overlay.hold=60s,2m", "--out", out, "--jobs", 1, cwd=cwd)
        assert done.returncode == 0, done.stderr
        found.append(_files(cwd / out))
        assert (cwd / out / PROVENANCE).is_file()
    ours, theirs = found
    assert ours["sweep.csv"] and len(ours) > 3 and ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
