"""`lab league` on real packets: two entries and two questions, one run each, resumed; and entries that misbehave."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from foreign_packages import lab
from netns_labs import require_netns

SHELL = Path(__file__).resolve().parents[1] / "support" / "shell_overlay.sh"


def league(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    done = lab("league", *words, "--json", cwd=folder, environment=dict(os.environ))
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def other(folder: Path, name: str, before: str, after: str) -> None:
    text = SHELL.read_text()
    assert before in text
    (folder / name).write_text(text.replace(before, after))
    (folder / name).chmod(0o755)


def test_a_small_league_is_played_once_and_written(tmp_path: Path) -> None:
    require_netns()
    shutil.copy(SHELL, tmp_path / "theirs.sh")
    words = ("--entries", "vxlan,./theirs.sh", "--questions", "cold-2,moved", "--repeats", "1", "--out", "out")
    code, told, err = league(tmp_path, *words, "--document", "league.md")
    assert code == 0, (told, err)
    assert (told["planned"], told["runs"], told["reused"], told["broken"]) == (4, 4, 0, {})
    cells = {(cell["entry"], cell["question"], cell["measure"]): cell for cell in told["cells"]}
    assert len(cells) == 6
    for entry in ("vxlan", "theirs"):
        for question in ("cold-2", "moved"):
            cell = cells[entry, question, "first"]
            assert cell["state"] == "measured" and cell["runs"] == 1 and cell["rank"] is None, cell
    page = (tmp_path / told["page"]).read_text()
    assert "pairs/theirs--moved.html" in page
    link = next(
        part for part in (tmp_path / "out/pairs/theirs--moved.html").read_text().split('"') if "history" in part
    )
    assert (tmp_path / "out/pairs" / link).is_file()
    assert "## moved" in (tmp_path / "league.md").read_text()
    before = (tmp_path / "out/league.jsonl").read_bytes()
    code, told, err = league(tmp_path, *words)
    assert (code, told["reused"]) == (0, 4), err
    assert (tmp_path / "out/league.jsonl").read_bytes() == before


def test_entries_that_lie_or_die_are_judged_and_the_league_goes_on(tmp_path: Path) -> None:
    require_netns()
    other(
        tmp_path,
        "liar.sh",
        "    port=sh$(printf",
        '    answer ",\\"address\\":\\"$address\\""; return\n    port=sh$(printf',
    )
    other(tmp_path, "dead.sh", "        hello) answer", "        hello) exit 3 ;;\n        never) answer")
    other(tmp_path, "flood.sh", "        launch) launch ;;", "        launch) yes | head -c 3000000 ;;")
    code, told, err = league(
        tmp_path, "--entries", "./liar.sh,./dead.sh,./flood.sh,vxlan", "--questions", "path", "--repeats", "1"
    )
    assert code == 0, (told, err)
    assert set(told["broken"]) == {"dead", "flood"}, told["broken"]
    states = {cell["entry"]: cell["state"] for cell in told["cells"] if cell["measure"] == "rtt"}
    assert states == {"liar": "failed", "dead": "failed", "flood": "failed", "vxlan": "measured"}, told["cells"]
    liar = next(cell for cell in told["cells"] if cell["entry"] == "liar")
    assert "reachable" in liar["reason"] or "web-" in liar["reason"], liar


def test_words_that_mean_no_league_are_refused(tmp_path: Path) -> None:
    for words, said in (
        (("--entries", "weev"), "no overlay named 'weev'"),
        (("--questions", "cut-6"), "no question named 'cut-6'"),
        (("--repeats", "0"), "--repeats 0: expected 1 to 1000"),
    ):
        code, _, err = league(tmp_path, *words)
        assert code == 2 and said in err and not (tmp_path / "reports").exists(), (words, err)
