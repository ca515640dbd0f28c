"""What the commands say of themselves: examples in every help, manual pages, completion."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from tutorial_page import ROOT, command_on_path

from lab.cli import lab
from lab.cli.man import commands, pages

COMMANDS = {" ".join(words): command for words, command in commands(lab)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_that_can_be_typed(name: str) -> None:
    command = COMMANDS[name]
    text = click.Context(command, info_name=name).get_help() + (command.epilog or "")
    _, _, examples = text.rpartition("Examples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines, text
    for line in lines:
        words = shlex.split(re.split(r" [>|] ", line)[0])
        assert words[: 1 + len(name.split())] == ["lab", *name.split()], line
        with contextlib.suppress(click.exceptions.Exit):  # options that print something and end
            command.make_context(name, words[1 + len(name.split()) :])  # raises click.UsageError


def test_manual_pages_are_those_of_the_definitions() -> None:
    for name, text in pages().items():
        assert (ROOT / "man" / name).read_text(encoding="utf-8") == text, f"man/{name} is out of date: run `make man`"


@pytest.mark.parametrize("name", ["lab.1", "weave.1"])
def test_manual_pages_are_good_roff(name: str) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff here")
    done = subprocess.run([groff, "-man", "-ww", "-Tutf8", ROOT / "man" / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    wanted = (
        ["lab run walkthrough", "--no-figures", "LAB_BACKEND"] if name == "lab.1" else ["launch [FLAGS]", "--password"]
    )
    assert all(word in plain for word in wanted)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_dir = tmp_path / "reports" / "mine" / "20260102T000000Z"
    run_dir.mkdir(parents=True)
    (run_dir / "history.jsonl").write_text("")
    (run_dir / "summary.json").write_text(json.dumps({"verdict": "valid"}))
    (tmp_path / "party.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


ASKED = {
    "lab ru": {"run", "runs", "run-service"},
    "lab kil": {"kill"},
    "lab partition --ring ": {"majorities"},
    "lab kill ": set[str](),
    "lab images b": {"build", "box"},
    "lab run par": {"partition", "party.yaml"},
    "lab run x --backend s": {"sim"},
    "lab check m": {"mine", "mine/20260102T000000Z"},
    "lab workshop --language ": {"en", "fr"},
    "lab down --name no-such": set[str](),
    "lab exec ": set[str](),  # no lab runs, or several: nothing is printed into the line
}


def test_bash_completes_what_there_is(folder: Path) -> None:
    path = command_on_path(folder / "bin")
    for line, offered in ASKED.items():
        words = line.split(" ")
        array = " ".join(shlex.quote(word) for word in words)
        script = f"""
            eval "$(lab completion bash)"
            complete -p lab >/dev/null || exit 9
            COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}
            _lab_completion lab {shlex.quote(words[-1])} 2>&1
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        environment = {"PATH": path, "PYTHONPATH": str(ROOT), "LAB_NAME": "no-such-lab", "HOME": str(folder)}
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
        assert (done.returncode, set(done.stdout.split()), done.stderr) == (0, offered, ""), line


def test_zsh_is_told_the_same_with_explanations(folder: Path) -> None:
    path = command_on_path(folder / "bin")
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}

    def said(*words: str, **more: str) -> str:
        command = ["lab", *words]
        return subprocess.run(
            command, cwd=folder, env=environment | more, capture_output=True, text=True, check=True
        ).stdout

    script = said("completion", "zsh")
    assert "compdef" in script and "_LAB_COMPLETE=zsh_complete" in script
    if zsh := shutil.which("zsh"):
        subprocess.run([zsh, "-n"], input=script, text=True, check=True)
    found = said(_LAB_COMPLETE="zsh_complete", COMP_WORDS="lab report m", COMP_CWORD="2").split("\n")
    assert found[:6] == ["plain", "mine", "the latest run", "plain", "mine/20260102T000000Z", "valid"]
