"""`lab experiment` as a person runs it: from a file to a PDF, killed and taken up again, with a changed file."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import eventually

from lab.sweep.table import read_table

TOP = Path(__file__).parents[2]
OURS = TOP / "experiments"


def lab(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TOP), "COLUMNS": "80"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The project's own experiment, small enough for a test."""
    shutil.copytree(OURS / "heal-after-cut", tmp_path / "heal-after-cut")
    text = (OURS / "heal-after-cut.yaml").read_text(encoding="utf-8")
    text = re.sub(r"overlay.gossip_interval: \[.*\]", "overlay.gossip_interval: [5s, 30s]", text)
    text = re.sub(r"overlay.beacon_interval: \[.*\]", "overlay.beacon_interval: [100ms, 400ms]", text)
    text = re.sub(r"seeds: .*", "seeds: {at_least: 3, at_most: 4, step: 1}", text)
    path = tmp_path / "heal-after-cut.yaml"
    path.write_text(text, encoding="utf-8")
    scenario = tmp_path / "heal-after-cut" / "ring.yaml"
    scenario.write_text(scenario.read_text().replace("hosts: 8", "hosts: 4").replace(
        "[host1, host2, host3, host4], [host5, host6, host7, host8]", "[host1, host2], [host3, host4]"))  # fmt: skip
    return path


def test_from_a_file_to_the_pdf(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = lab("experiment", "run", small, "--out", out, "--jobs", 1, "--json")
    told = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    assert done.returncode in (0, 1, 3) and "Traceback" not in done.stderr, done.stderr
    assert told["settings"] == 4 and 3 <= told["seeds"] <= 4 and told["runs"] == 4 * told["seeds"]
    assert told["hypotheses"].keys() == {"H1", "H2"}
    paper = out / "paper"
    for name in ("effects", "distributions"):
        pdf = (paper / f"{name}.pdf").read_bytes()
        box = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) [0-9.]+ \]", pdf)
        assert pdf.startswith(b"%PDF") and box and abs(float(box[1]) / 72 * 25.4 - 84) < 1, "a column is 84 mm wide"
        assert b"/Type3" not in pdf and b"CreationDate" not in pdf
        assert (paper / f"{name}.svg").read_text().startswith("<?xml") and (paper / f"{name}.csv").stat().st_size
    table = (paper / "table.tex").read_text()
    assert table.count(r" \\") == 5 and r"\begin{tabular}{llr" in table and r"\bottomrule" in table
    text = (paper / "sentences.txt").read_text()
    assert "With 95 % intervals from" in text and "H2 (" in text and "written down before the first run" in text
    assert r"95 \% intervals" in (paper / "sentences.tex").read_text()
    assert (paper / "runs.csv").read_bytes() == (out / "sweep.csv").read_bytes()
    assert (out / "provenance.json").is_file() and "<h2>Hypotheses</h2>" in (out / "index.html").read_text()
    points = read_table(out)
    assert {point.seed for point in points} == set(range(1, told["seeds"] + 1))

    before = {path.name: path.read_bytes() for path in paper.iterdir()}
    again = lab("experiment", "report", small, "--out", out)
    assert again.returncode == done.returncode, again.stderr
    assert {path.name: path.read_bytes() for path in paper.iterdir()} == before, "made again to the byte"
    state = lab("experiment", "status", small, "--out", out)
    assert state.returncode == 0 and f"{told['seeds']} seeds complete of 3 to 4" in state.stdout

    # What was written down before the runs stays.
    small.write_text(small.read_text().replace("heal sooner", "heal later"))
    changed = lab("experiment", "run", small, "--out", out, "--jobs", 1)
    assert changed.returncode == 2 and "are not those that were written down" in changed.stderr
    amended = lab("experiment", "run", small, "--out", out, "--jobs", 1, "--amend")
    assert "they were changed after runs had been seen" in amended.stdout, amended.stdout + amended.stderr
    page = (out / "index.html").read_text()
    assert "heal later" in page and "heal sooner" in page and "changed after runs had been seen" in page
    small.write_text(small.read_text().replace("precision: 30%", "precision: 40%"))
    for words in (("run", small, "--jobs", 1), ("status", small), ("report", small)):
        refused = lab("experiment", *words, "--out", out)
        assert refused.returncode == 2 and "has changed since the runs" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_killed_experiment_goes_on_where_it_was(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    small.write_text(re.sub(r"seeds: .*", "seeds: {at_least: 6, at_most: 6}", small.read_text()))
    command = [sys.executable, "-m", "lab.cli", "experiment", "run", str(small), "--out", str(out), "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    ledger = out / "points.jsonl"
    try:
        eventually(lambda: ledger.exists() and ledger.read_text().count("\n") >= 3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = ledger.read_text().count("\n")
    done = lab("experiment", "run", small, "--out", out, "--jobs", 1, "--json")
    told = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    assert (told["runs"], told["seeds"], told["interrupted"]) == (24, 6, False), done.stderr
    keys = [json.loads(line)["key"] for line in ledger.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 24 > kept >= 3, "no run is played twice"
    assert not [path for path in out.rglob(".*") if path.is_file()], "nothing half-written stays"


def test_an_outcome_that_no_run_has_is_refused_after_the_first(small: Path, tmp_path: Path) -> None:
    small.write_text(small.read_text().replace("primary: heal:overall", "primary: kill:overall"))
    done = lab("experiment", "run", small, "--out", tmp_path / "out", "--jobs", 1)
    assert done.returncode == 2 and "found no outcome 'kill:overall' in the first run" in done.stderr
    assert "heal:overall" in done.stderr and (tmp_path / "out" / "points.jsonl").read_text().count("\n") == 1


def test_bad_words_exit_with_2_and_leave_nothing(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words in (
        ("run", tmp_path / "nowhere.yaml"),
        ("run", small, "--jobs", 2, "--scheduler", "tcp://127.0.0.1:1"),
        ("status", small),
        ("report", small),
    ):
        done = lab("experiment", *words, "--out", out)
        assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr, (words, done)
        assert not out.exists(), words


def test_a_full_disk_is_told_in_a_sentence_and_what_is_done_stays(small: Path, tmp_path: Path) -> None:
    small.write_text(re.sub(r"seeds: .*", "seeds: {at_least: 400, at_most: 400}", small.read_text()))
    place = tmp_path / "disk"
    place.mkdir()
    script = 'mount -t tmpfs -o size=48k none "$1" && cd / && shift && "$@"; echo "code $?"; cat "$0" | wc -l'
    words = [
        sys.executable,
        "-m",
        "lab.cli",
        "experiment",
        "run",
        str(small),
        "--out",
        str(place / "out"),
        "--jobs",
        "1",
    ]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(place / "out" / "points.jsonl"),
         str(place), *words],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    if "unshare" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("no user namespaces here")
    assert "Traceback" not in done.stderr and "No space left" in done.stderr, done.stderr
    assert "code 3" in done.stdout and int(done.stdout.split()[-1]) >= 1
