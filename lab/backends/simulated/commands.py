"""Shell lines on a simulated host: which commands exist, and how their pipelines run.

Owns the table of commands and their supported options; `network_commands` has those that need the network. Knows the
host only as `CommandPlace`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from lab.contracts.lab import CommandResult
from lab.host_engine import CLIENT
from lab.sim.filters import FILTERS, NULL, BadUse, Files
from lab.sim.shell import NotSimulated, ShellCommand, commands, parse

__all__ = ["CommandPlace", "Program", "known", "line_of", "run_argv", "unknown"]


class CommandPlace(Protocol):
    """Where a command runs: a host, or a container of it."""

    @property
    def files(self) -> Files: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def programs(self) -> Mapping[str, "Program"]:
        """Commands of this place beyond the text filters."""
        ...


Program = Callable[[CommandPlace, Sequence[str], str], Awaitable[CommandResult]]
"""(place, words, standard input) -> result."""

PROGRAMS = ("weave", "curl", "ping", "ifconfig", "ip", "bridge", "nsenter", "hostname", "python3")
"""Programs of hosts and containers, without filters and shell builtins; `weave` on hosts only."""
_UNTOLD = ("bridge", "nsenter", "exit", "bash")
"""Programs for the lab's own use, and shell builtins."""
_OWN = ("sh", "bash", "sudo", "sleep", "exit")
_NOT_SIMULATED = {
    "launch-proxy": "simulated hosts have no Docker clients that a proxy could serve",
}
"""Commands of `weave` that need features that simulated hosts do not have."""
_PIPE, _COMPLAINTS = "", "\0"
"""Destinations of output without a file: the next command, or standard error."""
_SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash")


def known() -> tuple[str, ...]:
    """All commands for users, sorted."""
    words = (*FILTERS, *PROGRAMS, *_OWN)
    return tuple(sorted(word for word in words if word.isalpha() and word not in _UNTOLD))


def unknown(argv: Sequence[str], *, container: bool) -> str:
    """Why a command cannot run on a simulated host (or in one of its containers); empty when it can."""
    words = _bare(argv)
    if not words:
        return ""
    name = words[0].rpartition("/")[2]
    if words[0] in _SHELLS:
        line = line_of(words)
        if line is None:
            return f"`{' '.join(words)}`: an interactive shell cannot be simulated"
        try:
            parsed = commands(parse(line))
        except NotSimulated as error:
            return str(error)
        return next((why for command in parsed if (why := unknown(command.argv, container=container))), "")
    if name == "python3":
        return "" if tuple(words[1:3]) == ("-ISc", CLIENT) else "`python3`: programs of one's own cannot be simulated"
    if name == "weave" and container:
        return "`weave` is a command of hosts, and this is a container"
    if name == "weave" and len(words) > 1 and words[1] in _NOT_SIMULATED:
        return f"`weave {words[1]}`: {_NOT_SIMULATED[words[1]]}; use netns or dind"
    if name in FILTERS or name in PROGRAMS or name in _OWN:
        return ""
    return f"no simulated host has a command `{name}`; there are {', '.join(known())}"


async def run_argv(place: CommandPlace, argv: Sequence[str], stdin: str = "") -> CommandResult:
    """Run one command, which may be a shell with its own line."""
    words = _bare(argv)
    if not words:
        return CommandResult(0, "", "")
    name = words[0].rpartition("/")[2]
    if words[0] in _SHELLS:
        line = line_of(words)
        if line is None:
            return CommandResult(2, "", f"{name}: an interactive shell cannot be simulated\n")
        strict = any(word.startswith("-") and "e" in word for word in words[1:-1] if word != line)
        return await _run_line(place, line, stdin, strict=strict)
    if name in FILTERS:
        ended = FILTERS[name]([name, *words[1:]], stdin, place.files)
        return CommandResult(ended.code, ended.out, ended.err)
    if name == "exit":
        return CommandResult(int(words[1]) & 255 if len(words) > 1 and words[1].isdigit() else 0, "", "")
    if name == "sleep":
        if len(words) != 2 or re.fullmatch(r"\d+(\.\d+)?", words[1]) is None:
            return CommandResult(1, "", f"sleep: takes a number of seconds, found '{' '.join(words[1:])}'\n")
        await asyncio.sleep(float(words[1]))
        return CommandResult(0, "", "")
    program = place.programs.get(name)
    if program is None:
        return CommandResult(127, "", f"sh: {name}: not found\n")
    try:
        return await program(place, words, stdin)
    except BadUse as error:
        code, text = error.args
        return CommandResult(code, "", f"{name}: {text}\n")


async def _run_line(place: CommandPlace, line: str, stdin: str, *, strict: bool) -> CommandResult:
    try:
        items = parse(line)
    except NotSimulated as error:
        return CommandResult(2, "", f"sh: {error}\n")
    code = 0
    out: list[str] = []
    err: list[str] = []
    for index, item in enumerate(items):
        if (item.when == "&&" and code != 0) or (item.when == "||" and code == 0):
            continue
        text = stdin
        for command in item.pipeline:
            code, text = await _command(place, command, text, err)
        out.append(text)
        if item.pipeline[0].argv[0] == "exit":
            break
        tested = index + 1 < len(items) and items[index + 1].when != ""
        if strict and code != 0 and not tested:
            break
    return CommandResult(code, "".join(out), "".join(err))


async def _command(place: CommandPlace, command: ShellCommand, stdin: str, err: list[str]) -> tuple[int, str]:
    outs = {1: _PIPE, 2: _COMPLAINTS}
    for redirect in command.redirects:
        if redirect.how == "<":
            if redirect.target != NULL and redirect.target not in place.files:
                err.append(f"sh: cannot open {redirect.target}: No such file\n")
                return 2, ""
            stdin = place.files.get(redirect.target, "")
        elif redirect.how == ">&":
            outs[redirect.fd] = outs.get(int(redirect.target), _PIPE) if redirect.target.isdigit() else redirect.target
        else:
            if redirect.how == ">" and redirect.target != NULL:
                place.files[redirect.target] = ""
            outs[redirect.fd] = redirect.target
    result = await run_argv(place, command.argv, stdin)
    left = ""
    for fd, text in ((1, result.out), (2, result.err)):
        target = outs[fd]
        if target == _PIPE:
            left += text
        elif target == _COMPLAINTS:
            err.append(text)
        elif target != NULL:
            place.files[target] = place.files.get(target, "") + text
    return result.code, left


def _bare(argv: Sequence[str]) -> list[str]:
    """The words without `sudo` and `exec` before them."""
    return list(argv[1:] if argv and argv[0] in ("sudo", "exec") else argv)


def line_of(words: Sequence[str]) -> str | None:
    """The line of `sh -c LINE`; None for any other use of a shell."""
    if len(words) >= 3 and words[1].startswith("-") and "c" in words[1]:
        return words[2]
    return None
