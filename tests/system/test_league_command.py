"""`lab league` on real packets: a small one, killed and resumed, with entries that misbehave; and bad words."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from foreign_packages import lab
from netns_labs import require_netns
from waiting import eventually

MARK = "86417.25"
"""Seconds that nobody else sleeps."""
SHELL = Path(__file__).resolve().parents[1] / "support" / "shell_overlay.sh"


def league(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    done = lab("league", *words, "--json", cwd=folder, environment=dict(os.environ))
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def told_by(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has just ended
        return ""


def other(folder: Path, name: str, before: str, after: str) -> None:
    """The overlay in shell with something else in it."""
    text = SHELL.read_text()
    assert before in text
    (folder / name).write_text(text.replace(before, after))
    (folder / name).chmod(0o755)


def test_a_small_league_goes_on_after_a_kill_and_judges_who_misbehaves(tmp_path: Path) -> None:
    require_netns()
    launch = "        launch) launch ;;"
    other(tmp_path, "leaves.sh", launch, launch.replace(") ", f") sleep {MARK} </dev/null >&2 & "))
    other(tmp_path, "dead.sh", "        hello) answer", "        hello) exit 3 ;;\n        never) answer")
    other(tmp_path, "flood.sh", launch, "        launch) yes | head -c 3000000 ;;")
    words = ("--questions", "cold-2,path", "--repeats", "1", "--out", "out")
    ledger = tmp_path / "out/league.jsonl"
    command = [sys.executable, "-m", "lab.cli", "league", "--entries", "vxlan", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        eventually(lambda: ledger.is_file() and ledger.read_bytes().count(b"\n"), 600, "a run that is done")
        first.kill()
    everybody = ("--entries", "./dead.sh,./flood.sh,vxlan,./leaves.sh", *words)
    code, told, err = league(tmp_path, *everybody, "--document", "league.md")
    assert code == 0, (told, err)
    assert (told["planned"], told["runs"]) == (4, 4) and 1 <= told["reused"] <= 2, told
    assert set(told["broken"]) == {"dead", "flood"}, told["broken"]
    assert told["leaves"] == {"leaves": "processes of it run, and it says that none does: sleep"}
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if MARK in told_by(path)]
    cells = {(cell["entry"], cell["question"], cell["measure"]): cell for cell in told["cells"]}
    assert len(cells) == 12
    for question, measure in (("cold-2", "first"), ("path", "rtt")):
        for entry in ("vxlan", "leaves"):
            cell = cells[entry, question, measure]
            assert cell["state"] == "measured" and cell["runs"] == 1 and cell["rank"] is None, cell
        assert {cells[entry, question, measure]["state"] for entry in ("dead", "flood")} == {"failed"}
    assert "pairs/leaves--path.html" in (tmp_path / told["page"]).read_text()
    pair = (tmp_path / "out/pairs/leaves--path.html").read_text()
    (link,) = (part for part in pair.split('"') if part.startswith("../runs/"))
    assert (tmp_path / "out/pairs" / link).is_file()
    assert "## path" in (tmp_path / "league.md").read_text()
    keys = [json.loads(line)["key"] for line in ledger.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 4


def test_words_that_mean_no_league_are_refused(tmp_path: Path) -> None:
    for words, said in (
        (("--entries", "weev"), "no overlay named 'weev'"),
        (("--questions", "cut-6"), "no question named 'cut-6'"),
        (("--repeats", "0"), "--repeats 0: expected 1 to 1000"),
        (("--jobs", "99"), "--jobs 99: expected 1 to 16 labs"),
        (("--again", "2"), "--again 2: expected a part of all cells"),
        (("--backend", "nowhere"), "no backend named 'nowhere'"),
        (("--backend", "nowhere", "--list"), "no backend named 'nowhere'"),
        (("--entries", "swarm"), "swarm does not run on netns, but on dind, vagrant: --backend dind"),
    ):
        code, _, err = league(tmp_path, *words)
        assert code == 2 and said in err and not (tmp_path / "reports").exists(), (words, err)
