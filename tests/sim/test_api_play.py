"""`lab.play`: the same run as the command's, from a path, a text or a mapping, and its sentences as exceptions."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lab

ROOT = Path(__file__).resolve().parents[2]
pytest_plugins = ["pytester"]
PLUGIN = () if "lab.pytest_plugin" in sys.modules else ("-p", "lab.pytest_plugin")
DOCUMENT = ROOT / "docs/api.md"
TEXT = """\
# Is it up?
version: 1
name: one-two
underlay: {hosts: {a: {}, b: {}}}
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 10s}
"""
GRAPH = 'graph [node [id 0 label "a"] node [id 1 label "b"] edge [source 0 target 1]]'
MAPPING: dict[str, Any] = {
    "version": 1,
    "name": "one-two",
    "underlay": {"hosts": {"a": {}, "b": {}}},
    "timeline": [{"launch": "all"}, {"connect": "all"}, {"expect": {"converged": "all", "within": "10s"}}],
}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab.cli", *words], cwd=ROOT, capture_output=True, text=True)


def records(history: Path) -> list[bytes]:
    """All lines but the first, which says from which file the scenario came."""
    return history.read_bytes().splitlines()[1:]


def test_a_path_a_text_and_a_mapping_are_the_run_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "one-two.yaml"
    file.write_text(TEXT)
    done = command("run", str(file), "--backend", "sim", "--seed", "3", "--no-figures", "--out", str(tmp_path / "told"))
    assert done.returncode == 0, done.stderr
    wanted = lab.load("one-two", root=tmp_path / "told")
    monkeypatch.chdir(tmp_path)
    for given in ("one-two.yaml", TEXT, MAPPING):
        run = lab.play(given, backend="sim", seed=3)
        assert (run.verdict, run.backend, run.seed) == ("valid", "sim", 3)
        assert run.folder.parent == tmp_path / "reports/one-two" and not (run.folder / "index.html").exists()
        assert records(run.history) == records(wanted.history)
        assert run.summary["duration"] == wanted.duration


def test_a_program_with_an_event_loop_can_play(tmp_path: Path) -> None:
    """As a notebook has one."""

    async def cell() -> lab.PlayedRun:
        return lab.play(MAPPING, backend="sim", out=tmp_path)

    assert asyncio.run(cell()).verdict == "valid"


def test_paths_in_a_text_count_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/pair.gml").write_text(GRAPH)
    monkeypatch.chdir(tmp_path / "here")
    text = TEXT.replace("{hosts: {a: {}, b: {}}}", "{file: pair.gml}")
    run = lab.play(text, backend="sim", out=tmp_path / "out")
    assert run.verdict == "valid" and list(run.scenario["underlay"]["hosts"]) == ["a", "b"]


def test_an_invalid_run_is_a_result(tmp_path: Path) -> None:
    timeline = [{"launch": "all"}, {"exec": {"host": "a", "command": "false"}}]
    run = lab.play(MAPPING | {"timeline": timeline}, backend="sim", out=tmp_path)
    assert run.verdict == "invalid" and "exit code 1, expected 0" in run.reason
    assert [check.checker for check in run.checks if check.verdict == "invalid"] == ["steps"]


def test_faults_are_told_as_by_the_command(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(TEXT.replace("launch: all", "lanuch: all").replace("10s", "10"))
    with pytest.raises(lab.ScenarioError) as caught:
        lab.play(file, backend="sim", out=tmp_path)
    assert str(caught.value) == command("run", str(file), "--backend", "sim").stderr.strip()
    assert [problem.line for problem in caught.value.problems] == [6, 8]
    assert not list(tmp_path.glob("*/")), "nothing was started"


def test_refusals_are_told_as_by_the_command(tmp_path: Path) -> None:
    file = tmp_path / "proxied.yaml"
    file.write_text(TEXT.replace("launch: all", "exec: {host: a, command: [tcpdump]}"))
    with pytest.raises(lab.BackendRefused) as caught:
        lab.play(file, backend="sim", out=tmp_path)
    assert str(caught.value) == command("run", str(file), "--backend", "sim").stderr.strip() != ""
    assert not list(tmp_path.glob("*/")), "nothing was started"


@pytest.mark.parametrize(
    ("scenario", "backend", "words"),
    [
        (MAPPING, "smi", "no backend named 'smi', expected one of: netns, sim"),
        (MAPPING | {"name": {1, 2}}, "sim", "the mapping is no scenario: .*expected what a YAML file can hold"),
    ],
)
def test_what_cannot_be_played_says_why(scenario: Any, backend: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(lab.LabError, match=words):
        lab.play(scenario, backend=backend, out=tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "one-two.yaml").write_text(TEXT)
    with pytest.raises(lab.LabError, match=r"cannot write run directories below .*file.*: Not a directory"):
        lab.play(tmp_path / "one-two.yaml", backend="sim", out=tmp_path / "file")
    with pytest.raises(lab.LabError, match=r"cannot keep the scenario in .*choose another `out`"):
        lab.play(MAPPING, backend="sim", out=tmp_path / "file")


def test_the_document_does_what_it_says(pytester: pytest.Pytester) -> None:
    """Its scenario and its examples, in their order, in one program."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    Path("two.yaml").write_text(next(text for kind, text in blocks if kind == "yaml"))
    programs = [text for kind, text in blocks if kind == "python"]
    program = "\n".join(text for text in programs if "def test_" not in text)
    assert program.count("lab.play(") >= 2 and program.count("lab.load(") >= 2
    exec(compile(program, str(DOCUMENT), "exec"), {})
    (test,) = (text for text in programs if "def test_" in text)
    file = pytester.makepyfile(test)
    pytester.runpytest_inprocess(*PLUGIN, "--lab-backend", "sim", file).assert_outcomes(passed=1)
