"""Lines of shell do on simulated hosts what they do on real ones: both run each, and must print and end the same."""

import asyncio
import os
import shlex
import shutil
import string
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.backends.simulated.commands import Program, run_argv, unknown
from lab.sim.filters import Files
from lab.sim.shell import NotSimulated, commands, parse


class Bare:
    """A place with files and nothing else."""

    environment: Mapping[str, str] = {}
    programs: Mapping[str, Program] = {}

    def __init__(self) -> None:
        self.files: Files = {}


LINES = [
    "echo one two",
    "echo -n bare",
    'echo \'single $quoted\' "double \\"quoted\\" word" back\\ slash # a comment',
    "true && echo yes || echo no",
    "false && echo yes || echo no",
    "false; echo after",
    "false || false || echo third",
    "true && false",
    "exit 3",
    "echo before; exit 4; echo never",
    "echo text > f; cat f; cat < f",
    "echo a > f; echo b >> f; cat f",
    "echo out | tee f | cat - f",
    "echo hidden > /dev/null",
    "cat missing 2>/dev/null",
    "printf_is_no_command_here_or_there 2>/dev/null",
    "echo x > a; echo x > b; diff a b",
    "echo x > a; echo y > b; echo z >> b; diff a b",
    "echo x > a; diff a - < a",
    "diff nowhere nothing 2>/dev/null",
    "echo 'inet 10.0.1.4/24 scope' | grep -o '[0-9.]*/[0-9]*'",
    "cat missing 2>&1 >/dev/null | head -c 0",
    "echo 1 > f; echo 2 >> f; echo 3 >> f; head -n 2 f; head -1 f; head -c 3 f; cat f | head",
    "echo x > a; echo y >> a; echo x > b; diff a b",
    "echo \"it's a \\\"word\\\"\"'; x' | cat\necho 'two\nlines' # a comment",
    "echo abc | grep -q b && echo found",
    "echo 'a+b' | grep 'a+b'",
    "echo 'aab' | grep 'a\\{2\\}b'",
    "echo 'aab' | grep -E 'a{2}b|zz'",
    "echo 'a.b' | grep -F a.b; echo 'axb' | grep -F a.b",
    "echo Word | grep -i wORD",
    "echo 'one two' | grep -w two; echo 'onetwo' | grep -w two",
    "echo a > p; echo b >> p; echo xbx | grep -f p",
    "echo 10.0.1.1/24 > after; echo '77 10.0.1.1/24' > before; grep -qF -f after before && echo kept",
    "sh -c 'echo nested | cat'",
    "sh -ec 'echo one\nfalse\necho never'",
    "sh -ec 'false || echo rescued\necho on'",
    "sh -ec 'false && echo no\necho on'",
]


@pytest.mark.parametrize("line", LINES)
def test_prints_and_ends_like_a_real_shell(line: str, tmp_path: Path) -> None:
    assert shutil.which("sh"), "every machine has one"
    real = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    ours = asyncio.run(run_argv(Bare(), ["sh", "-c", line]))
    assert (ours.code, ours.out) == (real.returncode, real.stdout)
    assert bool(ours.err) == bool(real.stderr)


@given(st.text(alphabet=string.printable, max_size=60))
def test_any_line_means_something_or_is_refused(line: str) -> None:
    try:
        parsed = parse(line)
    except NotSimulated as error:
        assert str(error)
        return
    assert all(command.argv for command in commands(parsed))


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_quoted_words_come_back(words: list[str]) -> None:
    words = [word.replace("\0", "").replace("\n", " ") or "x" for word in words]
    line = " ".join(shlex.quote(word) for word in words)
    first = words[0]
    if shlex.quote(first) == first and (first in ("!", "{", "}") or "=" in first or not first.isidentifier()):
        line = "echo " + line
        words = ["echo", *words]
    try:
        (item,) = parse(line)
    except NotSimulated:
        assert words[0] in ("if", "for", "while", "until", "case", "do", "done", "then", "fi", "esac", "function")
        return
    assert [list(command.argv) for command in item.pipeline] == [words]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (
            ["sh", "-c", "x=1; echo done"],
            "`x=1; echo do`: the shell of simulated hosts knows commands",
        ),
        (["sh", "-c", "echo `date`"], "``date``: the shell of simulated hosts"),
        (["sh", "-c", 'echo "$HOME"'], '`"$HOME"`: the shell of simulated hosts'),
        (["sh", "-c", "cat <<EOF"], "`<<EOF`: the shell of simulated hosts"),
        (["sh", "-c", "sleep 1 &"], "`&`: the shell of simulated hosts"),
        (["sh", "-c", "(echo a)"], "`(echo a)`: the shell of simulated hosts"),
        (["sh", "-c", "cat *.txt"], "`*.txt`: the shell of simulated hosts"),
        (["sh", "-c", "echo 'open"], "`'open`: the shell of simulated hosts"),
        (["sh", "-c", "echo a >"], "`>`: the shell of simulated hosts"),
        (["sh", "-c", "echo a |"], "`a line that ends without a command`"),
        (["sh", "-c", "echo a | wc"], "no simulated host has a command `wc`; there are cat, curl, diff, echo"),
        (["sh", "-c", "echo a | tcpdump"], "`tcpdump`"),
        (["sudo", "strace", "ls"], "`strace`"),
        (["bash"], "interactive"),
        (["weave", "launch-proxy"], "no Docker clients"),
    ],
)
def test_what_cannot_be_simulated_is_named(argv: list[str], why: str) -> None:
    assert why in unknown(argv, container=False)


@pytest.mark.parametrize("argv", [["sudo", "weave", "status"], ["exec", "weave", "ps"], ["sh", "-c", "weave ps | cat"]])
def test_weave_is_known_on_hosts_only(argv: list[str]) -> None:
    assert unknown(argv, container=False) == ""
    assert "command of hosts" in unknown(argv, container=True)
