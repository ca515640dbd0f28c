"""Files of packets of a run: which count, that the page links to them and to nothing else, that `lab runs` tells of
them, and that a report mends what a kill has cut off."""

from pathlib import Path

import pytest
import synthetic_history
from click.testing import CliRunner

from lab.capture import pcapng
from lab.cli import lab
from lab.records.captures import stored_captures
from lab.records.history import Writer
from lab.report import write_report

WHOLE = pcapng.section("tests") + pcapng.interface("a eth0") + pcapng.packet(0, 1, bytes(60))
EVIL = 'x"><img src=x onerror=alert(1)>.pcapng'


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "captured" / "20260102T000000Z"
    captures = folder / "captures"
    captures.mkdir(parents=True)
    with (folder / "history.jsonl").open("wb") as file:
        writer = Writer(file)
        for record in synthetic_history.crash():
            writer.write(record)
    (captures / "a.pcapng").write_bytes(WHOLE + WHOLE[:21])
    (captures / EVIL).write_bytes(WHOLE)
    (captures / "notes.txt").write_text("mine")
    (captures / "link.pcapng").symlink_to(tmp_path / "elsewhere.pcapng")
    (tmp_path / "elsewhere.pcapng").write_bytes(WHOLE + b"x")
    return folder


def test_the_page_links_to_the_captures_of_the_run(run_dir: Path) -> None:
    assert [one.name for one in stored_captures(run_dir)] == ["a.pcapng", EVIL]
    write_report(run_dir)
    page = (run_dir / "index.html").read_text()
    assert '<a href="captures/a.pcapng">a.pcapng</a>' in page
    assert "<img src=x" not in page and "link.pcapng" not in page and "notes.txt" not in page
    assert (run_dir / "captures" / "a.pcapng").read_bytes() == WHOLE
    assert (run_dir.parents[1] / "elsewhere.pcapng").read_bytes() == WHOLE + b"x"


def test_lab_runs_says_how_many_there_are(run_dir: Path) -> None:
    root = run_dir.parents[1]
    write_report(run_dir)
    head, row, *_ = CliRunner().invoke(lab, ["runs", "--out", str(root)]).output.splitlines()
    assert head.split()[-1] == "pcap" and row.split()[-1] == "2" and len(row) <= 80
    assert "<small>2 captures</small>" in (root / "index.html").read_text()


def test_a_folder_that_is_a_link_has_no_captures(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "captures").rename(tmp_path / "other")
    (run_dir / "captures").symlink_to(tmp_path / "other")
    assert stored_captures(run_dir) == []
