"""What a command prints and ends with, wherever it prints to: full disks, closed outputs, odd terminals, pipes."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import tiers

from lab.cli import ending, standing, table
from lab.errors import LabError

MAC, SIX = "82:ab:59:00:00:01", "fd00:1:2::3"
FACTS: dict[str, Any] = {
    "lab": "class",
    "scenario": "walkthrough",
    "backend": "netns",
    "up_seconds": 12.0,
    "cut": [],
    "hosts": [
        {"name": "macbook.local", "address": f"192.168.100.103 {SIX}", "on": True},
        {"name": "[red]orion.local", "address": "192.168.100.104", "on": True},
    ],
    "peers": {"macbook.local": {"peer": MAC, "connections": ["[red]orion.local", "東京.example"]}},
    "containers": {":warning:": {"host": "macbook.local", "address": "10.32.0.1/12", "service": "a"}},
}
WHOLE = ("macbook.local", MAC, SIX, "192.168.100.103", "[red]orion.local", "東京.example", ":warning: 10.32.0.1/12")


def told(monkeypatch: pytest.MonkeyPatch, columns: int | None) -> None:
    class Client:
        def __init__(self, lab: object) -> None: ...
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None: ...
        def call(self, what: str) -> dict[str, Any]:
            return FACTS

    monkeypatch.setattr("lab.backends.netns.LabClient", Client)
    monkeypatch.setattr("lab.backends.netns.find", lambda name: None)
    monkeypatch.setattr("lab.cli.terminal.width", lambda: columns)
    standing.show("", as_json=False)


@pytest.mark.parametrize("columns", [20, 80, 200, None])
def test_a_table_shows_every_word_whole(
    columns: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(monkeypatch, columns)
    out = capsys.readouterr().out
    for word in WHOLE:
        assert word in out
    assert "…" not in out
    # Where all of it fits, a host is a line of a table, wide characters and all.
    assert ("host: macbook.local" in out) == (columns in (20, 80))
    if columns in (200, None):
        lines = out.splitlines()
        assert {line.index(word) for line, word in zip(lines[2:], ("[red]orion", "東京"), strict=False)} == {
            lines[1].index("connections")
        }


def test_wide_characters_keep_columns_in_line() -> None:
    head, body = table.lay_out(("name", "n"), [["東京", "1"], ["a", "10"]], width=None, right=("n",))
    assert [*head, *(line for lines in body for line in lines)] == ["name   n", "東京   1", "a     10"]


def lab(*arguments: str, out: Any = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *arguments],
        stdout=out,
        stderr=subprocess.PIPE,
        check=False,
        env=os.environ | environment,
    )


def scenario(folder: Path) -> str:
    path = folder / "two.yaml"
    path.write_text(
        "version: 1\nunderlay: {hosts: {macbook.local: {}, orion.local: {}}}\n"
        "timeline: [{launch: all}, {connect: all}, {expect: {converged: all, within: 9s}}]\n",
        encoding="utf-8",
    )
    return str(path)


def test_a_full_disk_under_standard_output_is_one_sentence(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = lab("run", scenario(tmp_path), "--backend", "sim", "--out", str(tmp_path / "out"), out=full)
    assert done.stderr == b"lab: standard output cannot be written: No space left on device\n"
    assert done.returncode == 3
    assert b'"valid"' in (tmp_path / "out/two/latest/summary.json").read_bytes()  # the run itself went well


@pytest.mark.parametrize("command", [["doctor"], ["schema"], ["--help"], ["validate", "FILE"], ["images", "list"]])
def test_a_closed_standard_output_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    command = [scenario(tmp_path) if word == "FILE" else word for word in command]
    shell = f'exec "{sys.executable}" -m lab.cli "$@" >&-'
    done = subprocess.run(["sh", "-c", shell, "sh", *command], capture_output=True, text=True, check=False)
    assert done.stderr == "lab: standard output cannot be written: it is closed\n"
    assert done.returncode == 3


def test_nothing_is_written_into_what_got_the_number_of_a_closed_output(tmp_path: Path) -> None:
    shell = f'exec "{sys.executable}" -m lab.cli run "$1" --backend sim --out "$2" >&- 2>&- <&-'
    done = subprocess.run(["sh", "-c", shell, "sh", scenario(tmp_path), str(tmp_path / "out")], check=False)
    assert done.returncode == 3
    history = (tmp_path / "out/two/latest/history.jsonl").read_bytes()
    assert all(line.startswith(b"{") for line in history.splitlines())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1251"])
def test_a_terminal_that_lacks_characters_gets_others(encoding: str, tmp_path: Path) -> None:
    done = lab(
        "run", scenario(tmp_path), "--backend", "sim", "--out", str(tmp_path / "東京"), PYTHONIOENCODING=encoding
    )
    assert (done.returncode, done.stderr) == (0, b"")
    out = done.stdout.decode(encoding)
    assert "+ launch all" in out and "\\u6771\\u4eac" in out


@pytest.mark.parametrize(("settings", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_for_terminals_that_want_them(settings: dict[str, str], colours: bool, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        done = lab(
            *("run", scenario(tmp_path), "--backend", "sim", "--out", str(tmp_path / "out")),
            out=terminal,
            **({"TERM": "xterm", "NO_COLOR": ""} | settings),
        )
    out = b""
    while True:
        try:
            out += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert done.returncode == 0 and b"launch all" in out
    assert (re.search(rb"\x1b\[[0-9;]*m", out) is not None) == colours
    assert (b"\x1b[K" in out) == colours


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (LabError("no room"), 2, "lab: no room\n"),
        (click.UsageError("odd"), 2, "Error: odd\n"),
        (OSError(28, "No space left on device", "/x/y"), 3, "lab: /x/y: No space left on device\n"),
        (MemoryError(), 3, "lab: there is not enough memory for this\n"),
        (KeyboardInterrupt(), 3, "lab: interrupted\n"),
        (click.Abort(), 3, "lab: interrupted\n"),
        (ZeroDivisionError(), 3, "lab: this is a fault of the lab itself (ZeroDivisionError), and no verdict"),
        (SystemExit(1), 1, ""),
    ],
)
def test_an_error_has_a_sentence_and_never_the_code_of_invalid(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending.code_of(lambda: fail(error)) == code
    said = capsys.readouterr().err
    if "fault" in sentence:
        assert sentence in said
    else:
        assert said == sentence


ON_A_DISK_OF = """
mount -t tmpfs -o "size=$1" tmpfs "$2"; out=$2; shift 2
"$@" && code=0 || code=$?
find "$out" -name ".*" >&2
cat "$out"/two/latest/summary.json || true
exit $code
"""


def small_disk(folder: Path, size: str) -> list[str]:
    """Words before a command that then has a disk of this size at `folder`, in a mount namespace of its own."""
    folder.mkdir()
    words = ["unshare", "--map-root-user", "--mount", "sh", "-ec", ON_A_DISK_OF, "sh", size, str(folder)]
    probe = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        tiers.cannot_run(f"no mount namespace of one's own: {probe.stderr.strip()}")
    return words


def on_small_disk(tmp_path: Path, size: str) -> tuple[int, str, dict[str, Any]]:
    """(exit code, standard error, summary) of a run whose reports lie on a disk of this size."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lab.cli", "run", scenario(tmp_path), "--backend", "sim", "--out", str(out)]
    done = subprocess.run([*small_disk(out, size), *command], capture_output=True, text=True, check=False)
    _, brace, summary = done.stdout.partition("\n{")
    return done.returncode, done.stderr, json.loads(brace + summary) if brace else {}


def test_figures_that_do_not_fit_on_the_disk_come_after_the_checks(tmp_path: Path) -> None:
    code, said, summary = on_small_disk(tmp_path, "60k")
    assert code == 3
    assert re.fullmatch(r"the report could not be drawn: \S+/index\.html: No space left on device\n", said), said
    assert summary["verdict"] == "valid" and {check["checker"] for check in summary["checks"]} > {"steps", "settled"}


def test_a_history_that_does_not_fit_on_the_disk_is_no_verdict(tmp_path: Path) -> None:
    code, said, summary = on_small_disk(tmp_path, "4k")
    assert code == 3 and "No space left on device" in said and "Traceback" not in said
    assert summary.get("verdict") != "valid"
