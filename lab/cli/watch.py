"""`lab watch`: a standing lab on a live page, or in the terminal.

Owns the choice of lab and of view; `lab.watch` does the rest. Lines typed in the terminal's view have the syntax of
`lab` commands.
"""

import asyncio
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from lab.cli.ended import find_running
from lab.errors import LabError

__all__ = ["watch"]


def watch(name: str, *, port: int, listen: str, read_only: bool, browser: bool, tui: bool) -> None:
    """Show a lab until the user quits. Raises `LabError`."""
    lab = find_running(name)
    if tui:
        _in_terminal(lab)
        return
    from lab.watch.serving import Wanted, serve_page

    wanted = Wanted(port=port, listen=listen, read_only=read_only, browser=browser)
    asyncio.run(serve_page(lab, wanted, _session))


def _session(state: Mapping[str, Any]) -> str:
    from lab.cli.saving import session

    return session(Path(state["run_dir"]), int(state["now"])).text


def _in_terminal(lab: Any) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LabError("--tui needs a terminal; `lab watch` without it serves a page, `lab status` prints what is so")
    from lab.backends.netns import LabClient
    from lab.cli.hands import whoami
    from lab.watch.standing import StandingLab, history_of
    from lab.watch.terminal import WatchTerminal

    with LabClient(lab) as client:
        history = history_of(lab.name, client.call("state"))
    standing = StandingLab(lab)
    try:
        WatchTerminal(standing, history, partial(meant, lab.name), choices, whoami()).run()
    finally:
        standing.close()


def meant(lab: str, line: str) -> dict[str, Any]:
    """The step of a line in the syntax of `lab` commands: `partition a,b c --for 10s`. Raises `LabError`.

    A complete line copied from a terminal, `$ lab partition a,b c`, has the same meaning.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise LabError(f"found {line!r}, expected words ({str(error).lower()})") from None
    words = words[1:] if words[:1] == ["$"] else words
    words = words[1:] if words[:1] == ["lab"] else words
    if not words:
        raise LabError("found nothing, expected a verb: `partition a b --for 10s`")
    command = _command(words[0])
    from lab.cli.hands import with_files

    try:
        with command.make_context(words[0], words[1:]) as context:
            typed = context.get_parameter_source("name") is click.core.ParameterSource.COMMANDLINE
            if typed and context.params["name"] != lab:
                other = context.params["name"]
                raise LabError(f"found --name {other}, but this view is of the lab {lab}: type the verb in a shell")
            return with_files(command.step(context.params))
    except click.ClickException as error:
        raise LabError(error.format_message()) from None
    except click.exceptions.Exit:  # --help was shown
        raise LabError(f"{command.form.form}: {command.form.about}") from None


def choices(line: str, hosts: Sequence[str], services: Sequence[str]) -> list[str]:
    """Words that may come next in such a line."""
    words = line.split(" ")
    if len(words) == 1:
        return _verbs()
    try:
        command = _command(words[0])
    except LabError:
        return []
    flags = [name for param in command.params for name in param.opts if name.startswith("--")]
    return [*hosts, *services, "all", *flags]


def _verbs() -> list[str]:
    from lab.cli import lab as commands

    return sorted(commands.verbs())


def _command(word: str) -> Any:
    from lab.cli import lab as commands
    from lab.cli.verbs import VerbCommand

    found = commands.get_command(click.Context(commands), word)
    if not isinstance(found, VerbCommand):
        raise LabError(f"found {word!r}, expected a verb: {', '.join(_verbs())}")
    return found
