"""Figures and pages of runs of every shape: whole, empty, cut short, one host, many pairs."""

import html.parser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import synthetic_history
from click.testing import CliRunner
from synthetic_history import MS, ORION, S, Story

from lab.checkers import RecordedRun
from lab.cli import lab
from lab.cli.progress import ProgressPrinter
from lab.figures import told
from lab.plots import pictures
from lab.records.history import AnyRecord, Load, Meta, Sample, Writer
from lab.report import gallery, write_report
from lab.report.embed import bundle
from lab.report.summary import summarise


def stored(records: list[AnyRecord], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "history.jsonl").open("wb") as file:
        writer = Writer(file)
        for record in records:
            writer.write(record)
    return folder


def one_host() -> list[AnyRecord]:
    story = Story((ORION,), {"x": ORION, "y": ORION}, name="alone")
    story.took(0, 100 * MS, "launch", label="launch all", groups=((ORION,),))
    story.view(110 * MS, ORION, (ORION,))
    story.took(200 * MS, 300 * MS, "run", label="run all", **story.place({"x": ORION, "y": ORION}))
    story.sample(400 * MS, "http", "x", "y", True)
    story.event(S, "down")
    return story.finish()


def no_probes() -> list[AnyRecord]:
    story = Story(name="quiet", probes=())
    story.took(0, 100 * MS, "launch", label="launch all", groups=(story.hosts,))
    story.event(S, "down")
    return story.finish()


def forty_hosts() -> list[AnyRecord]:
    hosts = tuple(f"h{n:02}" for n in range(40))
    story = Story(hosts, {f"s{n:02}": host for n, host in enumerate(hosts)}, name="many")
    story.took(
        0,
        100 * MS,
        "run",
        label="run all",
        groups=(hosts,),
        **story.place(dict(zip(story.meta.scenario["services"], hosts, strict=True))),
    )
    for host in hosts:
        story.view(150 * MS, host, hosts)
    for a in range(40):
        for b in (a + 1, a + 2):
            for t in range(200 * MS, 2 * S, 400 * MS):
                story.sample(t, "icmp", f"s{a:02}", f"s{b % 40:02}", True)
    story.event(2 * S, "down")
    return story.finish()


