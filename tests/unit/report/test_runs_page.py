"""`lab runs` and `reports/index.html`: every run, newest first, whatever the others' folders hold."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lab.cli import lab
from lab.records.runs import stored_runs
from lab.report.runs import MOST, update_index

EVIL = "<script>alert(1)</script>\x1b[31m\u202e&\"'"


def stored(root: Path, folder: str, stamp: str, /, *, page: bool = False, **summary: object) -> Path:
    run_dir = root / folder / stamp
    run_dir.mkdir(parents=True)
    (run_dir / "history.jsonl").write_text("")
    words = {"verdict": "valid", "scenario": folder, "backend": "sim", "seed": 1, "took": 6_080_000_000, **summary}
    (run_dir / "summary.json").write_text(json.dumps(words))
    if page:
        (run_dir / "index.html").write_text("<p>a report</p>")
    return run_dir


class Parsed(HTMLParser):
    """Tags, links and rows of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


def test_runs_are_listed_newest_first_with_what_they_came_to(tmp_path: Path) -> None:
    stored(tmp_path, "b", "20260102T000000Z", page=True)
    stored(tmp_path, "a", "20260103T000000Z", verdict="invalid", reason="web-1 was not reached", backend="netns")
    stored(tmp_path, "b", "20260102T000000Z-2", took=0)
    (tmp_path / "b" / "latest").symlink_to("20260102T000000Z-2")
    result = CliRunner().invoke(lab, ["runs", "--out", str(tmp_path), "--json"])
    rows = json.loads(result.output)
    assert [row["run"] for row in rows] == ["a/20260103T000000Z", "b/20260102T000000Z-2", "b/20260102T000000Z"]
    assert (rows[0]["verdict"], rows[0]["backend"], rows[0]["when"]) == ("invalid", "netns", "2026-01-03T00:00:00Z")
    assert [row["took"] for row in rows] == [6_080_000_000, None, 6_080_000_000]

    printed = CliRunner().invoke(lab, ["runs", "--out", str(tmp_path)]).output.splitlines()
    assert printed[1].split() == ["a/20260103T000000Z", "netns", "2026-01-03", "00:00:00", "invalid", "6.08", "s"]
    assert printed[-1] == f"page: {tmp_path}/index.html"
    page = Parsed(tmp_path / "index.html")
    assert page.links == ["a/20260103T000000Z/", "b/20260102T000000Z-2/", "b/20260102T000000Z/index.html"]
    assert all((tmp_path / link).exists() for link in page.links)
    assert "web-1 was not reached" in (tmp_path / "index.html").read_text()


def test_no_run_is_a_sentence_and_makes_no_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(lab, ["runs", "--out", str(tmp_path / "none")])
    assert (result.exit_code, result.output.startswith("no runs in ")) == (0, True)
    assert not (tmp_path / "none").exists()
    assert update_index(tmp_path) == tmp_path / "index.html"
    assert "No runs yet" in (tmp_path / "index.html").read_text()


def test_foreign_words_stay_words(tmp_path: Path) -> None:
    words: dict[str, Any] = {"scenario": EVIL, "question": EVIL, "backend": EVIL, "reason": EVIL, "verdict": "unknown"}
    stored(tmp_path, "<b>", "20260102T000000Z", page=True, **words)
    stored(tmp_path, "b", os.fsdecode(b'"\xff#?'), **words)
    plain = Parsed(update_index(tmp_path) or tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "script" not in plain.tags and "b" not in plain.tags
    assert "\x1b" not in text and "\u202e" not in text
    assert sorted(plain.links) == ["%3Cb%3E/20260102T000000Z/index.html", "b/%22%FF%23%3F/"]
    listed = CliRunner().invoke(lab, ["runs", "--out", str(tmp_path)])
    assert listed.exit_code == 0 and "\x1b" not in listed.output and "\u202e" not in listed.output
    assert len(json.loads(CliRunner().invoke(lab, ["runs", "--out", str(tmp_path), "--json"]).output)) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no summary"),
        (b"\xff\xfe", "no summary"),
        (b"[" * 100_000, "no summary"),
        (b"[1]", "no summary"),
        (b"{}", "no verdict"),
        (b'{"verdict": ["valid"]}', "no verdict"),
        (b'{"verdict": "<i>"}', "no verdict"),
        (None, "has no summary.json"),
    ],
)
def test_a_broken_run_is_listed_and_spoils_nothing(content: bytes | None, says: str, tmp_path: Path) -> None:
    stored(tmp_path, "good", "20260101T000000Z")
    broken = stored(tmp_path, "broken", "20260102T000000Z") / "summary.json"
    if content is None:
        broken.unlink()
        os.mkfifo(broken)  # reading it would never end
    else:
        broken.write_bytes(content)
    (tmp_path / "file").write_text("")
    (tmp_path / "gone").symlink_to("nowhere")
    stored(tmp_path, "odd", "20269999T999999Z", scenario=7, seed="x", took="long", question=None)
    found, total = stored_runs(tmp_path)
    rows = {row.scenario: row for row in found}
    assert total == 3 and rows["good"].verdict == "valid"
    assert (rows["broken"].verdict, says in rows["broken"].reason) == ("unreadable", True)
    assert (rows["odd"].verdict, rows["odd"].took, rows["odd"].seed) == ("valid", None, None)
    assert len(Parsed(update_index(tmp_path) or tmp_path).links) == 3


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    stored(tmp_path, "a", "20260102T000000Z")
    page = tmp_path / "index.html"
    page.write_text("<h1>mine</h1>")
    assert update_index(tmp_path) is None and page.read_text() == "<h1>mine</h1>"
    assert "page:" not in CliRunner().invoke(lab, ["runs", "--out", str(tmp_path)]).output
    page.unlink()
    page.symlink_to("elsewhere.html")
    assert update_index(tmp_path) is None and not (tmp_path / "elsewhere.html").exists()


def test_a_page_of_very_many_runs_shows_the_newest(tmp_path: Path) -> None:
    for number in range(MOST + 2):
        (tmp_path / "a" / f"20260102T000000Z-{number + 2}").mkdir(parents=True)
        (tmp_path / "a" / f"20260102T000000Z-{number + 2}" / "history.jsonl").touch()
    page = Parsed(update_index(tmp_path) or tmp_path)
    assert len(page.links) == MOST and page.links[0] == f"a/20260102T000000Z-{MOST + 3}/"
    assert "2 older runs: see" in (tmp_path / "index.html").read_text()


def test_each_run_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "# <why?>\nversion: 1\nunderlay: {hosts: {a: {}, b: {}}}\noverlay: none\ntimeline: [{wait: 1s}]\n"
    )
    out = tmp_path / "out"
    words = ["run", str(tmp_path / "x.yaml"), "--backend", "sim", "--no-figures", "--out", str(out)]
    for number in (1, 2):
        assert CliRunner().invoke(lab, words).exit_code == 0
        text = (out / "index.html").read_text()
        assert text.count("✓ valid") == number and "&lt;why?&gt;" in text
