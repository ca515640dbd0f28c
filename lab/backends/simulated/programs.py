"""What a container's own command does, if that is known without running it: files that it creates and then serves.

Owns the parsing of a line such as `cd /srv; head -c 4000 /dev/zero > big; exec python3 -m http.server 9000`: the text
filters and redirections of simulated hosts, then Python's file server. Of any other program only its `port` is known.
"""

import posixpath
from collections.abc import Mapping, Sequence

from lab.backends.simulated.commands import line_of
from lab.sim.filters import FILTERS, Files
from lab.sim.shell import NotSimulated, ShellCommand, parse

__all__ = ["served"]

_SERVER = ("python3", "-m", "http.server")


def served(argv: Sequence[str]) -> Mapping[str, str] | None:
    """Path -> text that the command serves over HTTP; None: unknown."""
    line = line_of(argv)
    if line is None:
        return {} if tuple(argv[:3]) == _SERVER else None
    try:
        items = parse(line)
    except NotSimulated:
        return None
    files: Files = {}
    here = "/"
    for item in items:
        command = item.pipeline[0]
        words = command.argv[1:] if command.argv[0] == "exec" else command.argv
        if len(item.pipeline) > 1 or item.when == "||":
            return None
        if tuple(words[:3]) == _SERVER:
            under = here.rstrip("/") + "/"
            return {f"/{path.removeprefix(under)}": text for path, text in files.items() if path.startswith(under)}
        if words[0] == "cd" and len(words) == 2:
            here = posixpath.normpath(posixpath.join(here, words[1]))
        elif words[0] != "mkdir" and not _made(command, here, files):
            return None
    return None


def _made(command: ShellCommand, here: str, files: Files) -> bool:
    """Run a filter whose output goes to a file; False if the command is not one."""
    run = FILTERS.get(command.argv[0])
    if run is None or [redirect.how for redirect in command.redirects] not in ([">"], [">>"]):
        return False
    ended = run(command.argv, "", files)
    redirect = command.redirects[0]
    target = posixpath.normpath(posixpath.join(here, redirect.target))
    files[target] = (files.get(target, "") if redirect.how == ">>" else "") + ended.out
    return ended.code == 0