class Checker(html.parser.HTMLParser):
    """Collects what a page would load from elsewhere, and whether its tags close."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("link", "script", "iframe"):
            self.loads.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "srcset") and not (value or "").startswith("data:")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (synthetic_history.partition(), "Does each half of a split keep working"),
        (synthetic_history.scale(), "scale files to 6"),
        (synthetic_history.partition(healed=False)[:700], "cut short"),
        (one_host(), "one host only"),
        (no_probes(), "No probe ever ran"),
        (forty_hosts(), "40"),
        ([], "history is empty"),
    ],
)
def test_every_run_gets_a_page_that_needs_nothing_else(records: list[AnyRecord], says: str, tmp_path: Path) -> None:
    summary = write_report(stored(records, tmp_path), formats=("png",))
    page = (tmp_path / "index.html").read_text()
    assert says in page
    checker = Checker()
    checker.feed(page)
    assert checker.open == [] and set(checker.loads) <= {"script"}
    assert "default-src &#39;none&#39;" in page
    for figure in summary["figures"]:
        assert (tmp_path / f"{figure['name']}.png").read_bytes().startswith(b"\x89PNG")
        header, *rows = (tmp_path / f"{figure['name']}.csv").read_text().splitlines()
        assert header.count(",") > 1 and all(row.count(",") >= header.count(",") for row in rows)


def test_the_same_history_gives_the_same_bytes() -> None:
    runs = [RecordedRun(one_host()) for _ in range(2)]
    first, second = (list(pictures(run, ("png", "svg", "pdf"))) for run in runs)
    assert first == second and len(first) >= 3 * 3
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert all(picture.startswith(heads[form]) for _, form, picture in first)
    assert told(runs[0]) == told(runs[1]) and [each.name for each in told(runs[0])] == [name for name, *_ in first[::3]]


def test_pictures_are_written_on_request_only(tmp_path: Path) -> None:
    folder = stored(synthetic_history.scale(), tmp_path)
    report = ["report", str(folder)]
    for words, forms in (([], set()), (["--format", "SVG, pdf"], {"svg", "pdf"}), (["--format", "png"], {"png"})):
        done = CliRunner().invoke(lab, [*report, *words])
        assert done.exit_code == 0, done.output
        files = {path.suffix[1:] for path in folder.glob("*.*")} - {"csv", "html", "json", "jsonl"}
        assert files == forms
    done = CliRunner().invoke(lab, [*report, "--format", "png,gif"])
    assert done.exit_code == 2 and "no such format: gif; there are png, svg, pdf" in done.output


def test_a_report_without_pictures_imports_nothing_that_draws(tmp_path: Path) -> None:
    stored(synthetic_history.scale(), tmp_path)
    script = (
        "import sys, pathlib, lab.report; lab.report.write_report(pathlib.Path(sys.argv[1]))\n"
        "print([name for name in ('matplotlib', 'numpy', 'networkx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_titles_state_the_finding() -> None:
    titles = {figure.name: figure.title for figure in told(RecordedRun(synthetic_history.partition()))}
    assert re.fullmatch(r"svc\d → svc\d unreachable for 10\.\d s, back \d+ ms after the heal", titles["reachability"])
    assert titles["topology"] == "Connections: 1 before the fault, 0 just before it was healed, 1 at the end"
    assert titles["matrices"] == "4 of 6 pairs were cut off while the fault lasted, all came back"


@pytest.mark.filterwarnings("error")
def test_names_asked_only_after_a_fault_leave_the_figure_its_room() -> None:
    records = synthetic_history.partition()
    begin = max(r.t for r in records if isinstance(r, Sample) and r.probe == "dns") - 500 * MS
    late = [r for r in records if not (isinstance(r, Sample) and r.probe == "dns" and r.t < begin)]
    assert "dns" in [name for name, *_ in pictures(RecordedRun(late), ("png",))]


def test_a_failed_expectation_is_shown_with_its_samples(tmp_path: Path) -> None:
    assert write_report(stored(synthetic_history.crash(), tmp_path))["verdict"] == "invalid"
    page = (tmp_path / "index.html").read_text()
    assert "Failed: reachable: all to all" in page and "✗ refused" in page


def test_a_busy_machine_is_warned_of(tmp_path: Path) -> None:
    records: list[AnyRecord] = [
        *synthetic_history.partition(),
        *(Load(t=n * S, cpu=1.0, loadavg=9.0) for n in range(40)),
    ]
    summary = write_report(stored(records, tmp_path))
    assert summary["load"]["busy"] > 0.5
    assert "no processor time to spare" in (tmp_path / "index.html").read_text()


def test_what_others_wrote_into_the_summary_stays(tmp_path: Path) -> None:
    stored(synthetic_history.partition(), tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps({"run_dir": "here", "verdict": "unknown"}))
    (tmp_path / "old.png").write_bytes(b"an earlier report's")
    summary = write_report(tmp_path)
    assert (summary["run_dir"], summary["verdict"]) == ("here", "valid")
    assert not (tmp_path / "old.png").exists()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    story = Story(name="<script>alert(1)</script>", question='"><img src=x onerror=alert(1)>')
    story.event(0, "launch", ok=False, label="<b>x</b>", error="</li><script>")
    write_report(stored(story.finish(), tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert page.count("<script") == 2 and page.count("</script") == 2  # the data and the program
    assert "<img src=x" not in page and "<b>x" not in page


def test_hostile_words_are_harmless_in_the_page(tmp_path: Path) -> None:
    hostile = "name\x1b]0;owned\x07\u202egnp\x9b31m"
    story = Story(name="x", question=hostile)
    story.event(0, "launch", ok=False, label=hostile, error=hostile)
    write_report(stored(story.finish(), tmp_path))
    page = (tmp_path / "index.html").read_text()
    page = page.replace(bundle().script, "").replace(bundle().style, "")
    assert all(char.isprintable() or char == "\n" for char in page)
    assert "name\\x1b]0;owned" in page


def test_the_longest_outage_ends_with_the_next_good_answer() -> None:
    outage = summarise(RecordedRun(synthetic_history.partition()))["longest_outage"]
    assert outage is not None and 9.8 * S < outage["lasted"] < 10.4 * S
    assert summarise(RecordedRun([]))["longest_outage"] is None


def test_nothing_heavy_is_imported_by_what_runs_inside_a_lab() -> None:
    script = (
        "import sys, lab.probes.agent, lab.probes.throughput, lab.checkers, lab.report, lab.records.history\n"
        "print([name for name in ('matplotlib', 'numpy', 'networkx', 'jinja2', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_gallery_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gallery.main([str(tmp_path)]) == 2
    assert "no report there" in capsys.readouterr().err
    (tmp_path / "index.html").write_text("<html><body>x</body></html>")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gallery.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 3
    assert "install the package `chromium`" in capsys.readouterr().err


@pytest.mark.skipif(not gallery.find_browser(), reason="no Chromium here: install the package `chromium`")
def test_the_gallery_takes_a_picture_of_the_whole_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html><body style='margin:0'><p style='height:1234px'>x</p></body></html>")
    picture = tmp_path / "out.png"
    gallery.take(tmp_path / "index.html", picture, width=640)
    data = picture.read_bytes()
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    assert width == 640 and 1234 <= height < 1400


def test_a_run_at_a_pace_of_its_own_says_so(tmp_path: Path) -> None:
    records = no_probes()
    meta = records[0]
    assert isinstance(meta, Meta)
    slow = [msgspec.structs.replace(meta, scenario={**meta.scenario, "pace": 4}), *records[1:]]
    for played, times in ((records, 0), (slow, 1)):
        folder = stored(played, tmp_path / str(times))
        summary = write_report(folder)
        assert summary["replay"].count(" --pace 4") == times
        assert (folder / "index.html").read_text().count("4 times as long as in the file") == times


def test_checks_come_before_drawings_and_both_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(synthetic_history.scale(), tmp_path)
    heard: list[str] = []

    def judged(summary: dict[str, Any]) -> None:
        assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == summary
        heard.append(summary["verdict"])

    write_report(tmp_path, doing=heard.append, judged=judged)
    heard.append("done")
    assert heard[:3] == ["reading the history", "checking", "valid"]
    assert all(what.startswith("writing the table of ") for what in heard[3:-2])
    assert heard[-2:] == ["writing the page", "done"]


@pytest.mark.parametrize(("size", "said"), [(0, False), (10_000_000, True)])
def test_a_long_report_is_not_silent_where_nobody_looks(
    size: int, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history.jsonl"
    with history.open("wb") as file:
        file.truncate(size)
    ProgressPrinter().report(history)("drawing reachability")
    assert ("drawing reachability" in capsys.readouterr().out) == said
