"""`lab replay`: the same to the byte, and where it is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli.replay import first_difference, replay_run
from lab.errors import LabError
from lab.records.provenance import PROVENANCE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A stored run of the command itself, in a process of its own."""
    command = [sys.executable, "-m", "lab.cli", "run", str(ROOT / "scenarios" / "scale.yaml")]
    command += ["--backend", "sim", "--out", str(tmp_path), "--json", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONHASHSEED": "99"}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["replay"].endswith(f"replay {summary['run_dir']}")
    return Path(summary["run_dir"])


def test_stored_run_is_made_again_and_every_change_of_it_is_seen(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay_run(str(run_dir), as_json=False) == 0
    assert "the same to the byte" in capsys.readouterr().out

    history = run_dir / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    number, changed = next((n, line) for n, line in enumerate(lines, 1) if b'"ok":true' in line and b"sample" in line)
    lines[number - 1] = changed.replace(b'"ok":true', b'"ok":false')
    history.write_bytes(b"".join(lines))
    assert replay_run(str(run_dir), as_json=False) == 1
    out = capsys.readouterr().out
    assert f"line {number} differs" in out and "This is a bug" in out

    made = run_dir / PROVENANCE
    made.write_text(made.read_text().replace('"digest": "', '"digest": "f'))
    assert replay_run(str(run_dir), as_json=False) == 1
    out = capsys.readouterr().out
    assert f"line {number} differs" in out and "other code" in out


def test_run_on_packets_cannot_be_replayed(tmp_path: Path) -> None:
    meta = {"kind": "meta", "t": 0, "scenario": {"file": "x.yaml"}, "backend": "netns", "seed": 4, "version": "1"}
    (tmp_path / "history.jsonl").write_text(json.dumps(meta | {"started": ""}) + "\n")
    with pytest.raises(LabError, match="only sim runs can be replayed"):
        replay_run(str(tmp_path), as_json=False)


def test_first_difference_is_the_first_even_when_one_is_shorter() -> None:
    assert first_difference(b"a\nb\nc\n", b"a\nx\nc\n") == (2, b"b", b"x")
    assert first_difference(b"a\nb\n", b"a\n") == (2, b"b", b"")


def test_run_without_figures_is_judged_and_can_be_drawn_later(tmp_path: Path) -> None:
    def lab(*words: str) -> str:
        command = [sys.executable, "-m", "lab.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = lab("run", "scenarios/partition.yaml", "--backend", "sim", "--out", str(tmp_path), "--json", "--no-figures")
    summary = json.loads(out.splitlines()[-1])
    place = Path(summary["run_dir"])
    assert (summary["verdict"], summary["figures"]) == ("valid", [])
    assert {path.name for path in place.iterdir()} == {"history.jsonl", "provenance.json", "summary.json"}
    assert "report:" not in out
    assert "draw:   " in out
    lab("report", str(place))
    assert (place / "index.html").is_file()
    assert json.loads((place / "summary.json").read_text())["checks"] == summary["checks"]
