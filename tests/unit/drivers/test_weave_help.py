"""`weave COMMAND --help`: what the command does and examples that can be typed; and what the shell completes."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command_hosts import Answers, CommandHost
from tutorial_page import ROOT, command_on_path

from overlay.cli.examples import EXAMPLES
from overlay.cli.help import help_text
from overlay.cli.launch_flags import parse_launch
from overlay.cli.main import COMMANDS, finish, weave
from overlay.cli.proxy_flags import parse_proxy, split_proxy_words


def words_of(example: str) -> list[str]:
    """The words behind `weave` in a line that may lead elsewhere, or be a part of another command."""
    inner = re.search(r"\$\((.*)\)", example)
    line = inner[1] if inner else re.split(r" [|>] ", example)[0]
    program, *words = shlex.split(line)
    assert program == "weave", example
    return words


def test_every_command_has_examples() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_that_can_be_typed(command: str) -> None:
    asked = CommandHost()
    assert finish(weave(asked, ["help", command])) == 0
    told, _, examples = asked.out.rpartition("\n\nExamples:\n")
    assert command in told and examples.strip()
    for example in examples.strip().splitlines():
        words = words_of(example.strip())
        assert words[0] == command
        host = CommandHost()
        assert finish(weave(host, words)) != 2, host.err
        if command == "launch-proxy":  # a simulated host has none, nor systemd
            parse_proxy(words[1:])
        if words[:2] == ["systemd", "install"]:
            parse_launch(split_proxy_words(words[2:])[0], {})


def test_all_lines_of_an_entry_are_told() -> None:
    assert "without PART" in help_text("status")
    assert help_text("config").startswith("  env [--restore], config") and "version, help" in help_text("help")
    assert "farewell; containers talk on" in help_text("stop") and "stop-proxy" not in help_text("stop")
    assert "a command of the original" in help_text("setup")


def offered(*words: str, report: str | None = None) -> list[str]:
    host = CommandHost()
    host.client = Answers(report)
    assert finish(weave(host, ["completion", "offer", *words])) == 0
    return host.out.split()


def test_what_can_follow_is_offered() -> None:
    assert offered("sta") == ["start", "status"]
    assert offered("status", "") == ["targets", "connections", "peers", "dns", "ipam", "policies"]
    assert offered("launch", "--ipalloc-r") == ["--ipalloc-range"]
    report = json.dumps({"mesh": {"peers": [{"nickname": "host1"}, {"nickname": "h\x1b2"}]}})
    assert offered("rmpeer", "h", report=report) == ["h\\x1b2", "host1"]
    assert offered("rmpeer", "h") == offered("prime", "") == []  # no router runs; nothing follows
    host = CommandHost()
    assert finish(weave(host, ["completion", "tcsh"])) == 2 and "`weave completion bash`" in host.err


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    environment = {"PATH": command_on_path(tmp_path / "bin"), "PYTHONPATH": str(ROOT)}
    script = """
        eval "$(weave completion bash)"
        complete -p weave >/dev/null || exit 9
        COMP_WORDS=(weave status con); COMP_CWORD=2
        _weave_completion
        printf '%s\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "connections\n", "")
    if zsh := shutil.which("zsh"):
        zsh_script = subprocess.run(["weave", "completion", "zsh"], env=environment, capture_output=True, check=True)
        subprocess.run([zsh, "-n"], input=zsh_script.stdout, check=True)
